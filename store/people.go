package store

import (
	"context"
	"errors"
	"fmt"

	"scanrelay/agent/scan"
	"scanrelay/store/event"
)

// DeadIDs returns the ids of the dead letters, rising.
func (o *Outbox) DeadIDs() []event.ID {
	seqs := o.deadSeqs()
	ids := make([]event.ID, len(seqs))
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, seq := range seqs {
		ids[i] = event.ID{Epoch: o.state.epochOf(seq), Seq: seq}
	}
	return ids
}

// Requeue puts dead letters back to be pushed, with no attempts made and their
// age counted from now, and returns how many. Ids that are none (ErrUnknownID)
// or no dead letters (ErrNotDead) are named in the error; the others are put
// back all the same.
func (o *Outbox) Requeue(ctx context.Context, ids ...event.ID) (int, error) {
	seqs, wrong := o.claimDead(ids)
	if len(seqs) == 0 {
		return 0, wrong
	}
	entries, err := o.deadEntries(seqs)
	if err != nil {
		o.unclaim(seqs)
		return 0, errors.Join(fmt.Errorf("requeue: %w", err), wrong)
	}
	now := o.opts.Now()
	c := o.claimedChange(seqs)
	for seq := range entries {
		c.notes = append(c.notes, event.Note{Kind: event.NoteRequeue, Seq: seq, At: now})
	}
	c.then = func(g *group) {
		for i := range c.notes {
			o.requeued(g.segment, &c.notes[i], entries[c.notes[i].Seq])
		}
	}
	if err := o.changeCtx(ctx, c); err != nil {
		return 0, errors.Join(fmt.Errorf("requeue: %w", err), wrong)
	}
	return len(entries), wrong
}

// requeued counts a dead letter that was put back. mu is held.
func (o *Outbox) requeued(s *segment, n *event.Note, d deadEntry) {
	s.totals.requeued++
	o.totals.requeued++
	o.undead(n.Seq)
	o.index.add(n.Seq, d.entry)
	o.index.note(n.Seq, func(a *attempt) { a.retriedAt, a.later = n.At, d.later })
}

// undead takes a dead letter out of the counts. mu is held.
func (o *Outbox) undead(seq uint64) {
	o.totals.outcome[event.Dead]--
	o.journal.find(seq).totals.outcome[event.Dead]--
	delete(o.index.dead, seq)
	delete(o.claimed, seq)
}

// Discard ends dead letters for good, with a reason that is kept, and returns
// how many. Ids that are none or no dead letters are named in the error.
func (o *Outbox) Discard(ctx context.Context, reason string, ids ...event.ID) (int, error) {
	seqs, wrong := o.claimDead(ids)
	if len(seqs) == 0 {
		return 0, wrong
	}
	now := o.opts.Now()
	c := o.claimedChange(seqs)
	for _, seq := range seqs {
		c.notes = append(c.notes, event.Note{Kind: event.NoteOutcome, Seq: seq, Outcome: event.Discarded, At: now, Last: event.Reply{Reason: reason}})
	}
	c.then = func(g *group) {
		for i := range c.notes {
			o.undead(c.notes[i].Seq)
			o.ended(g.segment, &c.notes[i])
		}
	}
	if err := o.changeCtx(ctx, c); err != nil {
		return 0, errors.Join(fmt.Errorf("discard: %w", err), wrong)
	}
	return len(seqs), wrong
}

// claimDead takes dead letters for one change, so that no two changes work on
// the same.
func (o *Outbox) claimDead(ids []event.ID) (seqs []uint64, wrong error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, id := range ids {
		_, dead := o.index.dead[id.Seq]
		_, claimed := o.claimed[id.Seq]
		switch {
		case !o.holdsLocked(id):
			wrong = errors.Join(wrong, fmt.Errorf("%s: %w", id, event.ErrUnknownID))
		case !dead || claimed:
			wrong = errors.Join(wrong, fmt.Errorf("%s: %w", id, event.ErrNotDead))
		default:
			o.claimed[id.Seq] = struct{}{}
			seqs = append(seqs, id.Seq)
		}
	}
	return seqs, wrong
}

// holdsLocked reports whether the id is one of this outbox.
func (o *Outbox) holdsLocked(id event.ID) bool {
	s := o.journal.find(id.Seq)
	return s != nil && id.Seq < o.state.nextSeq && o.state.epochOf(id.Seq) == id.Epoch
}

func (o *Outbox) unclaim(seqs []uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, seq := range seqs {
		delete(o.claimed, seq)
	}
}

func (o *Outbox) claimedChange(seqs []uint64) *changeOp {
	return &changeOp{revert: func() { o.unclaim(seqs) }}
}

// deadEntry is what the index needs of a dead letter that is put back.
type deadEntry struct {
	entry
	later event.Later
}

// deadEntries reads what is needed to put dead letters back. One that cannot be
// read stays one.
func (o *Outbox) deadEntries(seqs []uint64) (map[uint64]deadEntry, error) {
	records, bad, err := o.records(seqs)
	if err != nil {
		return nil, err
	}
	o.unclaim(bad)
	later, err := o.laterTimes(records)
	if err != nil {
		return nil, err
	}
	entries := make(map[uint64]deadEntry, len(records))
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range records {
		d := deadEntry{entry: entry{
			waybill: o.index.hash(r.Event.Waybill), action: r.Event.ActionTime, received: unix32(r.Event.ReceivedAt),
		}}
		d.later = later[r.ID.Seq]
		entries[r.ID.Seq] = d
	}
	return entries, nil
}

// laterTimes finds what was stored after each record for its waybill: lateness
// holds for what is put back, too (design.md I5).
func (o *Outbox) laterTimes(records []event.Record) (map[uint64]event.Later, error) {
	later := make(map[uint64]event.Later, len(records))
	byWaybill := map[uint64][]uint64{}
	var ids []scan.WaybillID
	from := uint64(1<<64 - 1)
	for i := range records {
		seq, id := records[i].ID.Seq, records[i].Event.Waybill
		h := o.index.hash(id)
		if byWaybill[h] == nil {
			ids = append(ids, id)
		}
		byWaybill[h] = append(byWaybill[h], seq)
		later[seq] = event.Later{}
		from = min(from, seq)
	}
	seqs, err := o.sightings(ids, from, 1<<64-1, anyEvent)
	if err != nil {
		return nil, err
	}
	list, _, err := o.readEntries(seqs)
	if err != nil {
		return nil, err
	}
	for _, f := range list {
		for _, early := range byWaybill[f.waybill] {
			if t := later[early]; f.seq > early {
				t.Add(f.action)
				later[early] = t
			}
		}
	}
	// Last, so that a segment dropped meanwhile is found in its copied notes.
	return later, o.copiedLater(later)
}

// copiedLater adds what was stored after carried events in segments that are
// gone.
func (o *Outbox) copiedLater(later map[uint64]event.Later) error {
	if !o.journal.carries(later) {
		return nil
	}
	err := o.eachNote(o.journal.oldest(), func(_ *segment, _ uint64, n *event.Note) {
		if t, ok := later[n.Seq]; ok && n.Later.Known {
			t.Add(n.Later.Action)
			later[n.Seq] = t
		}
	})
	if err != nil {
		return fmt.Errorf("read notes: %w", err)
	}
	return nil
}
