package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"scanrelay/store/event"
)

// Lease claims up to max events that may be pushed now: synced, not waiting for
// data, due, each the first pending one of its waybill, and none of a waybill
// that has another one leased. Half of them are of the waybills whose last
// event is the youngest, half of the oldest. They are the caller's until
// Settle, Release or Park, or until ttl is over. ErrFull while not even
// outcomes could be written: a push whose outcome is lost is pushed twice.
func (o *Outbox) Lease(max int, ttl time.Duration) ([]event.Record, error) {
	o.leasing.Lock() // what one reads from disk for its lease is not for another
	defer o.leasing.Unlock()
	seqs, err := o.claim(max, ttl)
	if err != nil {
		o.unlease(seqs)
		return nil, fmt.Errorf("lease: %w", err)
	}
	if len(seqs) == 0 {
		return nil, nil
	}
	return o.leasedRecords(seqs)
}

// claim leases up to max events, and brings in what is needed for that.
func (o *Outbox) claim(max int, ttl time.Duration) (seqs []uint64, err error) {
	var turns turns
	for len(seqs) < max {
		var want []uint64
		var doubts []doubt
		o.locked(func(x *index) {
			if err = o.leasableLocked(); err != nil {
				return
			}
			x.expire()
			if want = x.wanted(); len(want) > 0 {
				return
			}
			var got []uint64
			got, doubts = x.lease(max-len(seqs), ttl, &turns)
			seqs = append(seqs, got...)
		})
		switch {
		case err != nil:
			return seqs, err
		case len(want) > 0:
			err = o.bring(want)
		case len(doubts) > 0:
			err = o.settleDoubts(doubts)
		default:
			return seqs, nil
		}
		if err != nil {
			return seqs, err
		}
	}
	return seqs, nil
}

func (o *Outbox) leasableLocked() error {
	if o.failure != nil {
		return o.failure
	}
	if o.stuck {
		return event.ErrFull
	}
	return nil
}

// unlease gives events back as they were.
func (o *Outbox) unlease(seqs []uint64) {
	o.locked(func(x *index) {
		for _, seq := range seqs {
			if _, leased := x.leases[seq]; leased {
				x.endLease(seq)
			}
		}
	})
}

// leasedRecords reads what was leased. What cannot be read is a dead letter:
// it must not hold the later events of its waybill.
func (o *Outbox) leasedRecords(seqs []uint64) ([]event.Record, error) {
	records, bad, err := o.records(seqs)
	if err != nil {
		o.unlease(seqs)
		return nil, fmt.Errorf("lease: %w", err)
	}
	o.locked(func(x *index) {
		for i := range records {
			records[i].Lease = x.leases[records[i].ID.Seq].id
		}
	})
	if len(bad) == 0 {
		return records, nil
	}
	var dead []event.Settlement
	for _, seq := range bad {
		dead = append(dead, event.Settlement{Seq: seq, Outcome: event.Dead, Last: event.Reply{Reason: "the record cannot be read from disk"}})
	}
	c, _ := o.settlement(dead)
	return records, errors.Join(o.submit(c), o.metDamage(bad))
}

// Due returns when Lease may find more than it does now: the present moment if
// it would find something. !ok: not before Pushable says so.
func (o *Outbox) Due() (next time.Time, ok bool) {
	o.locked(func(x *index) {
		x.expire()
		next, ok = x.due()
	})
	return next, ok
}

// Settle ends leased events, each with its outcome, in one commit, and returns
// when it is on disk. Events whose lease ran out are left as they are and named
// in an error that is ErrNotLeased; the others are settled all the same. After
// ErrFull nothing is settled and the leases hold on. When ctx ends first, the
// settlement goes on behind.
func (o *Outbox) Settle(ctx context.Context, s []event.Settlement) error {
	for i := range s {
		if !s[i].Outcome.Finished() || s[i].Outcome == event.Discarded {
			return fmt.Errorf("settle %d: %s is no outcome of a push", s[i].Seq, s[i].Outcome)
		}
	}
	c, missing := o.settlement(s)
	if len(c.notes) > 0 {
		if err := o.changeCtx(ctx, c); err != nil {
			return fmt.Errorf("settle: %w", err)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("settle %v: %w", missing, event.ErrNotLeased)
	}
	return nil
}

// settlement makes the change that settles what is leased of s.
func (o *Outbox) settlement(s []event.Settlement) (c *changeOp, missing []uint64) {
	c = &changeOp{}
	o.locked(func(x *index) {
		for i := range s {
			if !x.leased(s[i].Seq, s[i].Lease) {
				missing = append(missing, s[i].Seq)
				continue
			}
			x.settling(s[i].Seq, true)
			c.notes = append(c.notes, s[i].Note(x.now))
			c.noHurry = s[i].NoHurry && (c.noHurry || len(c.notes) == 1)
		}
	})
	c.then = func(g *group) {
		for i := range c.notes {
			o.ended(g.segment, &c.notes[i])
		}
	}
	c.revert = func() {
		o.locked(func(x *index) {
			for i := range c.notes {
				x.settling(c.notes[i].Seq, false)
			}
		})
	}
	return c, missing
}

// ended counts an outcome whose note stands in segment s. mu is held.
func (o *Outbox) ended(s *segment, n *event.Note) {
	o.index.remove(n.Seq)
	s.totals.settled[n.Outcome]++
	o.totals.settled[n.Outcome]++
	o.totals.outcome[n.Outcome]++
	holder := o.journal.find(n.Seq)
	holder.totals.outcome[n.Outcome]++
	if n.At.After(holder.finished) {
		holder.finished = n.At
	}
	if n.Outcome == event.Dead {
		o.index.dead[n.Seq] = struct{}{}
		return // a dead letter pins its segment
	}
	holder.open--
}

// Release gives leased events back, to be leased again at their time. Those
// whose lease ran out are named in an error that is ErrNotLeased.
func (o *Outbox) Release(r ...event.Retry) error {
	var missing []uint64
	o.locked(func(x *index) {
		for i := range r {
			if x.leased(r[i].Seq, r[i].Lease) {
				x.retry(r[i])
			} else {
				missing = append(missing, r[i].Seq)
			}
		}
		if len(x.unsaved) > 0 {
			o.dirtyLocked(attemptsLag)
		}
	})
	if len(missing) > 0 {
		return fmt.Errorf("release %v: %w", missing, event.ErrNotLeased)
	}
	return nil
}
