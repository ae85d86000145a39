package store

import (
	"errors"
	"fmt"
	"time"

	"scanrelay/store/event"
)

// believable is a moment before which no clock is right. A finish that seems
// to lie before counts from when it is looked at (design.md, Clock rule).
var believable = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// retire unlinks the oldest segments that are finished and past retain, and ends
// the newest one after half of retain: in a depot with few scans it would else
// take months to fill, and personal data would stay as long.
func (o *Outbox) retire() {
	o.rollByAge()
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

func (o *Outbox) rollByAge() {
	s, now := o.journal.newest(), o.opts.Now()
	if s.begun.Before(believable) {
		s.begun = now
	}
	o.mu.Lock()
	empty := s.last < s.first
	o.mu.Unlock()
	if empty || now.Sub(s.begun) <= o.opts.Retain/2 {
		return
	}
	if err := o.roll(true); err != nil && !errors.Is(err, errNoSpace) {
		o.fail(err)
	}
}

// dropOldest unlinks the oldest segment if everything in it is synced, and
// finished but for a few events that are carried along, and past retain or
// force is set: retain yields to max_size. Its totals are committed before;
// should a crash come between, the next start unlinks it. errNoSpace if it
// cannot go.
func (o *Outbox) dropOldest(force bool) error {
	s := o.journal.oldest()
	if !o.droppable(s, force) {
		return errNoSpace
	}
	c, ok, err := o.cargoOf(s)
	if err != nil {
		return fmt.Errorf("drop segment %d: %w", s.number, err)
	}
	if !ok {
		return errNoSpace
	}
	st := o.currentState()
	st.base.add(&s.totals)
	st.base.received -= uint64(len(c.events))
	st.base.outcome[event.Dead] -= c.dead
	st.dropped = s.number
	st.prune(o.oldestLeft(s, c))
	if err := o.writeState(st, c); err != nil {
		return fmt.Errorf("drop segment %d: %w", s.number, err)
	}
	o.carriedTo(c, o.journal.newest())
	o.mu.Lock()
	o.state = *st
	o.mu.Unlock()
	if err := o.journal.drop(s); err != nil {
		return err
	}
	o.opts.Logger.Info("segment dropped", "segment", s.number, "events", s.totals.received, "carried", len(c.events))
	return nil
}

// droppable leaves open whether what is unfinished can be carried.
func (o *Outbox) droppable(s *segment, force bool) bool {
	if s == o.journal.newest() {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if s.open > maxCarry || s.last > o.index.watermark {
		return false
	}
	now := o.opts.Now()
	if s.finished.Before(believable) {
		s.finished = now
	}
	return force || now.Sub(s.finished) > o.opts.Retain
}

// oldestLeft returns the lowest number that is still held once s is dropped.
func (o *Outbox) oldestLeft(s *segment, c *cargo) uint64 {
	oldest := s.last + 1
	for _, e := range c.events {
		oldest = min(oldest, e.seq)
	}
	o.journal.mu.RLock()
	defer o.journal.mu.RUnlock()
	for seq, c := range o.journal.carried {
		if c.segment != s {
			oldest = min(oldest, seq)
		}
	}
	return oldest
}

// writeState commits a state by itself, with what is carried.
func (o *Outbox) writeState(st *state, c *cargo) error {
	to := o.journal.newest()
	tx, err := to.db.Begin(true)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if probe := (group{bytes: c.bytes}); c.bytes > 0 && !probe.fits(to, tx.Size()) {
		return errNoSpace
	}
	if err := c.write(tx, to); err != nil {
		return err
	}
	if err := st.storeAll(tx.Bucket(bucketState)); err != nil {
		return err
	}
	return o.commitTx(tx)
}
