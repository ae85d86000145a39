package index

import (
	"slices"
	"time"

	"scanrelay/store/event"
)

// Reset forgets everything, before a start loads it.
func (x *Index) Reset(watermark uint64) {
	x.locked(func(m *memory) {
		*m = *newMemory(m.size)
		m.watermark = watermark
	})
}

// Loaded is some of what a start finds on disk.
type Loaded struct {
	Pending []uint64
	Dead    []uint64             // dead letters
	Retried map[uint64]time.Time // when an event was put back as a dead letter
	Tried   map[uint64]event.Note
}

// Load takes it in. What is said of events that are not pending is passed over.
func (x *Index) Load(l Loaded) {
	x.timed(func(m *memory) {
		for _, seq := range l.Pending {
			m.pend(seq)
		}
		for _, seq := range l.Dead {
			m.dead[seq] = struct{}{}
		}
		for seq, at := range l.Retried {
			if m.all.has(setPending, seq) {
				m.learn(seq, func(a *attempt) { a.retriedAt = at })
			}
		}
		for seq, n := range l.Tried {
			if m.all.has(setPending, seq) {
				m.recall(&n)
			}
		}
	})
}

// Retried lists the pending events that were put back as dead letters, rising.
func (x *Index) Retried() (seqs []uint64) {
	x.locked(func(m *memory) {
		for seq, a := range m.attempts {
			if !a.retriedAt.IsZero() {
				seqs = append(seqs, seq)
			}
		}
	})
	slices.Sort(seqs)
	return seqs
}

// SetLater says what was stored after an event for its waybill.
func (x *Index) SetLater(seq uint64, t event.Later) {
	x.locked(func(m *memory) { m.learn(seq, func(a *attempt) { a.later = t }) })
}
