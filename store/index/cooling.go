package index

import "time"

// coolFor is how long events cool: as long as the longest backoff.
const coolFor = 5 * time.Minute

// cooling bounds what failing costs in memory. Attempts and the moment when it
// is due are kept of each event that was tried and given back, and it stays held.
// While WeChat fails with everything, that would grow with every scan, and leave
// no room in the old window for events that were not tried yet. So when as many
// are kept as half of a window, the next ones cool instead, on disk only: they are
// tried again, all after the same moment. How often they were tried is known up to
// maxTries, so that what may be tried only so often still comes to its end.
type cooling struct {
	coolUntil time.Time // zero: none cools
}

// maxTries is how many attempts of a cooled event are known: three bits.
const maxTries = 7

// setTries keeps how often an event was tried that cools.
func (m *memory) setTries(seq uint64, n int) {
	n = min(n, maxTries)
	for bit := range 3 {
		if n&(1<<bit) != 0 {
			m.all.add(setTried1+set(bit), seq)
		} else {
			m.all.del(setTried1+set(bit), seq)
		}
	}
}

// tries returns how often an event was tried, as far as that is known.
func (m *memory) tries(seq uint64) (n int) {
	if a, ok := m.attempts[seq]; ok {
		return a.attempts
	}
	for bit := range 3 {
		if m.all.has(setTried1+set(bit), seq) {
			n |= 1 << bit
		}
	}
	return n
}

// cool gives a leased event back to cool, with all synced events of its waybill
// that are held: they come after it.
func (m *memory) cool(seq uint64, tries int) {
	m.setTries(seq, tries)
	h, woken := m.get(seq).waybill, m.woken
	m.endLease(seq)
	for _, s := range m.chain(h, m.watermark) {
		m.shelve(s)
		m.all.add(setCooling, s)
	}
	m.woken = woken // it was leasable for a moment that nobody saw
	if m.coolUntil.IsZero() {
		m.coolUntil = m.now.Add(coolFor)
	}
}

// endCooling ends cooling, once it is time, or where a clock that was set back would
// make it last.
func (m *memory) endCooling() {
	left := m.coolUntil.Sub(m.now)
	if m.coolUntil.IsZero() || left > 0 && left <= coolFor {
		return
	}
	m.coolUntil = time.Time{}
	for seq, ok := m.all.next(anyCooling, 0); ok; seq, ok = m.all.next(anyCooling, seq+1) {
		m.all.del(setCooling, seq)
		m.low = min(m.low, seq)
		m.woken = true
	}
}
