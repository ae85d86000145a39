package store

import (
	"hash/maphash"
	"time"

	"scanrelay/agent/scan"
)

// index is where every pending event stands, in memory: rebuilt at a start,
// guarded by Outbox.mu, free of I/O. Events of a waybill form a chain in
// sequence order, of which only the first may be leased; a waybill is ready
// when that one may be leased now, and stands in the order of its last event.
type index struct {
	table
	waybills  map[uint64]waybill
	parked    map[uint64]int     // waybills that wait for data: how many of their events awaiting counts
	leases    map[uint64]lease   // by number
	leasedOf  map[uint64]uint64  // the leased event of a waybill
	notes     map[uint64]attempt // what more is known of some pending events
	dead      map[uint64]struct{}
	timers    timers
	seed      maphash.Seed
	now       time.Time // the moment of the running operation
	expiry    time.Time // no lease runs out before; zero: none
	watermark uint64
	unsynced  int
	awaiting  int
	youngest  bool // which end the last lease ended at
	woken     bool // a waybill became ready since this was last cleared
}

// waybill is one waybill with pending events; there are as many as events, so
// it is kept small.
type waybill struct {
	head  uint64 // its first pending event; 0: none
	span  uint32 // how far behind its last one is
	flags uint8
	// synced is how many of its events the centre has.
	synced uint32
}

// Flags of a waybill.
const (
	waybillParked = 1 << iota // it waits for waybill data
	waybillLeased             // one of its events is leased; leasedOf says which
	waybillReady              // the bit of its last event is set
)

func (w *waybill) tail() uint64 { return w.head + uint64(w.span) }

func (w *waybill) is(flag uint8) bool { return w.flags&flag != 0 }

func (w *waybill) set(flag uint8, on bool) {
	w.flags &^= flag
	if on {
		w.flags |= flag
	}
}

// attempt is what was learned of a pending event so far.
type attempt struct {
	at        time.Time // not to be leased before; zero: at once
	attempts  int
	last      Reply
	retriedAt time.Time // when it was put back as a dead letter
	later     laterTime // what was stored after it by then
}

func newIndex() *index {
	return &index{
		waybills: map[uint64]waybill{}, parked: map[uint64]int{},
		leases: map[uint64]lease{}, leasedOf: map[uint64]uint64{},
		notes: map[uint64]attempt{}, dead: map[uint64]struct{}{}, seed: maphash.MakeSeed(),
	}
}

// hash returns the key of a waybill. Two waybills with one hash, which would
// be chance of 1 in 2⁶⁴ for any pair, share a chain: they only wait for each
// other.
func (x *index) hash(id scan.WaybillID) uint64 { return maphash.String(x.seed, string(id)) }

func (x *index) hashBytes(id []byte) uint64 { return maphash.Bytes(x.seed, id) }

// edit changes one waybill through fn and keeps everything derived from it:
// its ready bit, and the count of events that wait for data.
func (x *index) edit(h uint64, fn func(w *waybill)) {
	w := x.waybills[h]
	was := w.is(waybillReady)
	if was {
		x.setReady(w.tail(), false)
	}
	fn(&w)
	x.count(h, &w)
	if w.head == 0 {
		delete(x.waybills, h)
		return
	}
	ready := x.leasable(&w)
	w.set(waybillReady, ready)
	if ready {
		x.setReady(w.tail(), true)
		x.woken = x.woken || !was
	}
	x.waybills[h] = w
}

// count keeps the number of events in awaiting_waybill: the synced ones of a
// parked waybill, without one that is leased.
func (x *index) count(h uint64, w *waybill) {
	x.awaiting -= x.parked[h]
	if !w.is(waybillParked) || w.head == 0 {
		delete(x.parked, h)
		return
	}
	n := int(w.synced)
	if seq, leased := x.leasedOf[h]; leased && seq <= x.watermark {
		n--
	}
	x.parked[h] = n
	x.awaiting += n
}

func (x *index) leasable(w *waybill) bool {
	if w.head > x.watermark || w.is(waybillParked|waybillLeased) {
		return false
	}
	if x.get(w.head).flags&entryNoted == 0 {
		return true
	}
	return x.notes[w.head].at.IsZero()
}

// add makes an event pending.
func (x *index) add(seq uint64, e entry) {
	if seq > x.watermark {
		x.unsynced++
	}
	x.edit(e.waybill, func(w *waybill) {
		x.link(w, seq, e)
		if seq <= x.watermark {
			w.synced++
		}
	})
}

