package store

import (
	"hash/maphash"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/event"
)

// index is where every pending event stands, guarded by Outbox.mu, free of I/O.
// The census knows all of them by number. Of a bounded part, the oldest to be
// pushed and the youngest, it holds entries; the others are on disk and brought
// in when their turn comes (window.go). The events of a waybill that are held
// form a chain in sequence order, of which only the first may be leased; a
// waybill is ready when that one may be leased now, and stands in the order of
// its last event.
type index struct {
	table
	all      census
	waybills map[uint64]waybill
	leases   map[uint64]lease   // by number
	claims   event.Lease        // the last one given
	leasedOf map[uint64]uint64  // the leased event of a waybill
	notes    map[uint64]attempt // what more is known of some pending events
	unsaved  []uint64           // of these, what is to be written
	dead     map[uint64]struct{}
	timers   timers
	seed     maphash.Seed
	now      time.Time // the moment of the running operation
	expiry   time.Time // no lease runs out before; zero: none
	cooling
	window

	watermark uint64
	unsynced  int   // pending events above it
	oldest    found // the first pending event, as it was last read for Counts
	youngest  bool  // which end the last lease ended at
	woken     bool  // a waybill became ready since this was last cleared
}

// waybill is the chain of one waybill; there may be as many as events are held,
// so it is kept small.
type waybill struct {
	head  uint64 // its first held event; 0: none
	span  uint32 // how far behind its last one is
	flags uint8
}

// Flags of a waybill.
const (
	waybillLeased  = 1 << iota // one of its events is leased; leasedOf says which
	waybillReady               // the bit of its last event is set
	waybillSure                // no pending event of it before its head is on disk only
	waybillChecked             // somebody is looking whether there is one
)

func (w *waybill) tail() uint64 { return w.head + uint64(w.span) }

func (w *waybill) is(flag uint8) bool { return w.flags&flag != 0 }

func (w *waybill) set(flag uint8, on bool) {
	w.flags &^= flag
	if on {
		w.flags |= flag
	}
}

func newIndex(windowSize int) *index {
	return &index{
		waybills: map[uint64]waybill{}, leases: map[uint64]lease{}, leasedOf: map[uint64]uint64{},
		notes: map[uint64]attempt{}, dead: map[uint64]struct{}{}, seed: maphash.MakeSeed(),
		window: window{size: windowSize, low: 1, high: 1},
	}
}

// hash returns the key of a waybill. Two waybills with one hash, which would
// be chance of 1 in 2⁶⁴ for any pair, share a chain: they only wait for each
// other.
func (x *index) hash(id scan.WaybillID) uint64 { return maphash.String(x.seed, string(id)) }

func (x *index) hashBytes(id []byte) uint64 { return maphash.Bytes(x.seed, id) }

// edit changes one waybill through fn and keeps its ready bit right.
func (x *index) edit(h uint64, fn func(w *waybill)) {
	w := x.waybills[h]
	was := w.is(waybillReady)
	if was {
		x.setReady(w.tail(), false)
	}
	head := w.head
	fn(&w)
	if w.head == 0 {
		delete(x.waybills, h)
		return
	}
	if w.head != head {
		w.set(waybillSure, x.absent() == 0)
		w.set(waybillChecked, false) // that was for another head
	}
	ready := x.leasable(&w)
	w.set(waybillReady, ready)
	if ready {
		x.setReady(w.tail(), true)
		x.woken = x.woken || !was
	}
	x.waybills[h] = w
}

// absent is how many pending events are on disk only.
func (x *index) absent() int { return x.all.count[setPending] - x.all.count[setHeld] }

// here reports whether nothing on disk has to be read for a number: its event is
// held, or not pending.
func (x *index) here(seq uint64) bool {
	return !x.all.has(setPending, seq) || x.all.has(setHeld, seq)
}

func (x *index) leasable(w *waybill) bool {
	if w.head > x.watermark || w.is(waybillLeased|waybillChecked) {
		return false
	}
	if x.get(w.head).flags&entryNoted == 0 {
		return true
	}
	return x.notes[w.head].at.IsZero()
}

// add makes an event pending and holds it.
func (x *index) add(seq uint64, e entry) {
	x.pend(seq)
	x.hold(seq, e, 0)
	x.shrink()
}

// pend makes an event pending.
func (x *index) pend(seq uint64) {
	x.all.add(setPending, seq)
	if seq > x.watermark {
		x.unsynced++
	}
}

// holdAll brings pending events into memory, rising. A waybill may have tens of
// thousands of them, so the place of each is looked for from the one before.
func (x *index) holdAll(list []found) {
	near := make(map[uint64]uint64, len(list))
	for _, f := range list {
		x.hold(f.seq, f.entry, near[f.waybill])
		near[f.waybill] = f.seq
	}
}

