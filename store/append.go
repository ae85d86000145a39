package store

import (
	"errors"
	"fmt"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/codec"
)

// maxOpWeight bounds what one op adds to a commit, so that it fits into the
// smallest segment. A larger batch becomes several ops; if a crash comes
// between them, the scanner sends it again and what is there is a duplicate.
const maxOpWeight = minSegmentSize / 4

// maxEventSize bounds one record. Intake's own bounds are far below.
const maxEventSize = maxOpWeight / 2

var errTooLarge = errors.New("event is too large to store")

// appendOp stores a batch or a part of one.
type appendOp struct {
	batch  *appendBatch
	events []incoming
	last   bool // carries the batch's rejects and its answer
	bytes  int

	stored    []storedEvent // since the last stage
	duplicate int
}

// appendBatch is what the ops of one batch share.
type appendBatch struct {
	scan.Batch
	done   func(scan.Stored, error)
	result scan.Stored
	err    error // of an earlier part
}

type incoming struct {
	event  *scan.Event
	framed []byte
	id     identity
}

// storedEvent is what of an event stays in memory after its commit.
type storedEvent struct {
	seq   uint64
	event *scan.Event
}

// newAppend encodes a batch in the caller's goroutine.
func (o *Outbox) newAppend(b scan.Batch, done func(scan.Stored, error)) (ops []op) {
	batch := &appendBatch{Batch: b, done: done}
	cur := &appendOp{batch: batch}
	for i := range b.Events {
		e := &b.Events[i]
		in := incoming{event: e, framed: codec.EncodeEvent(e), id: o.dedupe.identify([]byte(e.Waybill), []byte(e.EventID))}
		if len(in.framed) > maxEventSize {
			batch.err = fmt.Errorf("append %s: %w (%d bytes)", e.EventID, errTooLarge, len(in.framed))
		}
		if cur.bytes > 0 && cur.bytes+eventWeight(in.framed) > maxOpWeight {
			ops = append(ops, cur)
			cur = &appendOp{batch: batch}
		}
		cur.events = append(cur.events, in)
		cur.bytes += eventWeight(in.framed)
	}
	cur.last = true
	for i := range b.Rejects {
		cur.bytes += len(b.Rejects[i].Payload) // for the queue's bound
	}
	return append(ops, cur)
}

func (a *appendOp) intake() bool  { return true }
func (a *appendOp) weight() int   { return a.bytes }
func (a *appendOp) patient() bool { return false }

func (a *appendOp) stage(g *group) error {
	a.stored, a.duplicate = a.stored[:0], 0
	if a.batch.err != nil {
		return a.batch.err
	}
	for i := range a.events {
		in := &a.events[i]
		if a.known(g, in) {
			a.duplicate++
			continue
		}
		seq := g.addEvent(in.framed, in.event.Waybill)
		a.stored = append(a.stored, storedEvent{seq, in.event})
		if e := in.event; e.Clockless == nil && e.ReceivedAt.After(g.next.newest) {
			g.next.newest = e.ReceivedAt
		}
	}
	g.next.duplicate += uint64(a.duplicate)
	if a.last {
		g.next.ignored += uint64(a.batch.Ignored)
		g.next.duplicate += uint64(a.batch.Repeated)
		g.rejects = append(g.rejects, a.batch.Rejects...)
	}
	return nil
}

// known reports whether the event was stored before, and remembers it if not.
func (a *appendOp) known(g *group, in *incoming) bool {
	d := g.o.dedupe
	if weak := in.event.Weak; weak != (scan.WeakKey{}) {
		if a.batch.Redelivered && d.hasWeak(weak, g.now) {
			return true
		}
		d.addWeak(weak, g.now)
		g.weak = append(g.weak, weak)
		return false
	}
	if d.has(in.id) {
		return true
	}
	d.add(in.id)
	g.identities = append(g.identities, in.id)
	return false
}

func (a *appendOp) Apply(o *Outbox, g *group) {
	for _, s := range a.stored {
		o.received(g.segment, s.seq, s.event)
	}
	r := &a.batch.result
	r.Events += len(a.stored)
	r.Duplicate += a.duplicate
	if a.last {
		r.Rejected = len(a.batch.Rejects)
		r.Duplicate += a.batch.Repeated
	}
}

// received counts a new event and makes it pending. mu is held.
func (o *Outbox) received(s *segment, seq uint64, e *scan.Event) {
	s.last = seq
	s.open++
	s.totals.received++
	o.totals.received++
	in := entry{waybill: o.index.hash(e.Waybill), action: e.ActionTime, received: unix32(e.ReceivedAt)}
	if c := e.Clockless; c != nil {
		if clock, ok := o.state.clockOf(c.Boot, seq); ok {
			received, action, _ := clock.resolve(c.Since, e.ActionTime, e.Marks)
			in.received, in.action = unix32(received), action
		} else {
			in.flags |= entryClockless
		}
	}
	o.index.add(seq, in)
}

// unix32 is t in unix seconds; what lies outside of 1970 to 2106 is cut.
func unix32(t time.Time) uint32 { return uint32(min(max(t.Unix(), 0), 1<<32-1)) }

func (a *appendOp) Finish(err error) {
	b := a.batch
	if err != nil && b.err == nil {
		b.err = err
	}
	switch {
	case !a.last:
	case b.err != nil:
		b.done(scan.Stored{}, b.err)
	default:
		b.done(b.result, nil)
	}
}
