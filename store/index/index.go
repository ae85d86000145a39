package index

import (
	"maps"
	"slices"
	"sync"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
	"scanrelay/store/event"
)

// Index knows where every event stands that is not finished, and which are dead
// letters. All its methods may be called from any goroutine. Those that return
// an error may read disk; the others only look at memory.
type Index struct {
	disk Disk
	now  func() time.Time

	leasing  sync.Mutex // what one lease reads from disk is not for another
	pushable chan struct{}

	mu     sync.Mutex // guards what follows; never held during I/O
	memory *memory
}

// New returns an empty index, each of whose two windows holds size events; 0:
// as many as usual.
func New(disk Disk, size int, now func() time.Time) *Index {
	if size == 0 {
		size = windowSize
	}
	return &Index{disk: disk, now: now, pushable: make(chan struct{}, 1), memory: newMemory(size)}
}

// locked runs fn on what is in memory.
func (x *Index) locked(fn func(m *memory)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	fn(x.memory)
	if x.memory.woken {
		x.memory.woken = false
		wait.Signal(x.pushable)
	}
}

// timed does so at this moment, for what looks at the clock. The clock is read
// under the lock: what comes later must not see an earlier moment.
func (x *Index) timed(fn func(m *memory)) {
	x.locked(func(m *memory) {
		m.now = x.now()
		fn(m)
	})
}

// Pushable receives when Lease may find more than it did before.
func (x *Index) Pushable() <-chan struct{} { return x.pushable }

// Added is an event that becomes pending, and its number.
type Added struct {
	Seq   uint64
	Event *scan.Event
	Size  int // of its record
}

// Add makes new events pending.
func (x *Index) Add(events []Added) {
	x.locked(func(m *memory) {
		for _, e := range events {
			m.add(e.Seq, m.entryOf(&e))
		}
	})
}

// End takes out events that ended, with their leases. Dead letters are kept by
// number. sent is what Senders said of them.
func (x *Index) End(ended []event.Settlement, sent []event.Sent) {
	x.locked(func(m *memory) {
		for _, s := range sent {
			if m.shelves(s.Seq) { // else it was just brought in
				m.shares.charge(s.Seq, s.Client, -int64(sizeOf(s.Size))*sizeUnit)
			}
		}
		for i := range ended {
			seq := ended[i].Seq
			m.remove(seq)
			m.undead(seq)
			if ended[i].Outcome == event.Dead {
				m.die(seq)
			}
		}
	})
}

// Requeue makes dead letters pending that were put back at a moment, all at once:
// of those of one waybill the first is to be leased first. later is what was
// stored after each for its waybill.
func (x *Index) Requeue(dead []Added, at time.Time, later map[uint64]event.Later) {
	x.locked(func(m *memory) {
		for _, d := range dead {
			m.undead(d.Seq)
			m.add(d.Seq, m.entryOf(&d))
			m.learn(d.Seq, func(a *attempt) { a.retriedAt, a.later = at, later[d.Seq] })
		}
	})
}

// ClaimDead takes a dead letter for one change, so that no two work on the same.
// false: it is none, or claimed.
func (x *Index) ClaimDead(seq uint64) (ok bool) {
	x.locked(func(m *memory) {
		_, dead := m.dead[seq]
		_, claimed := m.claimed[seq]
		if ok = dead && !claimed; ok {
			m.claimed[seq] = struct{}{}
		}
	})
	return ok
}

// UnclaimDead gives dead letters back.
func (x *Index) UnclaimDead(seqs []uint64) {
	x.locked(func(m *memory) {
		for _, seq := range seqs {
			delete(m.claimed, seq)
		}
	})
}

// Dead lists the dead letters, rising.
func (x *Index) Dead() (seqs []uint64) {
	x.locked(func(m *memory) { seqs = slices.Sorted(maps.Keys(m.dead)) })
	return seqs
}

// Pending lists up to max pending events from a number on, rising.
func (x *Index) Pending(from uint64, max int) (seqs []uint64) {
	x.locked(func(m *memory) { seqs = m.all.list(anyPending, from, maxSeq, max) })
	return seqs
}

// Unfinished lists what is pending or dead up to a number, in no order.
func (x *Index) Unfinished(upTo uint64) (seqs []uint64) {
	x.locked(func(m *memory) {
		seqs = m.all.list(anyPending, 0, upTo, -1)
		for seq := range m.dead {
			if seq <= upTo {
				seqs = append(seqs, seq)
			}
		}
	})
	return seqs
}

