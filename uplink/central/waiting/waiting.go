package waiting

import (
	"container/list"
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
)

// Bounds. What is beyond them is not noted, and counted: agents declare what they
// wait for again every ten minutes, and are told at once what is known by then.
const (
	maxDeclared = 500_000
	MaxOfDepot  = 20_000
	Life        = 30 * time.Minute // of what is not declared again
	// ReadyTimes is how often a ready waybill is told to a depot that does not
	// ask for it, until it declares it again.
	ReadyTimes = 20
)

// Waiting is kept in the memory of one process.
type Waiting struct {
	now  func() time.Time
	life string

	mu       sync.Mutex // guards what follows
	declared map[declaration]*list.Element
	order    *list.List // of *noted, the oldest first
	depots   map[scan.WaybillID][]scan.DepotID
	own      map[scan.DepotID]int // how many declarations
	come     map[scan.DepotID]map[scan.WaybillID]int
	dropped  uint64
}

type declaration struct {
	depot   scan.DepotID
	waybill scan.WaybillID
}

type noted struct {
	declaration
	at time.Time
}

// Counts is how much waits.
type Counts struct {
	Declared int
	Ready    int    // data come, not asked for yet
	Dropped  uint64 // declarations beyond the bounds, since the start
}

// New returns one for which nobody waits.
func New(now func() time.Time) *Waiting {
	return &Waiting{
		now: now, life: rand.Text(), declared: map[declaration]*list.Element{}, order: list.New(),
		depots: map[scan.WaybillID][]scan.DepotID{}, own: map[scan.DepotID]int{}, come: map[scan.DepotID]map[scan.WaybillID]int{},
	}
}

// Life names what is kept: it is another one when declarations were lost.
func (w *Waiting) Life(context.Context) (string, error) { return w.life, nil }

// Declare notes that a depot waits for data, as far as there is room.
func (w *Waiting) Declare(_ context.Context, depot scan.DepotID, ids []scan.WaybillID) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	for e := w.order.Front(); e != nil && now.Sub(e.Value.(*noted).at) > Life; e = w.order.Front() {
		w.dropLocked(e)
	}
	for _, id := range ids {
		if snapshot.BadID(id) != "" {
			continue
		}
		d := declaration{depot, id}
		if e := w.declared[d]; e != nil {
			e.Value.(*noted).at = now
			w.order.MoveToBack(e)
			continue
		}
		if w.own[depot] >= MaxOfDepot {
			w.dropped++
			continue
		}
		if w.order.Len() >= maxDeclared {
			w.dropped++
			w.dropLocked(w.order.Front())
		}
		w.declared[d] = w.order.PushBack(&noted{d, now})
		w.depots[id] = append(w.depots[id], depot)
		w.own[depot]++
	}
	return nil
}

// dropLocked takes a declaration out.
func (w *Waiting) dropLocked(e *list.Element) {
	d := w.order.Remove(e).(*noted).declaration
	delete(w.declared, d)
	if others := slices.DeleteFunc(w.depots[d.waybill], func(o scan.DepotID) bool { return o == d.depot }); len(others) > 0 {
		w.depots[d.waybill] = others
	} else {
		delete(w.depots, d.waybill)
	}
	if w.own[d.depot]--; w.own[d.depot] == 0 {
		delete(w.own, d.depot)
	}
}

// Arrived notes that the data of these waybills has come.
func (w *Waiting) Arrived(_ context.Context, ids ...scan.WaybillID) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		for _, depot := range slices.Clone(w.depots[id]) {
			w.dropLocked(w.declared[declaration{depot, id}])
			w.readyLocked(depot, id)
		}
	}
	return nil
}

// readyLocked notes what is to be told; a depot that asks for nothing is told no
// more than it may declare.
func (w *Waiting) readyLocked(depot scan.DepotID, id scan.WaybillID) {
	if w.come[depot] == nil {
		w.come[depot] = map[scan.WaybillID]int{}
	}
	if len(w.come[depot]) >= MaxOfDepot {
		w.dropped++
		return
	}
	w.come[depot][id] = 0
}

// Ready lists up to most waybills of a depot whose data has come.
func (w *Waiting) Ready(_ context.Context, depot scan.DepotID, most int) ([]scan.WaybillID, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []scan.WaybillID
	come := w.come[depot]
	for id := range come {
		if len(out) == most {
			break
		}
		out = append(out, id)
		if come[id]++; come[id] >= ReadyTimes {
			delete(come, id)
		}
	}
	if len(come) == 0 {
		delete(w.come, depot)
	}
	return out, nil
}

// Woken notes that a depot asks for these again: it has heard.
func (w *Waiting) Woken(_ context.Context, depot scan.DepotID, ids []scan.WaybillID) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	come := w.come[depot]
	for _, id := range ids {
		delete(come, id)
	}
	if len(come) == 0 {
		delete(w.come, depot)
	}
	return nil
}

// Run does nothing: what waits is forgotten as something is declared.
func (w *Waiting) Run(context.Context) {}

// Counts tells how much waits.
func (w *Waiting) Counts(context.Context) (c Counts, _ error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, come := range w.come {
		c.Ready += len(come)
	}
	c.Declared, c.Dropped = w.order.Len(), w.dropped
	return c, nil
}
