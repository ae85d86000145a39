package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"scanrelay/configs/wait"
	"scanrelay/store/durable"
	"scanrelay/store/format"
	"scanrelay/store/repair"
)

// Unsynced returns the records after the watermark in sequence order: at most
// max, and of at most maxBytes on disk, but always one. A record whose clock is
// not resolved ends the list before it, wherever it stands. Ended ones are among
// them only after Rewind. What cannot be
// read is left out, and becomes a dead letter: the centre does not have it, so it
// must not be pushed.
func (o *Outbox) Unsynced(max, maxBytes int) ([]Record, error) {
	o.mu.Lock() // what a commit adds is in journal and index by then, or in neither
	next := o.journal.NextSeq()
	o.mu.Unlock()
	records, bad, err := o.journal.Unsynced(next, max, maxBytes)
	if err == nil {
		err = o.buryUnread(bad)
	}
	return records, err
}

// Synced takes the centre's answers to all events up to upTo. The watermark
// rises to it; ended get their outcomes, the last 500 in the same commit, and everybody else goes
// to to_push, or to awaiting_waybill where waiting names it. The watermark by
// itself may reach the disk up to 5 s later: after a crash those events are
// sent again, which changes nothing at the centre. Ended events that were
// finished before, or are leased, are left as they are.
func (o *Outbox) Synced(upTo uint64, ended []Settlement, waiting []uint64) error {
	waits := make(map[uint64]bool, len(waiting))
	for _, seq := range waiting {
		waits[seq] = true
	}
	for ; len(ended) > stepNotes; ended = ended[stepNotes:] {
		if op := o.answers(0, ended[:stepNotes], nil); op != nil {
			if err := o.change(context.Background(), op); err != nil {
				return fmt.Errorf("store answers: %w", err)
			}
		}
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
	upTo, taken := o.answered(upTo, ended, waits)
	if len(taken) == 0 {
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

// answered reserves what is ended, and returns it, and what the answers are to; where
// nothing is, it takes them.
func (o *Outbox) answered(upTo uint64, ended []Settlement, waits map[uint64]bool) (to uint64, taken []Settlement) {
	o.mu.Lock() // so that what a commit adds to journal and index is in both
	defer o.mu.Unlock()
	upTo = min(upTo, o.journal.NextSeq()-1) // what comes later nobody can have
	taken = o.index.Reserve(ended)
	if len(taken) == 0 && upTo > o.index.Watermark() {
		o.index.Rise(upTo, waits)
		o.dirtyLocked(watermarkLag)
	}
	return upTo, taken
}

// Rewind lets the watermark fall to have: the centre lost what is above, and is
// sent it again. What is finished stays finished.
func (o *Outbox) Rewind(have uint64) error {
	if !o.fall(have) {
		return o.Err()
	}
	if first := o.journal.Segments()[0].First; have+1 < first {
		o.opts.Logger.Warn("the centre lost events that are finished and no longer here: it will see a gap", "seqs", fmt.Sprintf("%d-%d", have+1, first-1))
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
	return o.index.Fall(have)
}

// lostEnd is a file that keeps the alarm of a store that lost its end, until a
// person takes it away.
const lostEnd = "outbox" + durable.AsideSuffix

// NewEpoch gives everything unsynced a new epoch, since the centre has numbers that
// this store gave and does not know: its end is lost, and status says so. The ids of
// what is synced stay. It is on disk when this returns.
func (o *Outbox) NewEpoch(why string) error {
	epoch := format.RandomEpoch()
	lost, noted := repair.Gone(o.dir, lostEnd, why+": this store is a copy that was put back, or its disk lost what it had called written; what was acknowledged since is not here")
	err := o.writeState("take new epoch", func(g *group) {
		g.State.Relabel(g.State.Watermark+1, epoch)
		g.State.Damage = append(slices.DeleteFunc(g.State.Damage, func(line string) bool { return strings.HasSuffix(line, lostEnd) }), lost)
	})
	if err == nil {
		o.opts.Logger.Error("the end of this store is lost, a new epoch begins", "what", lost, "epoch", fmt.Sprintf("%016x", epoch), "error", noted)
	}
	return err
}

// ResolveClock gives the events of a boot whose clock could not be believed
// their times: zero is the wall time of the boot's moment 0. What other such
// boots stored takes the present moment or, if this boot's clock was found right
// (kept), keeps the time it came with. It is on disk when this returns.
func (o *Outbox) ResolveClock(boot string, zero time.Time, kept bool) error {
	err := o.writeState("resolve clock", func(g *group) {
		g.State.SetClock(boot, zero, g.State.NextSeq-1)
		// What came before this process and is not synced may be of boots
		// that never had a clock.
		if next := o.index.Pending(o.index.Watermark()+1, 1); len(next) > 0 && next[0] < o.opened {
			g.State.FixOthers(g.now.UTC(), o.opened-1, kept)
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