// Stands reports whether an event is pending, or a dead letter.
func (x *Index) Stands(seq uint64) (pending, dead bool) {
	x.locked(func(m *memory) {
		pending = m.all.has(setPending, seq)
		_, dead = m.dead[seq]
	})
	return pending, dead
}

// Describe completes records by what is in memory. How one ended that is no dead letter is on disk only.
func (x *Index) Describe(records []event.Record) {
	x.locked(func(m *memory) {
		for i := range records {
			r := &records[i]
			r.State, r.Ended = m.state(r.ID.Seq), !m.all.has(setPending, r.ID.Seq)
			if _, dead := m.dead[r.ID.Seq]; dead {
				r.State = event.Dead
			}
			r.Attempts = max(r.Attempts, m.tries(r.ID.Seq))
			if a, ok := m.attempts[r.ID.Seq]; ok {
				r.Attempts, r.Last, r.RetriedAt = a.attempts, a.last, a.retriedAt
			}
		}
	})
}

// Attempt returns a note of how often a pending event was tried, and how long it
// waits yet; !ok: nothing is known of that.
func (x *Index) Attempt(seq uint64) (n event.Note, ok bool) {
	x.timed(func(m *memory) {
		var a attempt
		a, ok = m.attempts[seq]
		n = a.note(seq, m.now)
	})
	return n, ok
}

// First returns the first held event of a waybill, 0 if there is none, and
// whether it is sure that none is pending before it.
func (x *Index) First(id scan.WaybillID) (seq uint64, sure bool) {
	h := x.memory.hash(id)
	x.locked(func(m *memory) {
		w := m.waybills[h]
		seq, sure = w.head, w.is(waybillVerified)
	})
	return seq, sure
}

// Counts is how many events there are of each kind at one moment.
type Counts struct {
	Watermark uint64
	Pending   int
	Unsynced  int // of the pending ones
	Waiting   int // for waybill data
	Cooling   int // until many that failed are tried again
	Held      int // in memory; the other pending ones are on disk only
	Tried     int // of which attempts, or when they were put back, are known
	Unsaved   int // of which attempts are to be written
}

// Finished returns a number below which all is, and none of it a dead letter.
func (x *Index) Finished() (below uint64) {
	x.locked(func(m *memory) {
		below = m.watermark + 1 // above it all is pending, or the centre lost it
		if first, ok := m.all.next(anyPending, 0); ok {
			below = min(below, first)
		}
		if len(m.dead) > 0 {
			below = min(below, m.firstDead())
		}
	})
	return below
}

// Counts counts.
func (x *Index) Counts() (c Counts) {
	x.locked(func(m *memory) {
		n := &m.all.count
		c = Counts{
			Watermark: m.watermark, Pending: n[setPending], Unsynced: m.unsynced, Waiting: n[setWaiting],
			Cooling: n[setCooling], Held: n[setHeld], Tried: len(m.attempts), Unsaved: len(m.unsaved),
		}
	})
	return c
}

// Watermark returns the number up to which the centre has everything.
func (x *Index) Watermark() (seq uint64) {
	x.locked(func(m *memory) { seq = m.watermark })
	return seq
}

// Rise moves the watermark up. What it passes may be leased, or waits for
// waybill data where waits says so.
func (x *Index) Rise(upTo uint64, waits map[uint64]bool) {
	x.timed(func(m *memory) { m.rise(upTo, waits) })
}

// Fall moves the watermark down, since the centre lost what is above, and
// reports whether that was news.
func (x *Index) Fall(to uint64) (fell bool) {
	x.locked(func(m *memory) {
		fell = to < m.watermark
		m.fall(to)
	})
	return fell
}

// TakeUnsaved takes notes of attempts that are to be written with the next
// commit, which weigh no more than limit, but one at least.
func (x *Index) TakeUnsaved(limit int, weight func(*event.Note) int) (notes []event.Note) {
	x.timed(func(m *memory) { notes = m.takeUnsaved(limit, weight) })
	return notes
}

// Unsave takes back that the attempts of events were written.
func (x *Index) Unsave(seqs []uint64) {
	x.locked(func(m *memory) { m.unsaved = append(m.unsaved, seqs...) })
}

// UnsaveAll has everything written that a clean stop should not forget.
func (x *Index) UnsaveAll() { x.timed((*memory).unsaveAll) }
