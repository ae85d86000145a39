package uplink

import (
	"sync"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/uplink/syncapi"
)

const (
	maxFresh     = 4 * syncapi.MaxWaiting // beyond it all are declared again
	maxDeadlines = 65536
	sweepEvery   = time.Minute
	sweepPage    = 2000
)

// waits knows which waybills without data the centre has still to be told of,
// and when their first event expires. It is safe for concurrent use.
type waits struct {
	outbox Waits

	mu        sync.Mutex
	fresh     []scan.WaybillID // parked and not yet declared
	all       bool             // every waiting one is to be declared, from cursor on
	cursor    scan.WaybillID
	round     int    // counts the times when all began anew
	centre    string // store_id and process of the declarations
	deadlines *recent[scan.WaybillID, time.Time]
	checks    *recent[scan.WaybillID, time.Time] // woken when, only to see whether they expired
	swept     scan.WaybillID
}

func newWaits(o Waits) *waits {
	return &waits{outbox: o, deadlines: newRecent[scan.WaybillID, time.Time](maxDeadlines), checks: newRecent[scan.WaybillID, time.Time](sweepPage)}
}

// parked keeps that a waybill waits, until its first event expires at deadline.
func (w *waits) parked(id scan.WaybillID, deadline time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.checks.drop(id)
	if old, ok := w.deadlines.get(id); !ok || deadline.Before(old) {
		w.deadlines.put(id, deadline)
	}
	if len(w.fresh) >= maxFresh {
		w.anewLocked()
		return
	}
	w.fresh = append(w.fresh, id)
}

// declaration is what one request declares; it is given back if that failed.
type declaration struct {
	fresh  []scan.WaybillID
	page   []scan.WaybillID
	paged  bool
	round  int
	cursor scan.WaybillID // after page; "" when that was empty: there are no more
}

// declare takes up to n waybills to declare. Only the sync relay calls it.
func (w *waits) declare(n int) declaration {
	n = min(n, syncapi.MaxWaiting)
	w.mu.Lock()
	take := min(n, len(w.fresh))
	d := declaration{fresh: w.fresh[:take:take], paged: w.all && take < n, round: w.round}
	if w.fresh = w.fresh[take:]; len(w.fresh) == 0 {
		w.fresh = nil
	}
	cursor := w.cursor
	w.mu.Unlock()
	if !d.paged {
		return d
	}
	d.page = w.outbox.Waiting(n-take, cursor) // reads records: not under the lock
	if last := len(d.page); last > 0 {
		d.cursor = d.page[last-1]
	}
	return d
}

func (d declaration) ids() []string {
	ids := make([]string, 0, len(d.fresh)+len(d.page))
	for _, part := range [][]scan.WaybillID{d.fresh, d.page} {
		for _, id := range part {
			ids = append(ids, string(id))
		}
	}
	return ids
}

// undeclared gives back what the centre did not hear.
func (w *waits) undeclared(d declaration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fresh = append(d.fresh, w.fresh...)
}

// declared keeps that the centre heard a declaration.
func (w *waits) declared(d declaration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if d.paged && w.all && d.round == w.round {
		w.cursor, w.all = d.cursor, d.cursor != ""
	}
}

// heard notices another centre, which knows of no declaration: all are declared
// again.
func (w *waits) heard(storeID, process string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := storeID + "/" + process; now != w.centre {
		w.centre = now
		w.anewLocked()
	}
}

// anewLocked declares everything that waits from the start.
func (w *waits) anewLocked() {
	w.fresh, w.all, w.cursor = nil, true, ""
	w.round++
}

// pending reports whether something is still to be declared.
func (w *waits) pending() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.fresh) > 0 || w.all
}

// wake lets the events of waybills go on whose data came.
func (w *waits) wake(ids []scan.WaybillID) {
	if len(ids) == 0 {
		return
	}
	w.mu.Lock()
	for _, id := range ids {
		w.deadlines.drop(id)
		w.checks.drop(id)
	}
	w.mu.Unlock()
	w.outbox.Wake(ids...)
}

// checking reports whether the waybill was woken only to see whether its first
// event expired.
func (w *waits) checking(id scan.WaybillID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	at, ok := w.checks.get(id)
	return ok && time.Since(at) < sweepEvery
}

// sweep wakes, of the next page of waiting waybills, those whose first event may
// have expired: the gate judges them.
func (w *waits) sweep(now time.Time) {
	w.mu.Lock()
	after := w.swept
	w.mu.Unlock()
	page := w.outbox.Waiting(sweepPage, after)
	if len(page) == 0 && after != "" { // the end: from the start again
		page = w.outbox.Waiting(sweepPage, "")
	}
	var due []scan.WaybillID
	w.mu.Lock()
	w.swept = ""
	if n := len(page); n > 0 {
		w.swept = page[n-1]
	}
	for _, id := range page {
		if at, ok := w.deadlines.get(id); ok && now.Before(at) {
			continue
		}
		w.deadlines.drop(id)
		w.checks.put(id, time.Now())
		due = append(due, id)
	}
	w.mu.Unlock()
	if len(due) > 0 {
		w.outbox.Wake(due...)
	}
}
