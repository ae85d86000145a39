package index

import (
	"hash/maphash"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/event"
)

// memory is what an Index holds, guarded by its lock. The census knows all
// pending events by number. Of a bounded part, the oldest to be pushed and the
// youngest, there are entries; the others are on disk and brought in when
// their turn comes (window.go). The events of a waybill that are held form a
// chain in sequence order, of which only the first may be leased; a waybill is
// ready when that one may be leased now, and stands in the order of its last
// event.
type memory struct {
	entries
	all        census
	ready      census // last events of waybills of which the first may be leased
	waybills   map[uint64]waybill
	leases     map[uint64]lease    // by number
	claims     event.Lease         // the last one given
	leasedOf   map[uint64]uint64   // the leased event of a waybill
	attempts   map[uint64]attempt  // what more is known of some pending events
	unsaved    []uint64            // of these, what is to be written
	dead       map[uint64]struct{} // dead letters
	lowestDead uint64              // of dead, unless it was taken out since
	claimed    map[uint64]struct{} // those that somebody is putting back or discarding
	timers     timers
	seed       maphash.Seed
	now        time.Time // the moment of the running operation
	expiry     time.Time // no lease runs out before; zero: none
	cooling
	window
	shares shares

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
	waybillLeased    = 1 << iota // one of its events is leased; leasedOf says which
	waybillReady                 // its last event is in memory.ready
	waybillVerified              // no pending event of it before its head is on disk only
	waybillVerifying             // somebody is looking whether there is one
)

func (w *waybill) tail() uint64 { return w.head + uint64(w.span) }

func (w *waybill) is(flag uint8) bool { return w.flags&flag != 0 }

func (w *waybill) set(flag uint8, on bool) {
	w.flags &^= flag
	if on {
		w.flags |= flag
	}
}

func newMemory(windowSize int) *memory {
	return &memory{
		entries: entries{}, waybills: map[uint64]waybill{}, leases: map[uint64]lease{}, leasedOf: map[uint64]uint64{},
		attempts: map[uint64]attempt{}, dead: map[uint64]struct{}{}, claimed: map[uint64]struct{}{}, seed: maphash.MakeSeed(),
		window: window{size: windowSize, low: 1, high: 1}, shares: shares{clients: map[uint16]int64{}, hosts: map[uint16]int64{}},
	}
}

// hash returns the key of a waybill. Two waybills with one hash, which would
// be chance of 1 in 2⁶⁴ for any pair, share a chain: they only wait for each
// other.
func (m *memory) hash(id scan.WaybillID) uint64 { return maphash.String(m.seed, string(id)) }

// die takes a dead letter in.
func (m *memory) die(seq uint64) {
	if m.dead[seq] = struct{}{}; len(m.dead) == 1 || seq < m.lowestDead {
		m.lowestDead = seq
	}
}

// firstDead is the lowest dead letter, of which there is one. It is looked for only after
// it was taken out.
func (m *memory) firstDead() uint64 {
	if _, there := m.dead[m.lowestDead]; !there {
		m.lowestDead = 1<<64 - 1
		for seq := range m.dead {
			m.lowestDead = min(m.lowestDead, seq)
		}
	}
	return m.lowestDead
}

// undead takes a dead letter out.
func (m *memory) undead(seq uint64) {
	delete(m.dead, seq)
	delete(m.claimed, seq)
}

// edit changes one waybill through fn and keeps right whether it is ready.
func (m *memory) edit(h uint64, fn func(w *waybill)) {
	w := m.waybills[h]
	was := w.is(waybillReady)
	if was {
		m.ready.del(setPending, w.tail())
	}
	head := w.head
	fn(&w)
	if w.head == 0 {
		delete(m.waybills, h)
		return
	}
	if w.head != head {
		w.set(waybillVerified, m.absent() == 0)
		w.set(waybillVerifying, false) // that was for another head
	}
	ready := m.leasable(&w)
	w.set(waybillReady, ready)
	if ready {
		m.ready.add(setPending, w.tail())
		m.woken = m.woken || !was
	}
	m.waybills[h] = w
}

// absent is how many pending events are on disk only.
func (m *memory) absent() int { return m.all.count[setPending] - m.all.count[setHeld] }

// here reports whether nothing on disk has to be read for a number: its event is
// held, or not pending.
func (m *memory) here(seq uint64) bool {
	return !m.all.has(setPending, seq) || m.all.has(setHeld, seq)
}

// firstReady and lastReady return the last events of the ready waybills at either
// end.
func (m *memory) firstReady() (uint64, bool) { return m.ready.next(anyPending, 0) }

func (m *memory) lastReady() (uint64, bool) { return m.ready.prev(anyPending, maxSeq) }

func (m *memory) leasable(w *waybill) bool {
	if w.head > m.watermark || w.is(waybillLeased|waybillVerifying) {
		return false
	}
	_, reserved := m.leases[w.head] // see Reserve
	return !reserved && m.attempts[w.head].at.IsZero()
}

// add makes an event pending and holds it.
func (m *memory) add(seq uint64, e entry) {
	m.pend(seq)
	m.shares.charge(seq, e.client, e.bytes())
	m.hold(seq, e, 0)
	m.shrink()
}

