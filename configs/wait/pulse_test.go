package wait

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pulse
		want := func(when string, d time.Duration) {
			t.Helper()
			if got := p.Stuck(); got != d {
				t.Errorf("%s: stuck for %v, want %v", when, got, d)
			}
		}
		time.Sleep(time.Hour)
		want("before the first step", 0)
		p.Begin()
		time.Sleep(time.Minute)
		want("in a step", time.Minute)
		p.Begin()
		time.Sleep(time.Minute)
		want("in two", 2*time.Minute)
		p.End()
		want("when one of two has ended", 0)
		time.Sleep(time.Minute)
		want("while the other goes on", time.Minute)
		p.End()
		time.Sleep(time.Hour)
		want("at rest", 0)
		(*Pulse)(nil).Begin()
	})
}
