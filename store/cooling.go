package store

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
func (x *index) cool(seq uint64) {
	h, woken := x.get(seq).waybill, x.woken
	x.endLease(seq)
	for _, s := range x.chain(h, x.watermark) {
		x.shelve(s)
		x.all.add(setCooling, s)
	}
	x.woken = woken // it was leasable for a moment that nobody saw
	if x.coolUntil.IsZero() {
		x.coolUntil = x.now.Add(coolFor)
	}
}

// warm ends cooling, once it is time, or where a clock that was set back would
// make it last.
func (x *index) warm() {
	left := x.coolUntil.Sub(x.now)
	if x.coolUntil.IsZero() || left > 0 && left <= coolFor {
		return
	}
	x.coolUntil = time.Time{}
	for seq, ok := x.all.next(anyCooling, 0); ok; seq, ok = x.all.next(anyCooling, seq+1) {
		x.all.del(setCooling, seq)
		x.low = min(x.low, seq)
		x.woken = true
	}
}
