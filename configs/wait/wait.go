package wait

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"
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

// Pace spaces the tries of one loop by full jitter, the first by up to base: in
// this library a randomization of 1 around half of each bound. Its end after 15
// minutes is off. It is not for concurrent use.
func Pace(base, limit time.Duration) *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(base/2),
		backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(1),
		backoff.WithMaxInterval(limit/2),
		backoff.WithMaxElapsedTime(0),
	)
}
