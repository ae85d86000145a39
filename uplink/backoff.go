package uplink

import (
	"context"
	"math/rand/v2"
	"time"
)

// Retry intervals (design.md section 2, Numbers, and deps.md C).
const (
	transientBase = time.Second
	transientCap  = 5 * time.Minute
	mismatchBase  = time.Second
	mismatchCap   = 30 * time.Second
	syncBase      = time.Second
	syncCap       = 30 * time.Second
)

// fullJitter returns a uniformly random time up to base×2ⁿ, at most limit. The
// whole range is used so that many who failed together do not come back together.
func fullJitter(n int, base, limit time.Duration) time.Duration {
	ceiling := limit
	if n >= 0 && n < 32 && base<<n < limit && base<<n > 0 {
		ceiling = base << n
	}
	return randomUpTo(ceiling)
}

// randomUpTo returns a uniformly random time in [0, d).
func randomUpTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}

// sleep waits for d; false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
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
