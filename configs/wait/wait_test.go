package wait_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/configs/wait"
)

func TestSleepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if !wait.Sleep(ctx, time.Second) || time.Since(began) != time.Second {
			t.Errorf("slept %s of a second", time.Since(began))
		}
		if wait.Sleep(ctx, time.Hour) || time.Since(began) != time.Minute {
			t.Errorf("slept %s beside a context of a minute", time.Since(began))
		}
		if wait.Sleep(ctx, 0) || !wait.Sleep(t.Context(), -1) {
			t.Error("no time at all does not tell whether the context lives")
		}
	})
}

// The whole range is used, and the bound doubles until the limit.
func TestPaceHasFullJitter(t *testing.T) {
	longest := make([]time.Duration, 8)
	b := wait.Pace(time.Second, 10*time.Second)
	for range 300 {
		b.Reset()
		for i := range longest {
			d, most := b.NextBackOff(), min(time.Second<<i, 10*time.Second)
			if d < 0 || d > most {
				t.Fatalf("after %d failures: %s, want below %s", i, d, most)
			}
			longest[i] = max(longest[i], d)
		}
	}
	for i, d := range longest {
		if most := min(time.Second<<i, 10*time.Second); d < most*9/10 {
			t.Errorf("after %d failures: of 300 waits the longest is %s of %s", i, d, most)
		}
	}
	b.Reset()
	if d := b.NextBackOff(); d > time.Second {
		t.Errorf("after a success: %s", d)
	}
	if wait.UpTo(0) != 0 || wait.UpTo(-1) != 0 || wait.Jitter(63, time.Second, time.Minute) >= time.Minute {
		t.Error("no bound, or one that overflows")
	}
}
