package store

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"scanrelay/store/event"
)

// Synced takes the centre's answers to all events up to upTo. The watermark
// rises to it; ended get their outcomes, in one commit, and everybody else goes
// to to_push, or to awaiting_waybill where waiting names it. The watermark by
// itself may reach the disk up to 5 s later: after a crash those events are
// sent again, which changes nothing at the centre. Ended events that were
// finished before, or are leased, are left as they are.
func (o *Outbox) Synced(upTo uint64, ended []event.Settlement, waiting []uint64) error {
	waits := make(map[uint64]bool, len(waiting))
	for _, seq := range waiting {
		waits[seq] = true
	}
	c := &changeOp{}
	o.locked(func(x *index) {
		upTo = min(upTo, o.state.nextSeq-1) // what comes later nobody can have
		c.upTo = upTo
		for i := range ended {
			if _, leased := x.leases[ended[i].Seq]; !leased && x.all.has(setPending, ended[i].Seq) {
				x.leases[ended[i].Seq] = lease{settling: true}
				c.notes = append(c.notes, ended[i].Note(x.now))
			}
		}
		if len(c.notes) == 0 && upTo > x.watermark {
			x.rise(upTo, waits)
			o.dirtyLocked(watermarkLag)
		}
	})
	if len(c.notes) == 0 {
		return o.Err()
	}
	c.then = func(g *group) {
		for i := range c.notes {
			o.ended(g.segment, &c.notes[i])
		}
		o.index.rise(upTo, waits)
	}
	c.revert = func() {
		o.locked(func(x *index) {
			for i := range c.notes {
				delete(x.leases, c.notes[i].Seq)
			}
		})
	}
	if err := o.change(c); err != nil {
		return fmt.Errorf("store answers: %w", err)
	}
	return nil
}

// Rewind lets the watermark fall to have: the centre lost what is above, and is
// sent it again. What is finished stays finished.
func (o *Outbox) Rewind(have uint64) error {
	falls := false
	o.locked(func(x *index) {
		falls = have < x.watermark
		o.rewound = max(o.rewound, x.watermark)
		x.fall(have)
	})
	if !falls {
		return o.Err()
	}
	signal(o.arrived)
	if err := o.change(&changeOp{set: func(*group) {}}); err != nil {
		return fmt.Errorf("rewind: %w", err)
	}
	return nil
}

// NewEpoch gives everything unsynced a new epoch; the ids of what is synced
// stay. It is on disk when this returns.
func (o *Outbox) NewEpoch(why string) error {
	epoch := randomEpoch()
	err := o.change(&changeOp{set: func(g *group) { g.next.relabel(g.next.watermark+1, epoch) }})
	if err != nil {
		return fmt.Errorf("take new epoch: %w", err)
	}
	o.opts.Logger.Warn("new epoch taken", "why", why, "epoch", fmt.Sprintf("%016x", epoch))
	return nil
}

// randomEpoch returns 64 random bits, never 0.
func randomEpoch() uint64 {
	for {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never returns an error
		if e := binary.BigEndian.Uint64(b[:]); e != 0 {
			return e
		}
	}
}
