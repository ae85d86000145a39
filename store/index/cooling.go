package index

import "time"

// coolFor is how long events cool: as long as the longest backoff.
const coolFor = 5 * time.Minute

// cooling bounds what failing costs in memory. Attempts and the moment when it
// is due are kept of each event that was tried and given back, and it stays held.
// While WeChat fails with everything, that would grow with every scan, and leave
// no room in the old window for events that were not tried yet. So when as many
// are kept as half of a window, the next ones cool instead, on disk only: they are
// tried again, all after the same moment, and their attempts count anew.
type cooling struct {
	coolUntil time.Time // zero: none cools
}

// cool gives a leased event back to cool, with all synced events of its waybill
// that are held: they come after it.
func (m *memory) cool(seq uint64) {
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
