package store

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"scanrelay/store/codec"
	"scanrelay/store/event"
)

// thinner ends events that wait for waybill data, where all of them take too much
// room: the centre has them, but nobody has their data, and intake must go on. Those
// make way first whose client has most, the oldest before the others.
type thinner struct {
	o     *Outbox
	ended int       // since the log said so
	told  time.Time // when it did
}

// thinTell is how often the log says so.
const thinTell = time.Minute

// thin ends n events.
func (t *thinner) thin(n int) error {
	var ended []uint64
	for fair := true; n > len(ended); {
		left, level := n-len(ended), int64(math.MinInt64) // nobody knows who sent them
		if fair {
			_, pending := t.o.index.Waits()
			level = t.o.index.Level(float64(left) / float64(pending+1))
		}
		some, err := t.lower(level, left)
		if err != nil {
			return err
		}
		if len(some) == 0 && !fair {
			break
		}
		fair = len(some) > 0
		ended = append(ended, some...)
	}
	t.ended += len(ended)
	if now := t.o.opts.Now(); now.Sub(t.told).Abs() >= thinTell {
		slices.Sort(ended)
		t.o.opts.Logger.Error("scans that wait for waybill data filled their share of the store: the oldest of whoever sent most are not pushed any more",
			"reason", event.NoRoom, "count", t.ended, "seqs", event.Ranges(ended))
		t.ended, t.told = 0, now
	}
	return nil
}

// lower ends up to max events that wait, of clients who have more than level.
func (t *thinner) lower(level int64, max int) (ended []uint64, err error) {
	for after := uint64(0); len(ended) < max; {
		seqs := t.o.index.Waiting(stepNotes, after)
		if len(seqs) == 0 {
			break
		}
		after = seqs[len(seqs)-1]
		list, err := t.above(seqs, level, max-len(ended))
		if err != nil {
			return nil, err
		}
		some, err := t.expire(list)
		if err != nil {
			return nil, err
		}
		ended = append(ended, some...)
	}
	return ended, nil
}

// expire ends those of the events that still wait.
func (t *thinner) expire(seqs []uint64) (ended []uint64, err error) {
	s := make([]Settlement, len(seqs))
	for i, seq := range seqs {
		s[i] = Settlement{Seq: seq, Outcome: Expired, Last: Reply{Reason: event.NoRoom}}
	}
	if s = t.o.index.ReserveWaiting(s); len(s) == 0 {
		return nil, nil
	}
	for i := range s {
		ended = append(ended, s[i].Seq)
	}
	op := t.o.endings(s)
	op.revert = func() { t.o.index.AbortSettling(s) }
	return ended, t.o.change(context.Background(), op)
}

var errEnough = errors.New("enough")

// above chooses up to max of the events: of clients who have more than level.
func (t *thinner) above(seqs []uint64, level int64, max int) (list []uint64, err error) {
	less := map[uint16]int64{}
	_, err = t.o.journal.Heads(seqs, func(seq uint64, h *codec.Head) error {
		if len(list) == max {
			return errEnough
		}
		if own, _ := t.o.index.Used(h.Client); own-less[h.Client] > level {
			less[h.Client] += int64(h.Size)
			list = append(list, seq)
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return list, err
}
