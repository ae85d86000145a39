package trust

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"scanrelay/configs/wait"
)

// What a line must manage: a repository that sends a byte a minute would keep a gateway
// from ever asking another one.
const (
	metadataDeadline = 10 * time.Minute
	minRate          = 256 // bytes a second, over each rateWindow
	rateWindow       = time.Minute
)

var (
	errDeadline = errors.New("took longer than it may")
	errSlow     = fmt.Errorf("came slower than %d bytes a second", minRate)
)

// flow copies what a repository gives: no faster than most bytes a second, if that is
// not 0, and not for long much slower than a line may be.
type flow struct {
	most int64
}

// copy copies at most length bytes from a file's offset on, and holds that no more
// come. It returns how many did.
func (f flow) copy(ctx context.Context, to io.Writer, repository Repository, name string, from, length int64) (n int64, err error) {
	ctx, stop := context.WithCancelCause(ctx)
	var came atomic.Int64
	var side sync.WaitGroup
	defer side.Wait()
	defer stop(nil)
	side.Go(func() { f.watch(ctx, &came, stop) })
	defer func() { // what ended it, rather than that it ended
		if cause := context.Cause(ctx); err != nil && cause != nil {
			err = fmt.Errorf("get %s: %w", name, cause)
		}
	}()

	body, err := repository.Open(ctx, name, from)
	if err != nil {
		return 0, err
	}
	defer func() { _ = body.Close() }() // read only
	defer context.AfterFunc(ctx, func() { _ = body.Close() })()
	size := 16 << 10
	if f.most > 0 {
		size = int(max(min(int64(size), f.most), 1)) // a second's at most: what is held back is not slow
	}
	buffer, begin := make([]byte, size), time.Now()
	for {
		k, err := body.Read(buffer[:min(int64(len(buffer)), length-n+1)])
		if n+int64(k) > length {
			return n, refuse("get %s: it is endless: longer than the %d bytes that were signed for", name, from+length)
		}
		came.Add(int64(k))
		n += int64(k)
		if _, bad := to.Write(buffer[:k]); bad != nil {
			return n, bad
		}
		if err == io.EOF {
			return n, nil
		}
		if err == nil && f.most > 0 {
			due := time.Duration(float64(n) / float64(f.most) * float64(time.Second))
			wait.Sleep(ctx, due-time.Since(begin))
			err = context.Cause(ctx)
		}
		if err != nil {
			return n, fmt.Errorf("get %s: %w", name, err)
		}
	}
}

// watch stops what is slower than it may be.
func (f flow) watch(ctx context.Context, came *atomic.Int64, stop context.CancelCauseFunc) {
	for seen := int64(0); wait.Sleep(ctx, rateWindow); {
		now := came.Load()
		if now-seen < f.least() {
			stop(errSlow)
			return
		}
		seen = now
	}
}

// get reads a file of metadata.
func get(ctx context.Context, from Repository, name string, most int64) ([]byte, error) {
	var to bytes.Buffer
	if _, err := (flow{}).copy(ctx, &to, from, name, 0, most); err != nil {
		return nil, err
	}
	return to.Bytes(), nil
}

// least is how many bytes must come in a window.
func (f flow) least() int64 {
	least := int64(minRate * rateWindow / time.Second)
	if f.most > 0 {
		least = min(least, f.most*int64(rateWindow/time.Second)/2)
	}
	return least
}
