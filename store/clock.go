package store

import (
	"errors"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/codec"
)

// anyBoot in place of a boot's name is any that has no clock of its own.
const anyBoot = ""

// clockOf returns the clock that resolves an event of a boot. What was stored
// after a boot's clock became known, by a reader that had not heard of it, is
// resolved by the same one.
func (s *state) clockOf(boot string, seq uint64) (clock bootClock, ok bool) {
	var other bootClock
	for _, b := range s.boots {
		switch {
		case b.boot == anyBoot:
			if seq <= b.upTo && other.zero.IsZero() {
				other = b // the first that came after the event
			}
		case b.boot != boot:
		case seq <= b.upTo:
			return b, true
		case !b.fixed:
			clock, ok = b, true
		}
	}
	if !ok && !other.zero.IsZero() {
		return other, true
	}
	return clock, ok
}

// wall returns the wall time of a moment of the boot.
func (b *bootClock) wall(since time.Duration) time.Time {
	if b.fixed {
		return b.zero
	}
	return b.zero.Add(since)
}

// resolve applies the clock rule late: the time of arrival is known now, and an
// action_time that was provisional or turns out implausible becomes it.
func (b *bootClock) resolve(since time.Duration, action int64, m scan.Marks) (received time.Time, time int64, marks scan.Marks) {
	received = b.wall(since)
	if m.Has(scan.MarkClock) || !scan.PlausibleTime(action, received) {
		return received, received.Unix(), m | scan.MarkClock
	}
	return received, action, m
}

// resolve gives a clockless event its wall times, if they are known.
func (s *state) resolve(e *scan.Event, seq uint64) {
	if e.Clockless == nil {
		return
	}
	if b, ok := s.clockOf(e.Clockless.Boot, seq); ok {
		e.ReceivedAt, e.ActionTime, e.Marks = b.resolve(e.Clockless.Since, e.ActionTime, e.Marks)
		e.Clockless = nil
	}
}

// ResolveClock gives the events of a boot whose clock could not be believed
// their times: zero is the wall time of the boot's moment 0. What other such
// boots stored takes the present moment. It is on disk when this returns.
func (o *Outbox) ResolveClock(boot string, zero time.Time) error {
	err := o.change(&changeOp{
		set: func(g *group) {
			o.mu.Lock()
			defer o.mu.Unlock()
			g.next.setClock(boot, zero, g.next.nextSeq-1)
			// What came before this process and is not synced may be of boots
			// that never had a clock.
			if before := o.opened - 1; o.index.all.countIn(anyPending, o.index.watermark+1, before) > 0 {
				g.next.setOthers(g.now.UTC(), before)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("resolve clock: %w", err)
	}
	return o.resolved()
}

func (s *state) setClock(boot string, zero time.Time, upTo uint64) {
	zero = zero.UTC().Truncate(time.Microsecond) // as it will be read
	s.boots = slices.DeleteFunc(s.boots, func(b bootClock) bool {
		return b.boot == boot && !b.fixed && b.zero.Equal(zero)
	})
	s.boots = append(s.boots, bootClock{boot: boot, upTo: upTo, zero: zero})
}

// setOthers fixes the time of what boots without a clock stored up to a number.
func (s *state) setOthers(now time.Time, upTo uint64) {
	for _, b := range s.boots {
		if b.boot == anyBoot && b.upTo >= upTo {
			return
		}
	}
	s.boots = append(s.boots, bootClock{boot: anyBoot, upTo: upTo, zero: now, fixed: true})
}

// resolved takes the times that are known now into memory.
func (o *Outbox) resolved() error {
	var seqs []uint64
	o.locked(func(x *index) {
		for seq, ok := x.all.next(anyHeld, 0); ok; seq, ok = x.all.next(anyHeld, seq+1) {
			if x.get(seq).flags&entryClockless != 0 {
				seqs = append(seqs, seq)
			}
		}
	})
	for _, seq := range seqs {
		err := o.resolveEntry(seq)
		if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, errGone) {
			return fmt.Errorf("resolve clock: %w", err)
		}
	}
	signal(o.arrived)
	return nil
}

func (o *Outbox) resolveEntry(seq uint64) error {
	s := o.journal.find(seq)
	if s == nil {
		return errGone
	}
	return o.journal.view(s, func(tx *bolt.Tx) error {
		body, err := s.event(tx, seq, nil)
		if err != nil {
			return err
		}
		h, err := codec.PeekEvent(body)
		if err != nil {
			return err
		}
		o.locked(func(x *index) {
			clock, ok := o.state.clockOf(string(h.Boot), seq)
			e := x.get(seq)
			if e == nil || !ok {
				return
			}
			received, action, _ := clock.resolve(h.BootSince, h.Time, h.Marks)
			e.received, e.action = unix32(received), action
			e.flags &^= entryClockless
		})
		return nil
	})
}

// NewestTime returns the newest received_at that was stored under a clock that
// could be believed; zero if there is none.
func (o *Outbox) NewestTime() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state.newest
}
