package uplink

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store"
	"scanrelay/uplink/syncapi"
)

const (
	maxFresh   = 4 * syncapi.MaxWaiting // beyond it all are declared again
	sweepEvery = time.Minute
	sweepPage  = 2000
	sweepPages = 50
)

// waits knows which waybills without data the centre has still to be told of,
// and looks for events that expired while they waited. It is safe for concurrent
// use.
type waits struct {
	outbox  Waits
	expires func(store.Record) time.Time
	log     *slog.Logger

	mu     sync.Mutex
	fresh  []scan.WaybillID // parked and not yet declared
	all    bool             // every waiting one is to be declared, from cursor on
	cursor uint64
	round  int    // counts the times when all began anew
	centre string // store_id and process of the declarations

	swept uint64 // where the sweep goes on; its goroutine's alone
}

func newWaits(o Waits, expires func(store.Record) time.Time, log *slog.Logger) *waits {
	return &waits{outbox: o, expires: expires, log: log}
}

// parked keeps that a waybill waits.
func (w *waits) parked(id scan.WaybillID) {
	w.mu.Lock()
	defer w.mu.Unlock()
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
	cursor uint64 // behind page; 0 when that was empty: there are no more
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
	page, err := w.outbox.Waiting(n-take, cursor) // reads records: not under the lock
	if err != nil {
		w.log.Error("list waybills to declare, trying again", "error", err)
		d.paged = false
		return d
	}
	for _, r := range page {
		d.cursor = r.ID.Seq
		if !slices.Contains(d.page, r.Event.Waybill) {
			d.page = append(d.page, r.Event.Waybill)
		}
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
		w.cursor, w.all = d.cursor, d.cursor != 0
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
	w.fresh, w.all, w.cursor = nil, true, 0
	w.round++
}

// pending reports whether something is still to be declared.
func (w *waits) pending() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.fresh) > 0 || w.all
}

// wake lets the events of waybills go on whose data came. Where that fails all
// are declared again, so that the centre says so again.
func (w *waits) wake(ids []scan.WaybillID) {
	if len(ids) == 0 {
		return
	}
	if err := w.outbox.Wake(ids...); err != nil {
		w.log.Error("wake events whose waybill data came, trying again", "error", err)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.anewLocked()
	}
}

// sweep wakes waiting events that expired, for the gate to end them. They expire
// in sequence order for the most part, so it looks from the start as long as it
// finds some, and beside that through the rest, a page each time.
func (w *waits) sweep(now time.Time) {
	front := uint64(0)
	for range sweepPages {
		last, due := w.sweepPage(front, now)
		if front = last; due == 0 || last == 0 {
			break
		}
	}
	w.swept, _ = w.sweepPage(max(w.swept, front), now)
}

// sweepPage looks at one page after a number. It returns the last number of the
// page, 0 if there are no more behind it, and how many had expired.
func (w *waits) sweepPage(after uint64, now time.Time) (last uint64, due int) {
	page, err := w.outbox.Waiting(sweepPage, after)
	if err != nil {
		w.log.Error("look for expired events that wait, trying again", "error", err)
		return 0, 0
	}
	var expired []uint64
	for _, r := range page {
		if now.After(w.expires(r)) {
			expired = append(expired, r.ID.Seq)
		}
	}
	w.outbox.WakeEvents(expired...)
	if len(page) == sweepPage {
		last = page[len(page)-1].ID.Seq
	}
	return last, len(expired)
}
