package central

import (
	"sync"

	"scanrelay/agent/scan"
)

// Bounds of what the depots wait for. A ready waybill is told until the depot
// asks for it, as an answer may get lost on the way; a depot that does not ask
// after readyTimes answers does not want it any more.
const (
	maxDeclared = 2_000_000
	readyTimes  = 20
)

// waiting knows which depot waits for the data of which waybill. It lives in
// memory: depots declare again when the centre's process changes.
type waiting struct {
	mu       sync.Mutex
	depots   map[scan.WaybillID][]scan.DepotID // who waits; guarded by mu
	declared int                               // entries in depots; guarded by mu
	come     map[scan.DepotID]map[scan.WaybillID]int
}

func newWaiting() *waiting {
	return &waiting{depots: map[scan.WaybillID][]scan.DepotID{}, come: map[scan.DepotID]map[scan.WaybillID]int{}}
}

// declare notes that a depot waits for data. It reports how many could not be
// noted for want of room.
func (w *waiting) declare(depot scan.DepotID, ids []scan.WaybillID) (left int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, id := range ids {
		if w.declared >= maxDeclared {
			return len(ids) - i
		}
		if len(id) == 0 || len(id) > 64 || has(w.depots[id], depot) {
			continue
		}
		w.depots[id] = append(w.depots[id], depot)
		w.declared++
	}
	return 0
}

func has(depots []scan.DepotID, depot scan.DepotID) bool {
	for _, d := range depots {
		if d == depot {
			return true
		}
	}
	return false
}

// arrived notes that the data of these waybills has come.
func (w *waiting) arrived(ids ...scan.WaybillID) {
	if len(ids) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		depots, ok := w.depots[id]
		if !ok {
			continue
		}
		delete(w.depots, id)
		w.declared -= len(depots)
		for _, d := range depots {
			if w.come[d] == nil {
				w.come[d] = map[scan.WaybillID]int{}
			}
			w.come[d][id] = 0
		}
	}
}

// ready lists up to most waybills of a depot whose data has come.
func (w *waiting) ready(depot scan.DepotID, most int) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for id, told := range w.come[depot] {
		if len(out) == most {
			break
		}
		out = append(out, string(id))
		if told+1 >= readyTimes {
			delete(w.come[depot], id)
			continue
		}
		w.come[depot][id] = told + 1
	}
	return out
}

// woken notes that a depot asks for these again: it has heard.
func (w *waiting) woken(depot scan.DepotID, ids []scan.WaybillID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	come := w.come[depot]
	for _, id := range ids {
		delete(come, id)
	}
	if len(come) == 0 {
		delete(w.come, depot)
	}
}

// counts tells how many declarations wait, and how many are ready.
func (w *waiting) counts() (declared, ready int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, come := range w.come {
		ready += len(come)
	}
	return w.declared, ready
}
