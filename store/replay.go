package store

import (
	"context"
	"fmt"

	"scanrelay/agent/scan"
	"scanrelay/store/boltpage"
	"scanrelay/store/crypt"
	"scanrelay/store/quarantine"
)

// What callers know of the quarantine.
type (
	Quarantined = quarantine.Entry
	Replayed    = quarantine.Replayed
)

func (o *Outbox) openQuarantine() error {
	opts := quarantine.Options{Size: o.opts.QuarantineSize, Count: o.opts.QuarantineCount, Logger: o.opts.Logger, Commit: o.opts.commit}
	q, aside, err := quarantine.Open(o.dir, opts, o.journal.keys.Cipher(crypt.QuarantineKey))
	if aside != "" {
		o.damage = append(o.damage, "the quarantine was damaged; kept as "+aside)
	}
	o.quarantine = q
	return err
}

// Quarantine gives everything in quarantine to fn, oldest first.
func (o *Outbox) Quarantine(ctx context.Context, fn func(Quarantined) error) error {
	if err := o.quarantine.Each(ctx, fn); err != nil {
		return fmt.Errorf("read quarantine: %w", err)
	}
	return nil
}

// Replay has what is in quarantine understood anew; see quarantine.Replay.
func (o *Outbox) Replay(ctx context.Context, understand func(Quarantined) (scan.Batch, bool)) (Replayed, error) {
	return o.quarantine.Replay(ctx, understand, o.storeReplayed)
}

// storeReplayed stores the events and then moves the entries, both in the
// committer.
func (o *Outbox) storeReplayed(b scan.Batch, moves []quarantine.Move) (stored scan.Stored, err error) {
	done := make(chan error, 1)
	err = o.Submit(b, func(s scan.Stored, err error) {
		stored = s
		if err == nil {
			if err = o.quarantine.Move(moves); err != nil && !boltpage.Retryable(err) {
				o.fail(err)
			}
		}
		done <- err
	})
	if err == nil {
		err = <-done // the committer answers everything that it was given
	}
	return stored, err
}
