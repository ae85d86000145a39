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

// Load takes back at a start what the disk says: which events are pending, and
// which are dead letters.
func (x *Index) Load(pending, dead []uint64) {
	x.locked(func(m *memory) {
		for _, seq := range pending {
			m.pend(seq)
		}
		for _, seq := range dead {
			m.dead[seq] = struct{}{}
		}
	})
}

// LoadRetried says when a pending event was put back as a dead letter.
func (x *Index) LoadRetried(seq uint64, at time.Time) {
	x.locked(func(m *memory) {
		if m.all.has(setPending, seq) {
			m.learn(seq, func(a *attempt) { a.retriedAt = at })
		}
	})
}

// LoadAttempt takes back a note of attempts made for a pending event.
func (x *Index) LoadAttempt(n *event.Note) {
	x.timed(func(m *memory) {
		if m.all.has(setPending, n.Seq) {
			m.recall(n)
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

// LoadLater says what was stored after an event for its waybill.
func (x *Index) LoadLater(seq uint64, t event.Later) {
	x.locked(func(m *memory) { m.learn(seq, func(a *attempt) { a.later = t }) })
}
