package wait

import (
	"context"
	"math/rand/v2"
	"time"
)

// Sleep waits for d; false if ctx ended first.
func Sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// UpTo returns a uniformly random time in [0, d); 0 without d.
func UpTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}

// Jitter returns how long to wait after n failures before: a uniformly random
// time up to base×2ⁿ, at most limit.
func Jitter(n int, base, limit time.Duration) time.Duration {
	if n >= 0 && n < 32 && base<<n > 0 {
		limit = min(limit, base<<n)
	}
	return UpTo(limit)
}

// Backoff spaces the tries of one loop by Jitter. It is not for concurrent use.
type Backoff struct {
	Base, Limit time.Duration
	failed      int
}

// Next returns how long to wait after one more failure.
func (b *Backoff) Next() time.Duration {
	d := Jitter(b.failed, b.Base, b.Limit)
	b.failed++
	return d
}

// Reset begins again after a success.
func (b *Backoff) Reset() { b.failed = 0 }
