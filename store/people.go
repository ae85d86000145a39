package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"scanrelay/store/codec"
	"scanrelay/store/event"
	"scanrelay/store/index"
	"scanrelay/store/later"
)

// Commands are for people: what is to become of dead letters, and of what is in
// quarantine.
type Commands struct{ o *Outbox }

// Requeue puts dead letters back to be pushed, with no attempts made and their
// age counted from now, and returns how many: a few in each commit, the oldest
// first, so that neither memory nor room limits how many. Ids that are none
// (ErrUnknownID) or no dead letters (ErrNotDead) are named in the error; the others
// are put back all the same.
func (c Commands) Requeue(ctx context.Context, ids ...ID) (int, error) {
	return c.inSteps("requeue", ids, func(seqs []uint64) (int, error) {
		op, err := c.requeue(seqs)
		if err != nil {
			c.o.index.UnclaimDead(seqs)
			return 0, err
		}
		return len(op.notes), c.o.change(ctx, op)
	})
}

// inSteps claims dead letters and does something with them, some at a time.
func (c Commands) inSteps(what string, ids []ID, do func(seqs []uint64) (int, error)) (done int, wrong error) {
	ids = slices.Clone(ids)
	slices.SortStableFunc(ids, func(a, b ID) int { return cmp.Compare(a.Seq, b.Seq) })
	for part := range slices.Chunk(ids, stepNotes) {
		seqs, refused := c.claimDead(part)
		wrong = errors.Join(wrong, refused)
		if len(seqs) == 0 {
			continue
		}
		n, err := do(seqs)
		if err != nil {
			return done, errors.Join(fmt.Errorf("%s: %w", what, err), wrong)
		}
		done += n
	}
	return done, wrong
}

// requeue makes the change that puts claimed dead letters back. One that cannot
// be read stays one.
func (c Commands) requeue(seqs []uint64) (*changeOp, error) {
	records, bad, err := c.o.journal.Records(seqs)
	if err != nil {
		return nil, err
	}
	after, err := later.Of(c.o.journal, seqs)
	if err != nil {
		return nil, err
	}
	c.o.index.UnclaimDead(bad)
	now := c.o.opts.Now()
	op, back, claimed := &changeOp{spend: true}, []index.Added(nil), []uint64(nil)
	for i := range records {
		seq := records[i].ID.Seq
		op.notes = append(op.notes, event.Note{Kind: event.NoteRequeue, Seq: seq, At: now})
		back = append(back, index.Added{Seq: seq, Event: &records[i].Event, Size: len(codec.EncodeEvent(&records[i].Event))})
		claimed = append(claimed, seq)
	}
	op.then = func() { c.o.index.Requeue(back, now, after) }
	op.revert = func() { c.o.index.UnclaimDead(claimed) } // the others somebody else may have by then
	return op, nil
}

// Discard ends dead letters for good, with a reason that is kept, and returns
// how many; in steps, too. Ids that are none or no dead letters are named in the
// error.
func (c Commands) Discard(ctx context.Context, reason string, ids ...ID) (int, error) {
	return c.inSteps("discard", ids, func(seqs []uint64) (int, error) {
		ended := make([]Settlement, len(seqs))
		for i, seq := range seqs {
			ended[i] = Settlement{Seq: seq, Outcome: Discarded, Last: Reply{Reason: reason}}
		}
		op := c.o.endings(ended)
		op.revert = func() { c.o.index.UnclaimDead(seqs) }
		return len(seqs), c.o.change(ctx, op)
	})
}

// claimDead takes dead letters for one change, so that no two changes work on
// the same.
func (c Commands) claimDead(ids []ID) (seqs []uint64, wrong error) {
	for _, id := range ids {
		switch {
		case !c.o.journal.Holds(id):
			wrong = errors.Join(wrong, fmt.Errorf("%s: %w", id, ErrUnknownID))
		case !c.o.index.ClaimDead(id.Seq):
			wrong = errors.Join(wrong, fmt.Errorf("%s: %w", id, ErrNotDead))
		default:
			seqs = append(seqs, id.Seq)
		}
	}
	return seqs, wrong
}