// link puts an event into its waybill's chain: nearly always at the end, but a
// dead letter goes back to its place.
func (x *index) link(w *waybill, seq uint64, e entry) {
	before, after := w.tail(), uint64(0)
	for before > seq {
		before, after = x.prevOf(before), before
	}
	e.prev, e.next = distance(before, seq), distance(seq, after)
	x.put(seq, e)
	head, tail := w.head, w.tail()
	if before == 0 {
		head = seq
	} else {
		x.get(before).next = distance(before, seq)
	}
	if after == 0 {
		tail = seq
	} else {
		x.get(after).prev = distance(seq, after)
	}
	w.head, w.span = head, uint32(tail-head)
}

// distance between two neighbours; 0 if one of them is none.
func distance(a, b uint64) uint32 {
	if a == 0 || b == 0 {
		return 0
	}
	return uint32(b - a)
}

func (x *index) prevOf(seq uint64) uint64 {
	if d := x.get(seq).prev; d != 0 {
		return seq - uint64(d)
	}
	return 0
}

func (x *index) nextOf(seq uint64) uint64 {
	if d := x.get(seq).next; d != 0 {
		return seq + uint64(d)
	}
	return 0
}

// remove takes a finished event out, with its lease.
func (x *index) remove(seq uint64) {
	e := x.get(seq)
	if e == nil {
		return
	}
	delete(x.leases, seq)
	delete(x.notes, seq)
	if seq > x.watermark {
		x.unsynced--
	}
	x.edit(e.waybill, func(w *waybill) {
		if x.leasedOf[e.waybill] == seq {
			x.unlease(e.waybill, w)
		}
		if seq <= x.watermark {
			w.synced--
		}
		x.unlink(w, seq)
	})
}

func (x *index) unlink(w *waybill, seq uint64) {
	before, after := x.prevOf(seq), x.nextOf(seq)
	head, tail := w.head, w.tail()
	if before == 0 {
		head = after
	} else {
		x.get(before).next = distance(before, after)
	}
	if after == 0 {
		tail = before
	} else {
		x.get(after).prev = distance(before, after)
	}
	w.head, w.span = head, uint32(tail-head)
	x.del(seq)
}

// rise moves the watermark up. The events passed go to to_push, and wake their
// waybill, or where waits says so to awaiting_waybill, with their waybill.
func (x *index) rise(upTo uint64, waits map[uint64]bool) {
	from := x.watermark + 1
	if upTo < from {
		return
	}
	x.watermark = upTo
	for seq, ok := x.next(from); ok && seq <= upTo; seq, ok = x.next(seq + 1) {
		x.unsynced--
		x.edit(x.get(seq).waybill, func(w *waybill) {
			w.synced++
			w.set(waybillParked, waits[seq])
		})
	}
}

// fall moves the watermark down: the centre lost what is above.
func (x *index) fall(to uint64) {
	old := x.watermark
	x.watermark = min(old, to)
	for seq, ok := x.next(to + 1); ok && seq <= old; seq, ok = x.next(seq + 1) {
		x.unsynced++
		x.edit(x.get(seq).waybill, func(w *waybill) { w.synced-- })
	}
}

// state returns where a pending event stands.
func (x *index) state(seq uint64) State {
	if seq > x.watermark {
		return Unsynced
	}
	if _, leased := x.leases[seq]; leased {
		return ToPush
	}
	if e := x.get(seq); e != nil {
		if _, parked := x.parked[e.waybill]; parked {
			return AwaitingWaybill
		}
	}
	return ToPush
}

// oldest returns when the first pending event was received; zero if none.
func (x *index) oldest() time.Time {
	if seq, ok := x.next(0); ok {
		return time.Unix(int64(x.get(seq).received), 0).UTC()
	}
	return time.Time{}
}

// newer returns the newest action_time among the waybill's pending events
// after seq.
func (x *index) newer(h, seq uint64) (newest int64, ok bool) {
	w := x.waybills[h]
	for s := w.tail(); s > seq; s = x.prevOf(s) {
		if a := x.get(s).action; !ok || a > newest {
			newest, ok = a, true
		}
	}
	return newest, ok
}

// note changes what is known of a pending event.
func (x *index) note(seq uint64, fn func(a *attempt)) {
	a := x.notes[seq]
	fn(&a)
	x.notes[seq] = a
	x.get(seq).flags |= entryNoted
}
