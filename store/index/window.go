package index

import "slices"

// windowSize is how many events each of the two windows on what is pending
// holds in memory, about.
const windowSize = 1 << 14

// pageChunk is how many events are brought in at once, freshChunk how many of
// them at the young end, where somebody waits for them.
const (
	pageChunk  = 2048
	freshChunk = 256
)

// window bounds what the index holds. The young window has what came last: new
// events enter it, and when it is full its oldest one leaves memory. The old
// window has what is to be pushed first: it is filled from disk, upwards, as it
// drains. What stands between them is on disk. When all that is pending fits,
// all of it is held and nobody reads anything.
//
// What a lease may not do is to push an event before an earlier one of its
// waybill that is not held. So a waybill whose head came while something was on
// disk only is looked up before its first lease (waybillVerified).
type window struct {
	size         int    // what each may hold
	low          uint64 // below it nothing is shelved
	high         uint64 // where the young window begins
	young        int    // how many are held at or above high
	heldUnsynced int    // how many are held above the watermark
}

// holds keeps the counts of what is held.
func (m *memory) holds(seq uint64, by int) {
	if seq >= m.high {
		m.young += by
	}
	if seq > m.watermark {
		m.heldUnsynced += by
	}
}

// shrink lets the oldest of the young window leave memory while there are too
// many. What is leased, or more is known of, stays: it then counts as old.
func (m *memory) shrink() {
	for m.young > m.size {
		seq, ok := m.all.next(anyHeld, m.high)
		if !ok {
			return
		}
		m.high = seq + 1
		m.young--
		if m.mayLeave(seq) {
			m.shelve(seq)
			m.low = min(m.low, seq)
		}
	}
}

func (m *memory) mayLeave(seq uint64) bool {
	e := m.get(seq)
	if _, tried := m.attempts[seq]; tried {
		return false
	}
	if _, leased := m.leases[seq]; leased {
		return false
	}
	w := m.waybills[e.waybill]
	return !w.is(waybillVerifying)
}

// shelved is how many synced events could be leased but are on disk only.
func (m *memory) shelved() int {
	held := m.all.count[setHeld] - m.heldUnsynced
	return m.all.count[setPending] - m.unsynced - m.all.count[setWaiting] - m.all.count[setCooling] - held
}

// wanted lists what to bring in now, for leases to find enough at both ends.
func (m *memory) wanted() (seqs []uint64) {
	if m.shelved() == 0 {
		return nil
	}
	seqs = m.wantedOld(m.oldRoom())
	if n := m.youngRoom(); n > 0 {
		seqs = append(seqs, m.wantedYoung(n)...)
		slices.Sort(seqs)
	}
	return seqs
}

// wants reports whether wanted would list something.
func (m *memory) wants() bool {
	return m.shelved() > 0 && (m.oldRoom() > 0 || m.youngRoom() > 0)
}

// oldRoom is how many events the old window should take from disk now.
func (m *memory) oldRoom() int {
	old := m.all.count[setHeld] - m.young - len(m.leases)
	switch {
	case m.high > m.watermark:
		old -= m.heldUnsynced - m.young // sent again, as the centre lost them
	case m.low >= m.high:
		old += m.young - m.heldUnsynced // the windows met: what it takes is young
	}
	if old > m.size/2 {
		return 0
	}
	return min(pageChunk, m.size-max(0, old))
}

// youngRoom is the same for the young window, downwards. It takes none while
// what is in it is not synced.
func (m *memory) youngRoom() int {
	if m.high > m.watermark+1 || m.young > m.size/4 {
		return 0
	}
	if seq, ok := m.all.prev(shelved, m.high-1); !ok || seq < m.low {
		return 0
	}
	return min(freshChunk, m.size-m.young)
}

// wantedOld takes the lowest ones.
func (m *memory) wantedOld(n int) (seqs []uint64) {
	for len(seqs) < n {
		seq, ok := m.all.nextIn(shelved, m.low, m.watermark)
		if !ok {
			m.low = m.watermark + 1
			break
		}
		m.low = seq + 1
		seqs = append(seqs, seq)
	}
	return seqs
}

// wantedYoung takes the highest ones below the young window, which grows by
// them.
func (m *memory) wantedYoung(n int) (seqs []uint64) {
	for len(seqs) < n && m.high > m.low {
		seq, ok := m.all.prev(shelved, m.high-1)
		if !ok || seq < m.low {
			break
		}
		m.lowerHigh(seq)
		seqs = append(seqs, seq)
	}
	return seqs
}

func (m *memory) lowerHigh(to uint64) {
	m.young += m.all.countIn(anyHeld, to, m.high-1)
	m.high = to
}

// unwanted takes back what could not be brought in.
func (m *memory) unwanted(seqs []uint64) {
	if len(seqs) > 0 {
		m.low = min(m.low, seqs[0])
	}
}
