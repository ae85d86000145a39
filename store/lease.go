package store

import (
	"container/heap"
	"time"

	"scanrelay/store/event"
)

// lease is a claim on one event that ends by Settle, Release, Park or time.
type lease struct {
	id       event.Lease
	until    time.Time
	settling bool // its settlement is on its way to disk: time no longer ends it
}

// timers is a heap of moments at which an event may be leased again. One that
// was overtaken by something else does no harm: it only looks again.
type timers []timer

type timer struct {
	at  time.Time
	seq uint64
}

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at.Before(t[j].at) }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *timers) Push(x any)        { *t = append(*t, x.(timer)) }
func (t *timers) Pop() any {
	old := *t
	last := old[len(old)-1]
	*t = old[:len(old)-1]
	return last
}

// lease claims up to max events, alternately of the waybill whose last event is
// the youngest and the oldest (design.md section 2, Fresh before stale). A waybill
// of which it is not sure that its head is the first is a doubt instead: it is
// not leased before checked says so.
// What was claimed before for the same lease counts in turns.
func (x *index) lease(max int, ttl time.Duration, turns *turns) (seqs []uint64, doubts []doubt) {
	until := x.now.Add(ttl)
	next := *turns // doubts count here only
	for len(seqs)+len(doubts) < max {
		x.youngest = next.young < next.old || next.young == next.old && !x.youngest
		pick := x.firstReady
		if x.youngest {
			pick = x.lastReady
		}
		tail, ok := pick()
		if !ok {
			break
		}
		next.count(x.youngest)
		h := x.get(tail).waybill
		x.edit(h, func(w *waybill) {
			if !w.is(waybillSure) && x.absent() > 0 {
				w.set(waybillChecked, true)
				doubts = append(doubts, doubt{h, w.head})
				return
			}
			turns.count(x.youngest)
			w.set(waybillLeased, true)
			x.leasedOf[h] = w.head
			x.claims++
			x.leases[w.head] = lease{id: x.claims, until: until}
			seqs = append(seqs, w.head)
		})
	}
	if len(seqs) > 0 && (x.expiry.IsZero() || until.Before(x.expiry)) {
		x.expiry = until
	}
	return seqs, doubts
}

// turns counts what a lease took at either end.
type turns struct{ young, old int }

func (t *turns) count(young bool) {
	if young {
		t.young++
	} else {
		t.old++
	}
}

// doubt is a waybill that may have pending events before its head that are on
// disk only.
type doubt struct{ waybill, head uint64 }

// doubted reports whether a doubt is still one.
func (x *index) doubted(d doubt) bool {
	w := x.waybills[d.waybill]
	return w.head == d.head && w.is(waybillChecked)
}

// checked ends a doubt: what there was of the waybill before its head is held
// now, or, if !sure, could not be looked for.
func (x *index) checked(h uint64, sure bool) {
	if _, ok := x.waybills[h]; ok {
		x.edit(h, func(w *waybill) {
			w.set(waybillChecked, false)
			w.set(waybillSure, sure)
		})
	}
}

// expire ends leases whose time is over and wakes what is due by now.
func (x *index) expire() {
	for len(x.timers) > 0 && !x.timers[0].at.After(x.now) {
		seq := heap.Pop(&x.timers).(timer).seq
		x.isDue(seq)
	}
	x.warm()
	if x.expiry.IsZero() || x.expiry.After(x.now) {
		return
	}
	x.expiry = time.Time{}
	for seq, l := range x.leases {
		switch {
		case l.settling:
		case !l.until.After(x.now):
			x.endLease(seq)
		case x.expiry.IsZero() || l.until.Before(x.expiry):
			x.expiry = l.until
		}
	}
}

// isDue ends an event's wait, if it is over. Once due it stays due, should the
// clock step back.
func (x *index) isDue(seq uint64) {
	if a, ok := x.notes[seq]; ok && !a.at.After(x.now) {
		a.at = time.Time{}
		x.notes[seq] = a
	}
	if e := x.get(seq); e != nil {
		x.edit(e.waybill, func(*waybill) {})
	}
}

// endLease gives an event back to its state.
func (x *index) endLease(seq uint64) {
	delete(x.leases, seq)
	h := x.get(seq).waybill
	x.edit(h, func(w *waybill) { x.unlease(h, w) })
}

func (x *index) unlease(h uint64, w *waybill) {
	w.set(waybillLeased, false)
	delete(x.leasedOf, h)
}

// leased reports whether the event's lease still holds, and is the one given.
func (x *index) leased(seq uint64, id event.Lease) bool {
	l, ok := x.leases[seq]
	return ok && !l.settling && l.until.After(x.now) && (id == 0 || id == l.id)
}

// settling marks a leased event as on its way to its outcome, or, if that
// could not be written, as leased again.
func (x *index) settling(seq uint64, on bool) {
	l, ok := x.leases[seq]
	if !ok {
		return
	}
	l.settling = on
	x.leases[seq] = l
	if !on && (x.expiry.IsZero() || l.until.Before(x.expiry)) {
		x.expiry = l.until
	}
}

// retry gives a leased event back, to be leased again at r.At.
func (x *index) retry(r event.Retry) {
	if _, noted := x.notes[r.Seq]; !noted && len(x.notes) >= x.size/2 && r.At.After(x.now) {
		x.cool(r.Seq)
		return
	}
	x.retried(r)
	x.endLease(r.Seq)
}

// park gives a leased event back and lets it and all synced events of its
// waybill that are held wait for data.
func (x *index) park(seq uint64) {
	h, woken := x.get(seq).waybill, x.woken
	x.endLease(seq)
	for _, s := range x.chain(h, x.watermark) {
		x.wait(s)
	}
	x.woken = woken // it was leasable for a moment that nobody saw
}

// due returns when a lease may find more than it does now.
func (x *index) due() (next time.Time, ok bool) {
	if _, ready := x.firstReady(); ready || x.wants() {
		return x.now, true
	}
	if len(x.timers) > 0 {
		next, ok = x.timers[0].at, true
	}
	for _, at := range []time.Time{x.expiry, x.coolUntil} {
		if !at.IsZero() && (!ok || at.Before(next)) {
			next, ok = at, true
		}
	}
	return next, ok
}