// pend makes an event pending.
func (m *memory) pend(seq uint64) {
	m.all.add(setPending, seq)
	if seq > m.watermark {
		m.unsynced++
	}
}

// holdAll brings pending events into memory, rising. A waybill may have tens of
// thousands of them, so the place of each is looked for from the one before.
func (m *memory) holdAll(list []found) {
	near := make(map[uint64]uint64, len(list))
	for _, f := range list {
		m.hold(f.seq, f.entry, near[f.waybill])
		near[f.waybill] = f.seq
	}
}

// hold brings a pending event into memory. near: see link.
func (m *memory) hold(seq uint64, e entry, near uint64) {
	if m.all.has(setHeld, seq) {
		return
	}
	m.all.del(setWaiting, seq)
	m.all.del(setCooling, seq)
	m.all.add(setHeld, seq)
	m.holds(seq, +1)
	m.edit(e.waybill, func(w *waybill) { m.link(w, seq, e, near) })
}

// shelve takes a pending event out of memory; it stays on disk.
func (m *memory) shelve(seq uint64) {
	h := m.get(seq).waybill
	m.all.del(setHeld, seq)
	m.holds(seq, -1)
	m.edit(h, func(w *waybill) { m.unlink(w, seq) })
}

// remove takes out a finished event, with its lease.
func (m *memory) remove(seq uint64) {
	if !m.all.has(setPending, seq) {
		return
	}
	delete(m.leases, seq)
	delete(m.attempts, seq)
	if seq > m.watermark {
		m.unsynced--
	}
	if e := m.get(seq); e != nil {
		m.shares.charge(seq, e.client, -e.bytes())
		m.holds(seq, -1)
		m.edit(e.waybill, func(w *waybill) {
			if m.leasedOf[e.waybill] == seq {
				m.unlease(e.waybill, w)
			}
			m.unlink(w, seq)
		})
	}
	for s := numSets; s > 0; s-- { // pending last
		m.all.del(s-1, seq)
	}
}

// rise moves the watermark up. The events passed go to to_push, or where waits
// says so to awaiting_waybill, unless they are leased since before the centre
// lost them.
func (m *memory) rise(upTo uint64, waits map[uint64]bool) {
	from := m.watermark + 1
	if upTo < from {
		return
	}
	m.unsynced -= m.all.countIn(anyPending, from, upTo)
	m.heldUnsynced -= m.all.countIn(anyHeld, from, upTo)
	m.watermark = upTo
	m.expire()
	for seq := range waits {
		if _, leased := m.leases[seq]; !leased && seq >= from && seq <= upTo {
			m.wait(seq)
		}
	}
	for seq, ok := m.all.nextIn(anyHeld, from, upTo); ok; seq, ok = m.all.nextIn(anyHeld, seq+1, upTo) {
		m.look(seq)
	}
	if m.shelved() > 0 {
		m.woken = true
	}
}

// fall moves the watermark down: the centre lost what is above.
func (m *memory) fall(to uint64) {
	old := m.watermark
	if to >= old {
		return
	}
	for seq, ok := m.all.nextIn(anyWaiting, to+1, old); ok; seq, ok = m.all.nextIn(anyWaiting, seq+1, old) {
		m.all.del(setWaiting, seq)
	}
	for seq, ok := m.all.nextIn(anyCooling, to+1, old); ok; seq, ok = m.all.nextIn(anyCooling, seq+1, old) {
		m.all.del(setCooling, seq)
	}
	m.watermark, m.low = to, min(m.low, to+1)
	m.unsynced += m.all.countIn(anyPending, to+1, old)
	m.heldUnsynced += m.all.countIn(anyHeld, to+1, old)
	for seq, ok := m.all.nextIn(anyHeld, to+1, old); ok; seq, ok = m.all.nextIn(anyHeld, seq+1, old) {
		m.look(seq)
	}
}

// wait lets a pending, synced event wait for waybill data, on disk only.
func (m *memory) wait(seq uint64) {
	if !m.all.has(setPending, seq) {
		return
	}
	if m.all.has(setHeld, seq) {
		m.shelve(seq)
	}
	m.all.del(setCooling, seq)
	m.all.add(setWaiting, seq)
}

// wake ends that. It is brought in when its turn comes.
func (m *memory) wake(seq uint64) {
	if m.all.has(setWaiting, seq) {
		m.all.del(setWaiting, seq)
		m.low = min(m.low, seq)
		m.woken = true
	}
}

// state returns where a pending event stands.
func (m *memory) state(seq uint64) event.State {
	switch {
	case seq > m.watermark:
		return event.Unsynced
	case m.all.has(setWaiting, seq):
		return event.AwaitingWaybill
	}
	return event.ToPush
}

// newer returns the newest action_time among the waybill's held events after
// seq.
func (m *memory) newer(h, seq uint64) (t event.Later) {
	w := m.waybills[h]
	for s := w.tail(); s > seq; s = m.prevOf(s) {
		t.Add(m.get(s).action)
	}
	return t
}

// learn changes what is known of a pending event.
func (m *memory) learn(seq uint64, fn func(a *attempt)) {
	a := m.attempts[seq]
	fn(&a)
	m.attempts[seq] = a
}
