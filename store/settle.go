package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/event"
)

// Lease claims up to max events that may be pushed now: synced, not waiting for
// data, due, each the first pending one of its waybill, and none of a waybill
// that has another one leased. Half of them are of the waybills whose last
// event is the youngest, half of the oldest. They are the caller's until
// Settle, Release or Park, or until ttl is over. ErrFull while not even
// outcomes could be written: a push whose outcome is lost is pushed twice.
func (o *Outbox) Lease(max int, ttl time.Duration) (records []Record, err error) {
	if err := o.settling(); err != nil {
		return nil, fmt.Errorf("lease: %w", err)
	}
	claims, err := o.index.Lease(max, ttl)
	if err != nil {
		return nil, fmt.Errorf("lease: %w", err)
	}
	seqs := make([]uint64, len(claims))
	leases := make(map[uint64]Lease, len(claims))
	for i, c := range claims {
		seqs[i], leases[c.Seq] = c.Seq, c.Lease
	}
	records, bad, err := o.journal.Records(seqs)
	if err != nil {
		o.index.Unlease(claims)
		return nil, fmt.Errorf("lease: %w", err)
	}
	for i := range records {
		records[i].Lease = leases[records[i].ID.Seq]
	}
	return records, o.bury(bad, leases)
}

// bury makes dead letters of leased events that cannot be read: they must not
// hold the later events of their waybills. It raises the alarm.
func (o *Outbox) bury(seqs []uint64, leases map[uint64]Lease) error {
	if len(seqs) == 0 {
		return nil
	}
	op, _ := o.settlement(unread(seqs, leases))
	return o.buried(seqs, op)
}

// buryUnread does so with events that nobody leased.
func (o *Outbox) buryUnread(seqs []uint64) error {
	taken := o.index.Reserve(unread(seqs, nil))
	if len(taken) == 0 {
		return nil
	}
	op := o.endings(taken)
	op.revert = func() { o.index.AbortSettling(taken) }
	return o.buried(seqs, op)
}

func unread(seqs []uint64, leases map[uint64]Lease) []Settlement {
	dead := make([]Settlement, len(seqs))
	for i, seq := range seqs {
		dead[i] = Settlement{Seq: seq, Lease: leases[seq], Outcome: Dead, Last: Reply{Reason: event.ReasonUnread}}
	}
	return dead
}

func (o *Outbox) buried(seqs []uint64, op *changeOp) error {
	err := o.submit(op)
	o.opts.Logger.Error("events cannot be read from disk and are dead letters; a restart mends what can be mended", "count", len(seqs), "seqs", event.Ranges(seqs))
	what, metErr := o.journal.MetDamage(seqs)
	if what != "" {
		metErr = o.submit(&changeOp{set: func(g *group) { g.State.Damage = append(g.State.Damage, what) }})
	}
	return errors.Join(err, metErr)
}

// Due returns when Lease may find more than it does now: the present moment if
// it would find something. !ok: not before Pushable says so.
func (o *Outbox) Due() (next time.Time, ok bool) { return o.index.Due() }

// Settle ends leased events, each with its outcome, and returns when that is on
// disk: 500 in a commit. Events whose lease ran out are left as they are and named
// in an error that is ErrNotLeased; the others are settled all the same. After
// ErrFull what is not settled yet holds its lease. When ctx ends first, the
// settlement goes on behind.
func (o *Outbox) Settle(ctx context.Context, s []Settlement) error {
	for i := range s {
		if !s[i].Outcome.Finished() || s[i].Outcome == Discarded {
			return fmt.Errorf("settle %d: %s is no outcome of a push", s[i].Seq, s[i].Outcome)
		}
	}
	var missing []uint64
	for part := range slices.Chunk(s, stepNotes) {
		op, late := o.settlement(part)
		missing = append(missing, late...)
		if len(op.notes) > 0 {
			if err := o.change(ctx, op); err != nil {
				return fmt.Errorf("settle: %w", err)
			}
		}
	}
	return notLeased("settle", missing)
}

func notLeased(what string, missing []uint64) error {
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%s %s: %w", what, event.Ranges(missing), ErrNotLeased)
}

// settlement makes the change that settles what is leased of s.
func (o *Outbox) settlement(s []Settlement) (op *changeOp, missing []uint64) {
	held, missing := o.index.BeginSettling(s)
	op = o.endings(held)
	op.revert = func() { o.index.AbortSettling(held) }
	op.delay = true
	for i := range held {
		op.delay = op.delay && held[i].NoHurry
	}
	return op, missing
}

// Hurry says whether outcomes are in a hurry from now on, also those that said they
// are not: something waits for a place that one of them holds.
func (o *Outbox) Hurry(on bool) { o.queue.setHurry(on) }

// endings makes a change that ends events.
func (o *Outbox) endings(s []Settlement) *changeOp {
	now := o.opts.Now()
	op := &changeOp{notes: make([]event.Note, len(s))}
	for i := range s {
		op.notes[i] = s[i].Note(now)
	}
	sent := o.index.Senders(s)
	op.then = func() { o.index.End(s, sent) }
	return op
}

// Release gives leased events back, to be leased again at their time. Those
// whose lease ran out are named in an error that is ErrNotLeased.
func (o *Outbox) Release(r ...Retry) error {
	missing := o.index.Release(r)
	if o.index.Counts().Unsaved > 0 {
		o.mu.Lock()
		o.dirtyLocked(attemptsLag)
		o.mu.Unlock()
	}
	return notLeased("release", missing)
}

// Park lets the waybills of leased events wait for data, with all of their
// events that are synced. Events whose lease ran out are named in an error that
// is ErrNotLeased.
func (o *Outbox) Park(records ...Record) error {
	missing, err := o.index.Park(records)
	if err != nil {
		return fmt.Errorf("park: %w", err)
	}
	return notLeased("park", missing)
}

// Newer returns the newest action_time among the events of the waybill that
// this depot stored after seq: the pending ones, and for a dead letter that was
// put back also those that were finished by then.
func (o *Outbox) Newer(id scan.WaybillID, seq uint64) (newest int64, ok bool, err error) {
	t, err := o.index.Newer(id, seq)
	return t.Action, t.Known, err
}
