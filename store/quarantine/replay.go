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

// Move takes an entry out of the quarantine; Rest takes its place.
type Move struct {
	Seq  uint64
	Rest []scan.Reject
}

// Replay gives each entry, the oldest first, to understand, which says what it
// comes to now; false: nothing better than before. The events of an entry are
// committed, then it leaves the quarantine, or what of it is still rejected takes
// its place. Between the two a crash leaves the entry where it was: its events
// must come out the same next time, by their own or a derived id and without a
// weak key, and are then duplicates. What comes into the quarantine meanwhile is
// not looked at.
//
// store stores events durably and then has Move make the moves.
func (q *Quarantine) Replay(ctx context.Context, understand func(Entry) (scan.Batch, bool), store func(scan.Batch, []Move) (scan.Stored, error)) (r Replayed, err error) {
	for next, end := uint64(0), q.now().next; next < end; {
		part, err := q.part(next)
		if err == nil {
			err = ctx.Err()
		}
		if err == nil && len(part) > 0 {
			next = part[len(part)-1].Seq + 1
			batch, moves := r.understood(part, end, understand)
			err = r.commit(batch, moves, store)
		}
		if err != nil {
			return r, fmt.Errorf("replay quarantine: %w", err)
		}
		if len(part) == 0 {
			break
		}
	}
	return r, nil
}

// understood returns what the entries below end come to now.
func (r *Replayed) understood(part []Entry, end uint64, understand func(Entry) (scan.Batch, bool)) (all scan.Batch, moves []Move) {
	for _, e := range part {
		if e.Seq >= end {
			break
		}
		r.Entries++
		b, ok := understand(e)
		if !ok || len(b.Events) == 0 && len(b.Rejects) > 0 {
			r.Remaining++
			continue
		}
		all.Events = append(all.Events, b.Events...)
		all.Ignored += b.Ignored
		moves = append(moves, Move{e.Seq, b.Rejects})
	}
	return all, moves
}

func (r *Replayed) commit(b scan.Batch, moves []Move, store func(scan.Batch, []Move) (scan.Stored, error)) error {
	if len(moves) == 0 {
		return nil
	}
	stored, err := store(b, moves)
	if err != nil {
		return err
	}
	for _, m := range moves {
		if len(m.Rest) > 0 {
			r.Remaining++
		} else {
			r.Left++
		}
	}
	r.Events += stored.Events
	r.Duplicate += stored.Duplicate
	r.Ignored += b.Ignored
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
