package uplink

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"
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

// pace spaces the calls of a loop that fails: full jitter, which in this library
// is a randomization of 1 around half of each bound, without its end after 15
// minutes and with the cap halved, as it is applied before the jitter (deps.md C).
func pace(base, limit time.Duration) *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(base/2),
		backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(1),
		backoff.WithMaxInterval(limit/2),
		backoff.WithMaxElapsedTime(0),
	)
}

// fullJitter is the same for one event, whose count of attempts is its own: it
// returns a uniformly random time up to base×2ⁿ, at most limit. The
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
