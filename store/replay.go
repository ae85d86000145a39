package store

import (
	"context"
	"math"

	"scanrelay/agent/scan"
	"scanrelay/store/boltpage"
	"scanrelay/store/quarantine"
)

// What callers know of the quarantine.
type (
	Quarantined = quarantine.Entry
	Replayed    = quarantine.Replayed
)

// Replay has what is in quarantine understood anew; see quarantine.Replay. What came
// before the clock was known has its right time by then.
func (c Commands) Replay(ctx context.Context, understand func(Quarantined) (scan.Batch, bool)) (Replayed, error) {
	return c.o.quarantine.Replay(ctx, func(q Quarantined) (scan.Batch, bool) {
		e := scan.Event{Clockless: q.Clockless, ReceivedAt: q.ReceivedAt, Marks: scan.MarkClock}
		if c.o.journal.Resolve(&e, math.MaxUint64); e.Clockless == nil {
			q.ReceivedAt, q.Clockless = e.ReceivedAt, nil
		}
		return understand(q)
	}, c.storeReplayed)
}

// storeReplayed stores the events and then moves the entries, both in the
// committer.
func (c Commands) storeReplayed(b scan.Batch, moves []quarantine.Move) (stored scan.Stored, err error) {
	done := make(chan error, 1)
	err = c.o.Submit(b, func(s scan.Stored, err error) {
		stored = s
		if err == nil {
			if err = c.o.quarantine.Move(moves); err != nil && !boltpage.Retryable(err) {
				c.o.fail(err)
			}
		}
		done <- err
	})
	if err == nil {
		err = <-done // the committer answers everything that it was given
	}
	return stored, err
}
