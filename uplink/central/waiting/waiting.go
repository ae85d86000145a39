package waiting

import (
	"context"
	"slices"
	"sync"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
)

const (
	maxDeclared = 2_000_000
	// ReadyTimes is how often a ready waybill is told to a depot that does not
	// ask for it.
	ReadyTimes = 20
)

// Waiting is kept in the memory of one process.
type Waiting struct {
	mu       sync.Mutex
	depots   map[scan.WaybillID][]scan.DepotID       // who waits; guarded by mu
	declared int                                     // entries in depots; guarded by mu
	come     map[scan.DepotID]map[scan.WaybillID]int // how often told; guarded by mu
}

// New returns one for which nobody waits.
func New() *Waiting {
	return &Waiting{depots: map[scan.WaybillID][]scan.DepotID{}, come: map[scan.DepotID]map[scan.WaybillID]int{}}
}

// Declare notes that a depot waits for data, as far as there is room.
func (w *Waiting) Declare(_ context.Context, depot scan.DepotID, ids []scan.WaybillID) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		if w.declared >= maxDeclared {
			break
		}
		if snapshot.BadID(id) == "" && !slices.Contains(w.depots[id], depot) {
			w.depots[id] = append(w.depots[id], depot)
			w.declared++
		}
	}
	return nil
}

// Arrived notes that the data of these waybills has come.
func (w *Waiting) Arrived(_ context.Context, ids ...scan.WaybillID) error {
	if len(ids) == 0 {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		for _, d := range w.depots[id] {
			w.declared--
			if w.come[d] == nil {
				w.come[d] = map[scan.WaybillID]int{}
			}
			w.come[d][id] = 0
		}
		delete(w.depots, id)
	}
	return nil
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

// Counts tells how many declarations wait, and how many are ready.
func (w *Waiting) Counts(context.Context) (declared, ready int, _ error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, come := range w.come {
		ready += len(come)
	}
	return w.declared, ready, nil
}
