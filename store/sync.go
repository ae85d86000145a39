package store

import (
	"context"
	"fmt"
	"time"

	"scanrelay/configs/wait"
	"scanrelay/store/format"
)

// Unsynced returns the records after the watermark in sequence order: at most
// max, and of at most maxBytes on disk, but always one. A record whose clock is
// not resolved ends the list before it. Finished records are among them only
// after Rewind; then their State is their outcome.
func (o *Outbox) Unsynced(max, maxBytes int) ([]Record, error) {
	o.mu.Lock() // what a commit adds is in journal and index by then, or in neither
	next := o.journal.NextSeq()
	o.mu.Unlock()
	return o.journal.Unsynced(next, max, maxBytes)
}

// Synced takes the centre's answers to all events up to upTo. The watermark
// rises to it; ended get their outcomes, in one commit, and everybody else goes
// to to_push, or to awaiting_waybill where waiting names it. The watermark by
// itself may reach the disk up to 5 s later: after a crash those events are
// sent again, which changes nothing at the centre. Ended events that were
// finished before, or are leased, are left as they are.
func (o *Outbox) Synced(upTo uint64, ended []Settlement, waiting []uint64) error {
	waits := make(map[uint64]bool, len(waiting))
	for _, seq := range waiting {
		waits[seq] = true
	}
	op := o.answers(upTo, ended, waits)
	if op == nil {
		return o.Err()
	}
	if err := o.change(context.Background(), op); err != nil {
		return fmt.Errorf("store answers: %w", err)
	}
	return nil
}

// answers makes the change that takes the centre's answers; nil: they are taken.
func (o *Outbox) answers(upTo uint64, ended []Settlement, waits map[uint64]bool) *changeOp {
	o.mu.Lock() // so that what a commit adds to journal and index is in both
	defer o.mu.Unlock()
	upTo = min(upTo, o.journal.NextSeq()-1) // what comes later nobody can have
	taken := o.index.Reserve(ended)
	if len(taken) == 0 {
		if upTo > o.index.Watermark() {
			o.index.Rise(upTo, waits)
			o.dirtyLocked(watermarkLag)
		}
		return nil
	}
	op := o.endings(taken)
	end := op.then
	op.upTo = upTo
	op.then = func() {
		end()
		o.index.Rise(upTo, waits)
	}
	op.revert = func() { o.index.AbortSettling(taken) }
	return op
}

// Rewind lets the watermark fall to have: the centre lost what is above, and is
// sent it again. What is finished stays finished.
func (o *Outbox) Rewind(have uint64) error {
	if !o.fall(have) {
		return o.Err()
	}
	wait.Signal(o.arrived)
	if err := o.writeState("rewind", func(*group) {}); err != nil {
		return err
	}
	return nil
}

// fall reports whether the watermark fell.
func (o *Outbox) fall(have uint64) bool {
	o.mu.Lock() // it must not rise between the two
	defer o.mu.Unlock()
	o.journal.Rewound(o.index.Watermark())
	return o.index.Fall(have)
}

// NewEpoch gives everything unsynced a new epoch; the ids of what is synced
// stay. It is on disk when this returns.
func (o *Outbox) NewEpoch(why string) error {
	epoch := format.RandomEpoch()
	err := o.writeState("take new epoch", func(g *group) { g.State.Relabel(g.State.Watermark+1, epoch) })
	if err == nil {
		o.opts.Logger.Warn("new epoch taken", "why", why, "epoch", fmt.Sprintf("%016x", epoch))
	}
	return err
}

// ResolveClock gives the events of a boot whose clock could not be believed
// their times: zero is the wall time of the boot's moment 0. What other such
// boots stored takes the present moment. It is on disk when this returns.
func (o *Outbox) ResolveClock(boot string, zero time.Time) error {
	err := o.writeState("resolve clock", func(g *group) {
		g.State.SetClock(boot, zero, g.State.NextSeq-1)
		// What came before this process and is not synced may be of boots
		// that never had a clock.
		if next := o.index.Pending(o.index.Watermark()+1, 1); len(next) > 0 && next[0] < o.opened {
			g.State.FixOthers(g.now.UTC(), o.opened-1)
		}
	})
	if err != nil {
		return err
	}
	if err := o.index.ResolveClocks(); err != nil {
		return fmt.Errorf("resolve clock: %w", err)
	}
	wait.Signal(o.arrived)
	return nil
}

// writeState changes the state and has it written whole.
func (o *Outbox) writeState(what string, set func(g *group)) error {
	if err := o.change(context.Background(), &changeOp{set: set}); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// NewestTime returns the newest received_at that was stored under a clock that
// could be believed; zero if there is none.
func (o *Outbox) NewestTime() time.Time { return o.journal.State().Newest }
