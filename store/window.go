package store

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
// disk only is looked up before its first lease (waybillSure).
type window struct {
	size         int    // what each may hold
	low          uint64 // below it nothing is shelved
	high         uint64 // where the young window begins
	young        int    // how many are held at or above high
	heldUnsynced int    // how many are held above the watermark
}

// holds keeps the counts of what is held.
func (x *index) holds(seq uint64, by int) {
	if seq >= x.high {
		x.young += by
	}
	if seq > x.watermark {
		x.heldUnsynced += by
	}
}

// shrink lets the oldest of the young window leave memory while there are too
// many. What is leased, or more is known of, stays: it then counts as old.
func (x *index) shrink() {
	for x.young > x.size {
		seq, ok := x.all.next(anyHeld, x.high)
		if !ok {
			return
		}
		x.high = seq + 1
		x.young--
		if x.mayLeave(seq) {
			x.shelve(seq)
			x.low = min(x.low, seq)
		}
	}
}

func (x *index) mayLeave(seq uint64) bool {
	e := x.get(seq)
	if e.flags&entryNoted != 0 {
		return false
	}
	if _, leased := x.leases[seq]; leased {
		return false
	}
	w := x.waybills[e.waybill]
	return !w.is(waybillChecked)
}

// shelved is how many synced events could be leased but are on disk only.
func (x *index) shelved() int {
	held := x.all.count[setHeld] - x.heldUnsynced
	return x.all.count[setPending] - x.unsynced - x.all.count[setWaiting] - x.all.count[setCooling] - held
}

// wanted lists what to bring in now, for leases to find enough at both ends.
func (x *index) wanted() (seqs []uint64) {
	if x.shelved() == 0 {
		return nil
	}
	seqs = x.wantedOld(x.oldRoom())
	if n := x.youngRoom(); n > 0 {
		seqs = append(seqs, x.wantedYoung(n)...)
		slices.Sort(seqs)
	}
	return seqs
}

// wants reports whether wanted would list something.
func (x *index) wants() bool {
	return x.shelved() > 0 && (x.oldRoom() > 0 || x.youngRoom() > 0)
}

// oldRoom is how many events the old window should take from disk now.
func (x *index) oldRoom() int {
	old := x.all.count[setHeld] - x.young - len(x.leases)
	switch {
	case x.high > x.watermark:
		old -= x.heldUnsynced - x.young // sent again, as the centre lost them
	case x.low >= x.high:
		old += x.young - x.heldUnsynced // the windows met: what it takes is young
	}
	if old > x.size/2 {
		return 0
	}
	return min(pageChunk, x.size-max(0, old))
}

// youngRoom is the same for the young window, downwards. It takes none while
// what is in it is not synced.
func (x *index) youngRoom() int {
	if x.high > x.watermark+1 || x.young > x.size/4 {
		return 0
	}
	if seq, ok := x.all.prev(shelved, x.high-1); !ok || seq < x.low {
		return 0
	}
	return min(freshChunk, x.size-x.young)
}

// wantedOld takes the lowest ones.
func (x *index) wantedOld(n int) (seqs []uint64) {
	for len(seqs) < n {
		seq, ok := x.all.nextIn(shelved, x.low, x.watermark)
		if !ok {
			x.low = x.watermark + 1
			break
		}
		x.low = seq + 1
		seqs = append(seqs, seq)
	}
	return seqs
}

// wantedYoung takes the highest ones below the young window, which grows by
// them.
func (x *index) wantedYoung(n int) (seqs []uint64) {
	for len(seqs) < n && x.high > x.low {
		seq, ok := x.all.prev(shelved, x.high-1)
		if !ok || seq < x.low {
			break
		}
		x.lowerHigh(seq)
		seqs = append(seqs, seq)
	}
	return seqs
}

func (x *index) lowerHigh(to uint64) {
	x.young += x.all.countIn(anyHeld, to, x.high-1)
	x.high = to
}

// unwanted takes back what could not be brought in.
func (x *index) unwanted(seqs []uint64) {
	if len(seqs) > 0 {
		x.low = min(x.low, seqs[0])
	}
}
