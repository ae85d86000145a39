package store

import (
	"hash/maphash"
	"maps"
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
	parked    map[uint64]struct{} // hashes of the waybills that wait for data
	leases    map[uint64]lease
	notes     map[uint64]attempt // what more is known of some pending events
	dead      map[uint64]struct{}
	timers    timers
	seed      maphash.Seed
	now       time.Time // the moment of the running operation
	expiry    time.Time // no lease runs out before; zero: none
	watermark uint64
	unsynced  int
	awaiting  int
	youngest  bool // which end the next lease begins at
	woken     bool // a waybill became ready since this was last cleared
}

// waybill is one waybill with pending events.
type waybill struct {
	head, tail uint64 // its first and last pending event
	leased     uint64 // the one that is leased; 0: none
	synced     int32  // how many of them the centre has
	waiting    int32  // how many of them index.awaiting counts
	parked     bool   // it waits for waybill data
	ready      bool   // the bit of its tail is set
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
		waybills: map[uint64]waybill{}, parked: map[uint64]struct{}{}, leases: map[uint64]lease{},
		notes: map[uint64]attempt{}, dead: map[uint64]struct{}{}, seed: maphash.MakeSeed(),
	}
}

// hash returns the key of a waybill. Two waybills with one hash, which would
// be chance of 1 in 2⁶⁴ for any pair, share a chain: they only wait for each
// other.
func (x *index) hash(id scan.WaybillID) uint64 { return maphash.String(x.seed, string(id)) }

func (x *index) hashBytes(id []byte) uint64 { return maphash.Bytes(x.seed, id) }

// edit changes one waybill through fn and keeps everything derived from it:
// its ready bit, the parked set and the count of events that wait for data.
func (x *index) edit(h uint64, fn func(w *waybill)) {
	w := x.waybills[h]
	if w.ready {
		x.setReady(w.tail, false)
	}
	was := w.ready
	fn(&w)
	x.count(&w)
	w.ready = x.leasable(&w)
	switch {
	case w.ready:
		x.setReady(w.tail, true)
		x.woken = x.woken || !was
	case w.head == 0:
		delete(x.waybills, h)
		delete(x.parked, h)
		return
	}
	if w.parked {
		x.parked[h] = struct{}{}
	} else {
		delete(x.parked, h)
	}
	x.waybills[h] = w
}

// count keeps the number of events in awaiting_waybill: the synced ones of a
// parked waybill, without one that is leased.
func (x *index) count(w *waybill) {
	x.awaiting -= int(w.waiting)
	w.waiting = 0
	if w.parked {
		w.waiting = w.synced
	}
	if w.waiting > 0 && w.leased != 0 && w.leased <= x.watermark {
		w.waiting--
	}
	x.awaiting += int(w.waiting)
}

func (x *index) leasable(w *waybill) bool {
	if w.head == 0 || w.head > x.watermark || w.parked || w.leased != 0 {
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
	before, after := w.tail, uint64(0)
	for before > seq {
		before, after = x.prevOf(before), before
	}
	e.prev, e.next = distance(before, seq), distance(seq, after)
	x.put(seq, e)
	if before == 0 {
		w.head = seq
	} else {
		x.get(before).next = distance(before, seq)
	}
	if after == 0 {
		w.tail = seq
	} else {
		x.get(after).prev = distance(seq, after)
	}
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
		if w.leased == seq {
			w.leased = 0
		}
		if seq <= x.watermark {
			w.synced--
		}
		x.unlink(w, seq)
	})
}

func (x *index) unlink(w *waybill, seq uint64) {
	before, after := x.prevOf(seq), x.nextOf(seq)
	if before == 0 {
		w.head = after
	} else {
		x.get(before).next = distance(before, after)
	}
	if after == 0 {
		w.tail = before
	} else {
		x.get(after).prev = distance(before, after)
	}
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
			w.parked = waits[seq]
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
	if e := x.get(seq); e != nil && x.waybills[e.waybill].parked {
		return AwaitingWaybill
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
	for s := x.waybills[h].tail; s > seq; s = x.prevOf(s) {
		if a := x.get(s).action; !ok || a > newest {
			newest, ok = a, true
		}
	}
	return newest, ok
}

// chain lists the waybill's pending events in sequence order.
func (x *index) chain(h uint64) (seqs []uint64) {
	for s := x.waybills[h].head; s != 0; s = x.nextOf(s) {
		seqs = append(seqs, s)
	}
	return seqs
}

// note changes what is known of a pending event.
func (x *index) note(seq uint64, fn func(a *attempt)) {
	a := x.notes[seq]
	fn(&a)
	x.notes[seq] = a
	x.get(seq).flags |= entryNoted
}

// deadSeqs returns the numbers of the dead letters, in no order.
func (x *index) deadSeqs() []uint64 {
	seqs := make([]uint64, 0, len(x.dead))
	for seq := range maps.Keys(x.dead) {
		seqs = append(seqs, seq)
	}
	return seqs
}
