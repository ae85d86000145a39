package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"scanrelay/store/event"
	"scanrelay/store/internal/storetest"
)

// retryDir names the outbox of a child process of which a sync fails, retryUnmarked
// of one whose disk does not take the mark that says so either.
const (
	retryDir      = "SCANRELAY_STORE_RETRY_DIR"
	retryUnmarked = "SCANRELAY_STORE_RETRY_UNMARKED"
)

// retryRun stores and settles. When a sync fails it opens the outbox again, as
// the next process would, while the kernel still shows what is not on disk, and
// sends again what was not answered. It says what was acknowledged, as powerRun.
func retryRun(dir string) error {
	c := newTestClock()
	fails := 0
	var o *Outbox
	var err error
	reopen := func() error {
		for {
			if o != nil {
				_ = o.Close(context.Background()) // it says once more that a sync failed
			}
			if os.Getenv(retryUnmarked) != "" { // the disk took no mark either
				_ = os.Remove(filepath.Join(dir, stateName)) // none may be there
			}
			if o, err = Open(dir, small(c)); err == nil {
				return nil
			}
			if fails++; fails > 20 {
				return err
			}
		}
	}
	if err := reopen(); err != nil {
		return err
	}
	settled := map[uint64]bool{}
	for n := 0; n < 24; {
		e := padded(fmt.Sprint("W", n%5), fmt.Sprint("e", n), c.Now().Unix(), n%4*900)
		if _, err := o.Append(context.Background(), batch(e)); err == nil {
			fmt.Println("A", e.EventID)
			n++
			err = o.Synced(o.Counts().NextSeq-1, nil, nil)
			if err == nil && n%3 == 0 {
				err = retryPush(o, settled)
			}
			if err == nil {
				continue
			}
		}
		if fails++; fails > 20 {
			return errors.New("syncs fail that should not")
		}
		if err := reopen(); err != nil {
			return err
		}
	}
	return o.Close(context.Background())
}

func retryPush(o *Outbox, settled map[uint64]bool) error {
	records, err := o.Lease(2, time.Minute)
	if err != nil {
		return err
	}
	for _, r := range records {
		settled[r.ID.Seq] = true
		if err := o.Settle(context.Background(), []event.Settlement{{Seq: r.ID.Seq, Outcome: event.Pushed}}); err != nil {
			return err
		}
		fmt.Println("S", r.Event.EventID, event.Pushed)
	}
	return nil
}

// After a failed sync the kernel shows what the disk never got. The next process
// answers what is sent again, and a power cut follows: what was acknowledged is
// there all the same, whichever sync failed, and whether or not the disk took the
// mark that says so.
func TestPowerCutAfterAFailedSync(t *testing.T) {
	t.Parallel()
	rnd := storetest.Rand(t)
	runs, failed := storetest.Rounds(24, 8), 0
	for i := range runs {
		dir := fastDir(t)
		when := 1 + rnd.IntN(60)
		ops := record(t, dir, []string{retryDir, retryUnmarked}[i%2], "-e", fmt.Sprintf("inject=fdatasync:error=EIO:when=%d", when))
		d := &disk{files: map[int][]byte{}, names: map[string]int{}, pending: map[int][]diskOp{}}
		first := len(ops)
		for at, op := range ops {
			if op.kind == "failed" {
				first = min(first, at)
				failed++
			}
		}
		cuts := map[int]bool{len(ops): true}
		for range 4 {
			cuts[first+rnd.IntN(len(ops)-first+1)] = true
		}
		for at := 0; at <= len(ops); at++ {
			if cuts[at] {
				image := fastDir(t)
				d.image(t, image, rnd)
				checkImage(t, image, d.said, fmt.Sprintf("run %d: sync %d fails, cut after call %d of %d", i, when, at, len(ops)))
			}
			if at < len(ops) {
				d.do(ops[at])
			}
		}
		if t.Failed() {
			return
		}
	}
	if failed < runs/3 {
		t.Errorf("only %d syncs failed in %d runs", failed, runs)
	}
}
