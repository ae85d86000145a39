package store

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"scanrelay/agent/scan"
	"scanrelay/store/codec"
	"scanrelay/store/format"
	"scanrelay/store/index"
)

// maxOpWeight bounds what one op adds to a commit, so that it fits into the
// smallest segment. A larger batch becomes several ops; if a crash comes
// between them, the scanner sends it again and what is there is a duplicate.
const maxOpWeight = 256 << 10

// maxEventSize bounds one record. Intake's own bounds are far below.
const maxEventSize = maxOpWeight / 2

var errTooLarge = errors.New("event is too large to store")

// appendOp stores a batch or a part of one.
type appendOp struct {
	batch  *appendBatch
	events []incoming
	last   bool // carries the batch's rejects and its answer
	bytes  int

	stored    []index.Added // since the last stage
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

// newAppend encodes a batch in the caller's goroutine.
func (c *committer) newAppend(b scan.Batch, done func(scan.Stored, error)) (ops []op) {
	batch := &appendBatch{Batch: b, done: done}
	cur := &appendOp{batch: batch}
	for i := range b.Events {
		e := &b.Events[i]
		e.Client = b.Client
		in := incoming{event: e, framed: codec.EncodeEvent(e), id: c.dedupe.identify([]byte(e.Waybill), []byte(e.EventID))}
		if len(in.framed) > maxEventSize {
			batch.err = fmt.Errorf("append %s: %w (%d bytes)", e.EventID, errTooLarge, len(in.framed))
		}
		if cur.bytes > 0 && cur.bytes+format.EventWeight(in.framed) > maxOpWeight {
			ops = append(ops, cur)
			cur = &appendOp{batch: batch}
		}
		cur.events = append(cur.events, in)
		cur.bytes += format.EventWeight(in.framed)
	}
	cur.last = true
	for i := range b.Rejects {
		cur.bytes += len(b.Rejects[i].Payload) // for the queue's bound
	}
	return append(ops, cur)
}

func (a *appendOp) spends() bool { return true }
func (a *appendOp) weight() int  { return a.bytes }

// patience of messages that are perhaps heartbeats is long; if one is a scan, it is
// one that has to be replayed anyway.
func (a *appendOp) patience() patience {
	b := a.batch
	if len(b.Events) > 0 || len(b.Rejects) == 0 || slices.ContainsFunc(b.Rejects, func(r scan.Reject) bool { return r.Code != scan.NoWaybill }) {
		return intake
	}
	return idle
}

func (a *appendOp) stage(g *group) error {
	a.stored, a.duplicate = a.stored[:0], 0
	if a.batch.err != nil {
		return a.batch.err
	}
	if err := cmp.Or(refusedBefore(&a.batch.Batch), g.c.sharing(&a.batch.Batch)); err != nil {
		a.batch.refuse()
		return err
	}
	for i := range a.events {
		in := &a.events[i]
		if a.known(g, in) {
			a.duplicate++
			continue
		}
		seq := g.AddEvent(in.framed, in.event.Waybill)
		a.stored = append(a.stored, index.Added{Seq: seq, Event: in.event, Size: len(in.framed)})
		if e := in.event; e.Clockless == nil && e.ReceivedAt.After(g.State.Newest) {
			g.State.Newest = e.ReceivedAt
		}
	}
	g.count(a.duplicate, 0)
	if a.last {
		g.count(a.batch.Repeated, a.batch.Ignored)
		g.rejects = append(g.rejects, a.batch.Rejects...)
	}
	return nil
}

// refuse has what the same sender gave behind it refused, too: what is stored out of
// order is late at the centre, and nobody hears of it.
func (b *appendBatch) refuse() {
	if b.Refused != nil {
		b.Refused.Store(true)
	}
}

// refusedBefore tells whether something that the sender gave before was refused.
func refusedBefore(b *scan.Batch) error {
	if b.Refused != nil && b.Refused.Load() {
		return ErrFull
	}
	return nil
}

// known reports whether the event was stored before, and remembers it if not.
func (a *appendOp) known(g *group, in *incoming) bool {
	d := g.c.dedupe
	if weak := in.event.Weak; weak != (scan.WeakKey{}) {
		if a.batch.Redelivered && d.hasWeak(weak, g.now) {
			return true
		}
		g.weak = append(g.weak, weakUndo{weak, d.weakAt(weak)})
		d.addWeak(weak, g.now)
		return false
	}
	if d.has(in.id) {
		return true
	}
	d.add(in.id)
	g.identities = append(g.identities, in.id)
	return false
}

func (a *appendOp) apply(g *group) {
	for i, s := range a.stored {
		if s.Event.Clockless != nil {
			e := *s.Event
			g.c.o.journal.Resolve(&e, s.Seq)
			a.stored[i].Event = &e
		}
	}
	g.c.o.index.Add(a.stored)
	r := &a.batch.result
	r.Events += len(a.stored)
	r.Duplicate += a.duplicate
	if a.last {
		r.Rejected = len(a.batch.Rejects)
		r.Duplicate += a.batch.Repeated
	}
}

func (a *appendOp) finish(err error) {
	b := a.batch
	if err != nil && b.err == nil {
		b.err = err
	}
	if errors.Is(err, ErrFull) { // before the next commit
		b.refuse()
	}
	switch {
	case !a.last:
	case b.err != nil:
		b.done(scan.Stored{}, b.err)
	default:
		b.done(b.result, nil)
	}
}
