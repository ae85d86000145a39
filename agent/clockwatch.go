package agent

import (
	"context"
	"fmt"
	"time"

	"scanrelay/agent/clock"
)

// clockEvery is how often the clock is looked at; settleAfter is how long after
// it became known times are resolved once more, for events that were on their
// way to the store at that moment.
const (
	clockEvery  = time.Second
	settleAfter = 5 * time.Second
)

// watchClock gives clockless events their times once the clock is known.
func (a *Agent) watchClock(ctx context.Context) error {
	tick := time.NewTicker(clockEvery)
	defer tick.Stop()
	var since time.Time // since when the clock is believable; zero: it is not
	settled := false
	_, first := a.clock.BootZero()
	untold := !a.clock.Believable() // what it said by itself
	for {
		a.pulses.clock.Begin()
		known := a.clock.Believable()
		switch {
		case !known:
			if !since.IsZero() {
				a.log.Warn("the clock can't be believed any more; new events wait", "now", a.clock.Now().UTC())
			}
			since, settled = time.Time{}, false
		case since.IsZero() || !settled && time.Since(since) >= settleAfter:
			if since.IsZero() {
				since = time.Now()
			} else {
				settled = true
			}
			boot, zero := a.clock.BootZero()
			kept := untold && zero.Sub(first).Abs() <= clock.Tolerance
			if err := a.outbox.ResolveClock(boot, zero, kept); err != nil {
				return fmt.Errorf("resolve times: %w", err)
			}
		}
		a.pulses.clock.End()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
