package quarantine

import (
	"context"
	"fmt"

	"scanrelay/agent/scan"
)

// Replayed tells what became of the entries in a Replay.
type Replayed struct {
	Entries   int // that were looked at
	Left      int // of them left the quarantine
	Events    int // newly stored from them
	Duplicate int // recognised, not stored again
	Ignored   int // reads in them that are none
	Remaining int // entries that are still not understood, wholly or in part
}

// replayEvents bounds the events of one commit of a Replay, about.
const replayEvents = 1000

// Replay gives each entry, the oldest first, to understand, which says what it
// comes to now; false: nothing better than before. The events of an entry are
// committed, then it leaves the quarantine, or what of it is still rejected takes
// its place. Between the two a crash leaves the entry where it was: its events
// must come out the same next time, by their own or a derived id and without a
// weak key, and are then duplicates. What comes into the quarantine meanwhile is
// not looked at.
//
// store stores events durably and then has Move make the moves.
func (q *Quarantine) Replay(ctx context.Context, understand func(Entry) (scan.Batch, bool), store func(scan.Batch, []Move) (scan.Stored, error)) (Replayed, error) {
	r := replay{understand: understand, store: store}
	err := r.all(ctx, q, q.now().next)
	if err != nil {
		err = fmt.Errorf("replay quarantine: %w", err)
	}
	return r.total, err
}

// replay is a Replay, and what of it is committed next.
type replay struct {
	understand func(Entry) (scan.Batch, bool)
	store      func(scan.Batch, []Move) (scan.Stored, error)
	total      Replayed
	batch      scan.Batch
	moves      []Move
}

// Move takes an entry out of the quarantine; Rest takes its place.
type Move struct {
	Seq  uint64
	Rest []scan.Reject
}

// all replays the entries below end.
func (r *replay) all(ctx context.Context, q *Quarantine, end uint64) error {
	for next := uint64(0); next < end; {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		part, err := q.part(next)
		if err != nil || len(part) == 0 {
			return err
		}
		for _, entry := range part {
			if entry.Seq >= end {
				break
			}
			r.take(entry)
			if len(r.batch.Events) >= replayEvents {
				if err := r.commit(); err != nil {
					return err
				}
			}
		}
		if err := r.commit(); err != nil {
			return err
		}
		next = part[len(part)-1].Seq + 1
	}
	return nil
}

func (r *replay) take(e Entry) {
	r.total.Entries++
	b, ok := r.understand(e)
	if !ok || len(b.Events) == 0 && len(b.Rejects) > 0 {
		r.total.Remaining++
		return
	}
	r.batch.Events = append(r.batch.Events, b.Events...)
	r.batch.Ignored += b.Ignored
	r.moves = append(r.moves, Move{e.Seq, b.Rejects})
}

func (r *replay) commit() error {
	if len(r.moves) == 0 {
		return nil
	}
	batch, moves := r.batch, r.moves
	r.batch, r.moves = scan.Batch{}, nil
	stored, err := r.store(batch, moves)
	if err != nil {
		return err
	}
	for _, m := range moves {
		if len(m.Rest) > 0 {
			r.total.Remaining++
		} else {
			r.total.Left++
		}
	}
	r.total.Events += stored.Events
	r.total.Duplicate += stored.Duplicate
	r.total.Ignored += batch.Ignored
	return nil
}

// Move makes the moves in one commit. One whose entry made way for newer ones
// meanwhile is nothing: it is gone already, and counted.
func (q *Quarantine) Move(moves []Move) error {
	return q.update(q.o.Size, func(b *bucket) error {
		for _, m := range moves {
			if err := b.move(m); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *bucket) move(m Move) error {
	there, err := b.remove(m.Seq)
	if err != nil || !there {
		return err
	}
	seq := m.Seq // the first of the rest is the same message; others are new ones
	for i := range m.Rest {
		if i > 0 {
			seq = b.take()
		}
		if err := b.put(seq, &m.Rest[i]); err != nil {
			return err
		}
	}
	return nil
}