// hold brings a pending event into memory. near: see link.
func (x *index) hold(seq uint64, e entry, near uint64) {
	if x.all.has(setHeld, seq) {
		return
	}
	x.all.del(setWaiting, seq)
	x.all.del(setCooling, seq)
	x.all.add(setHeld, seq)
	x.holds(seq, +1)
	if _, noted := x.notes[seq]; noted {
		e.flags |= entryNoted
	}
	x.edit(e.waybill, func(w *waybill) { x.link(w, seq, e, near) })
}

// shelve takes a pending event out of memory; it stays on disk.
func (x *index) shelve(seq uint64) {
	h := x.get(seq).waybill
	x.all.del(setHeld, seq)
	x.holds(seq, -1)
	x.edit(h, func(w *waybill) { x.unlink(w, seq) })
}

// remove takes out a finished event, with its lease.
func (x *index) remove(seq uint64) {
	if !x.all.has(setPending, seq) {
		return
	}
	delete(x.leases, seq)
	delete(x.notes, seq)
	if seq > x.watermark {
		x.unsynced--
	}
	e := x.get(seq)
	if e != nil {
		x.holds(seq, -1)
	}
	x.all.del(setHeld, seq)
	x.all.del(setWaiting, seq)
	x.all.del(setCooling, seq)
	x.all.del(setPending, seq)
	if e == nil {
		return
	}
	h := e.waybill
	x.edit(h, func(w *waybill) {
		if x.leasedOf[h] == seq {
			x.unlease(h, w)
		}
		x.unlink(w, seq)
	})
}

// rise moves the watermark up. The events passed go to to_push, or where waits
// says so to awaiting_waybill, unless they are leased since before the centre
// lost them.
func (x *index) rise(upTo uint64, waits map[uint64]bool) {
	from := x.watermark + 1
	if upTo < from {
		return
	}
	x.unsynced -= x.all.countIn(anyPending, from, upTo)
	x.heldUnsynced -= x.all.countIn(anyHeld, from, upTo)
	x.watermark = upTo
	x.expire()
	for seq := range waits {
		if _, leased := x.leases[seq]; !leased && seq >= from && seq <= upTo {
			x.wait(seq)
		}
	}
	for seq, ok := x.all.nextIn(anyHeld, from, upTo); ok; seq, ok = x.all.nextIn(anyHeld, seq+1, upTo) {
		x.edit(x.get(seq).waybill, func(*waybill) {})
	}
	if x.shelved() > 0 {
		x.woken = true
	}
}

// fall moves the watermark down: the centre lost what is above.
func (x *index) fall(to uint64) {
	old := x.watermark
	if to >= old {
		return
	}
	for seq, ok := x.all.nextIn(anyWaiting, to+1, old); ok; seq, ok = x.all.nextIn(anyWaiting, seq+1, old) {
		x.all.del(setWaiting, seq)
	}
	for seq, ok := x.all.nextIn(anyCooling, to+1, old); ok; seq, ok = x.all.nextIn(anyCooling, seq+1, old) {
		x.all.del(setCooling, seq)
	}
	x.watermark, x.low = to, min(x.low, to+1)
	x.unsynced += x.all.countIn(anyPending, to+1, old)
	x.heldUnsynced += x.all.countIn(anyHeld, to+1, old)
	for seq, ok := x.all.nextIn(anyHeld, to+1, old); ok; seq, ok = x.all.nextIn(anyHeld, seq+1, old) {
		x.edit(x.get(seq).waybill, func(*waybill) {})
	}
}

// wait lets a pending, synced event wait for waybill data, on disk only.
func (x *index) wait(seq uint64) {
	if !x.all.has(setPending, seq) {
		return
	}
	if x.all.has(setHeld, seq) {
		x.shelve(seq)
	}
	x.all.del(setCooling, seq)
	x.all.add(setWaiting, seq)
}

// wake ends that. It is brought in when its turn comes.
func (x *index) wake(seq uint64) {
	if x.all.has(setWaiting, seq) {
		x.all.del(setWaiting, seq)
		x.low = min(x.low, seq)
		x.woken = true
	}
}

// state returns where a pending event stands.
func (x *index) state(seq uint64) event.State {
	switch {
	case seq > x.watermark:
		return event.Unsynced
	case x.all.has(setWaiting, seq):
		return event.AwaitingWaybill
	}
	return event.ToPush
}

// newer returns the newest action_time among the waybill's held events after
// seq.
func (x *index) newer(h, seq uint64) (t event.Later) {
	w := x.waybills[h]
	for s := w.tail(); s > seq; s = x.prevOf(s) {
		t.Add(x.get(s).action)
	}
	return t
}

// note changes what is known of a pending event.
func (x *index) note(seq uint64, fn func(a *attempt)) {
	a := x.notes[seq]
	fn(&a)
	x.notes[seq] = a
	if e := x.get(seq); e != nil {
		e.flags |= entryNoted
	}
}
