package index

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
// the youngest and the oldest: fresh before stale. A waybill of which it is not
// sure that its head is the first comes back as unverified instead: it is not
// leased before verified says so. taken is what was claimed before for the same
// lease.
func (m *memory) lease(max int, ttl time.Duration, taken *ends) (claims []Claim, heads []unverified) {
	until := m.now.Add(ttl)
	next := *taken // unverified heads count here only
	for len(claims)+len(heads) < max {
		m.youngest = next.young < next.old || next.young == next.old && !m.youngest
		tail, ok := m.firstReady()
		if m.youngest {
			tail, ok = m.lastReady()
		}
		if !ok {
			break
		}
		next.count(m.youngest)
		h := m.get(tail).waybill
		m.edit(h, func(w *waybill) {
			if !w.is(waybillVerified) && m.absent() > 0 {
				w.set(waybillVerifying, true)
				heads = append(heads, unverified{h, w.head})
				return
			}
			taken.count(m.youngest)
			w.set(waybillLeased, true)
			m.leasedOf[h] = w.head
			m.claims++
			m.leases[w.head] = lease{id: m.claims, until: until}
			claims = append(claims, Claim{w.head, m.claims})
		})
	}
	if len(claims) > 0 {
		m.expireBy(until)
	}
	return claims, heads
}

// ends counts what a lease took at either end.
type ends struct{ young, old int }

func (e *ends) count(young bool) {
	if young {
		e.young++
	} else {
		e.old++
	}
}

// unverified is a waybill that may have pending events before its head that are
// on disk only.
type unverified struct{ waybill, head uint64 }

// isUnverified reports whether a waybill still is.
func (m *memory) isUnverified(u unverified) bool {
	w := m.waybills[u.waybill]
	return w.head == u.head && w.is(waybillVerifying)
}

// verified says of a waybill that what there was of it before its head is held
// now, or, if !sure, could not be looked for.
func (m *memory) verified(h uint64, sure bool) {
	if _, ok := m.waybills[h]; ok {
		m.edit(h, func(w *waybill) {
			w.set(waybillVerifying, false)
			w.set(waybillVerified, sure)
		})
	}
}

// expire ends leases whose time is over and wakes what is due by now.
func (m *memory) expire() {
	for len(m.timers) > 0 && !m.timers[0].at.After(m.now) {
		seq := heap.Pop(&m.timers).(timer).seq
		m.isDue(seq)
	}
	m.endCooling()
	if m.expiry.IsZero() || m.expiry.After(m.now) {
		return
	}
	m.expiry = time.Time{}
	for seq, l := range m.leases {
		switch {
		case l.settling:
		case l.until.After(m.now):
			m.expireBy(l.until)
		default:
			m.endLease(seq)
		}
	}
}

// isDue ends an event's wait, if it is over. Once due it stays due, should the
// clock step back.
func (m *memory) isDue(seq uint64) {
	if a, ok := m.attempts[seq]; ok && !a.at.After(m.now) {
		a.at = time.Time{}
		m.attempts[seq] = a
	}
	m.look(seq)
}

// look finds out again whether the waybill of an event is ready.
func (m *memory) look(seq uint64) {
	if e := m.get(seq); e != nil {
		m.edit(e.waybill, func(*waybill) {})
	}
}

// endLease gives an event back to its state.
func (m *memory) endLease(seq uint64) {
	delete(m.leases, seq)
	h := m.get(seq).waybill
	m.edit(h, func(w *waybill) { m.unlease(h, w) })
}

func (m *memory) unlease(h uint64, w *waybill) {
	w.set(waybillLeased, false)
	delete(m.leasedOf, h)
}

// leased reports whether the event's lease still holds, and is the one given.
func (m *memory) leased(seq uint64, id event.Lease) bool {
	l, ok := m.leases[seq]
	return ok && !l.settling && l.until.After(m.now) && (id == 0 || id == l.id)
}

// abortSettling has a lease hold on whose settlement could not be written. One
// that was only reserved for it ends.
func (m *memory) abortSettling(seq uint64) {
	l, ok := m.leases[seq]
	switch {
	case !ok:
	case l.until.IsZero():
		delete(m.leases, seq)
		m.look(seq)
	default:
		l.settling = false
		m.leases[seq] = l
		m.expireBy(l.until)
	}
}

// expireBy has expire look at the leases at a moment.
func (m *memory) expireBy(at time.Time) {
	if m.expiry.IsZero() || at.Before(m.expiry) {
		m.expiry = at
	}
}

// retry gives a leased event back, to be leased again at r.At.
func (m *memory) retry(r event.Retry) {
	if _, noted := m.attempts[r.Seq]; !noted && len(m.attempts) >= m.size/2 && r.At.After(m.now) {
		m.cool(r.Seq, r.Attempts)
		return
	}
	m.keepAttempt(r)
	m.endLease(r.Seq)
}

// park gives a leased event back and lets it and all synced events of its
// waybill that are held wait for data.
func (m *memory) park(seq uint64) {
	h, woken := m.get(seq).waybill, m.woken
	m.endLease(seq)
	for _, s := range m.chain(h, m.watermark) {
		m.wait(s)
	}
	m.woken = woken // it was leasable for a moment that nobody saw
}

// due returns when a lease may find more than it does now.
func (m *memory) due() (next time.Time, ok bool) {
	if _, ready := m.firstReady(); ready || m.wants() {
		return m.now, true
	}
	if len(m.timers) > 0 {
		next, ok = m.timers[0].at, true
	}
	for _, at := range []time.Time{m.expiry, m.coolUntil} {
		if !at.IsZero() && (!ok || at.Before(next)) {
			next, ok = at, true
		}
	}
	return next, ok
}
