package index

import (
	"slices"

	"scanrelay/store/event"
)

// Reset forgets everything, before a start loads it.
func (x *Index) Reset(watermark uint64) {
	x.locked(func(m *memory) {
		*m = *newMemory(m.size)
		m.watermark = watermark
	})
}

// Load takes in what a start finds on disk. What is said of events that are not
// pending is passed over.
func (x *Index) Load(f *event.Found) {
	x.timed(func(m *memory) {
		for _, seq := range f.Pending {
			m.pend(seq)
		}
		for _, seq := range f.Dead {
			m.die(seq)
		}
		for seq, at := range f.Retried {
			if m.all.has(setPending, seq) {
				m.learn(seq, func(a *attempt) { a.retriedAt = at })
			}
		}
		for seq, n := range f.Tried {
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
