package agent

import (
	"context"
	"fmt"
	"time"
)

// clockEvery is how often the clock is looked at; settleAfter is how long after
// it became known times are resolved once more, for events that were on their
// way to the store at that moment.
const (
	clockEvery  = time.Second
	settleAfter = 5 * time.Second
)

// watchClock gives clockless events their times once the clock is known, and
// beats for Live.
func (a *Agent) watchClock(ctx context.Context) error {
	tick := time.NewTicker(clockEvery)
	defer tick.Stop()
	var since time.Time // since when the clock is believable; zero: it is not
	settled := false
	for {
		a.beat.Store(int64(time.Since(a.started)))
		switch known := a.clock.Believable(); {
		case !known:
			if !since.IsZero() {
				a.log.Warn("the clock can't be believed any more; new events wait", "now", a.clock.Now().UTC())
			}
			since, settled = time.Time{}, false
		case since.IsZero():
			since = time.Now()
			if err := a.resolve(); err != nil {
				return err
			}
		case !settled && time.Since(since) >= settleAfter:
			settled = true
			if err := a.resolve(); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (a *Agent) resolve() error {
	boot, zero := a.clock.BootZero()
	if err := a.outbox.ResolveClock(boot, zero); err != nil {
		return fmt.Errorf("resolve times: %w", err)
	}
	return nil
}
