package store

import (
	"errors"
	"fmt"
	"time"
)

// believable is a moment before which no clock is right. A finish that seems
// to lie before counts from when it is looked at (design.md, Clock rule).
var believable = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// retire unlinks the oldest segments that are finished and past retain.
func (o *Outbox) retire() {
	for {
		err := o.dropOldest(false)
		switch {
		case err == nil:
			continue
		case !errors.Is(err, errNoSpace):
			o.fail(err)
		}
		return
	}
}

// dropOldest unlinks the oldest segment if everything in it is finished and
// synced, and past retain or force is set: retain yields to max_size. Its
// totals are committed before; should a crash come between, the next start
// unlinks it. errNoSpace if it cannot go.
func (o *Outbox) dropOldest(force bool) error {
	s := o.journal.oldest()
	if !o.droppable(s, force) {
		return errNoSpace
	}
	st := o.currentState()
	st.base.add(&s.totals)
	st.dropped = s.number
	st.prune(s.last + 1)
	if err := o.writeState(st); err != nil {
		return fmt.Errorf("drop segment %d: %w", s.number, err)
	}
	o.mu.Lock()
	o.state = *st
	o.mu.Unlock()
	if err := o.journal.drop(s); err != nil {
		return err
	}
	o.opts.Logger.Info("segment dropped", "segment", s.number, "events", s.totals.received)
	return nil
}

func (o *Outbox) droppable(s *segment, force bool) bool {
	if s == o.journal.newest() {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if s.open > 0 || s.last > o.index.watermark {
		return false
	}
	now := o.opts.Now()
	if s.finished.Before(believable) {
		s.finished = now
	}
	return force || now.Sub(s.finished) > o.opts.Retain
}

// writeState commits a state by itself.
func (o *Outbox) writeState(st *state) error {
	tx, err := o.journal.newest().db.Begin(true)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if err := st.storeAll(tx.Bucket(bucketState)); err != nil {
		return err
	}
	return o.commitTx(tx)
}
