package snapshottest

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
)

// model is the contract again, as simply as it can be written: lists, no
// batches, nothing on disk.
type model struct {
	paths   map[scan.WaybillID]*modelPath
	answers map[modelNumber]modelAnswer
	have    map[scan.DepotID]uint64
}

type modelNumber struct {
	depot scan.DepotID
	seq   uint64
}

type modelAnswer struct {
	id     string
	result snapshot.Result
}

type modelPath struct {
	create   int64
	imported bool
	since    int64
	nodes    []scan.PathNode
}

func (m *model) path(id scan.WaybillID) *modelPath {
	if m.paths[id] == nil {
		m.paths[id] = &modelPath{}
	}
	return m.paths[id]
}

func (p *modelPath) data(create int64, imported bool) {
	switch {
	case p.create == 0:
	case create > p.create+30*86400:
		p.since = create - 86400
		var kept []scan.PathNode
		for _, n := range p.nodes {
			if n.ActionTime >= p.since {
				kept = append(kept, n)
			}
		}
		p.nodes = kept
	case !imported:
		return
	case p.since != 0:
		p.since = min(p.since, create-86400)
	}
	p.create, p.imported = create, imported
}

// lost: it was taken, left the path with its life, and that life's beginning was
// put right since.
func (p *modelPath) lost(depot scan.DepotID, e snapshot.Event, result snapshot.Result) bool {
	for _, n := range p.nodes {
		if n.Depot == depot && n.EventID == e.EventID {
			return false
		}
	}
	return result != snapshot.Duplicate && e.ActionTime >= p.since
}

func (m *model) event(depot scan.DepotID, e snapshot.Event) snapshot.Result {
	p, k := m.path(e.Waybill), modelNumber{depot, e.Seq}
	var result snapshot.Result
	if a, ok := m.answers[k]; ok && !p.lost(depot, e, a.result) {
		result = a.result
		if e.Data != nil {
			p.data(e.Data.CreateTime, false)
		}
		if result == snapshot.Taken && e.ActionTime < p.since {
			result = snapshot.Late
		}
		return result
	}
	m.have[depot] = max(m.have[depot], e.Seq)
	for _, n := range p.nodes {
		if n.Depot == depot && n.EventID == e.EventID {
			m.answers[k] = modelAnswer{string(e.Waybill) + e.EventID, snapshot.Duplicate}
			return snapshot.Duplicate
		}
	}
	if e.Data != nil {
		p.data(e.Data.CreateTime, false)
	}
	result = snapshot.Taken
	for _, n := range p.nodes {
		if !n.Muted && n.ActionTime > e.ActionTime {
			result = snapshot.Late
		}
	}
	if e.ActionTime < p.since {
		result = snapshot.Late
	} else {
		p.nodes = append(p.nodes, scan.PathNode{
			Depot: depot, EventID: e.EventID, ActionTime: e.ActionTime, ActionType: e.ActionType, ActionMsg: e.ActionMsg,
			Delivery: e.Delivery, Muted: e.Muted, Late: result == snapshot.Late,
		})
	}
	m.answers[k] = modelAnswer{string(e.Waybill) + e.EventID, result}
	return result
}

// contractRandom compares the store with the model after each of many random
// calls, with restarts in between.
func contractRandom(t *testing.T, fresh Fresh) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(t, fresh, false)
	m := &model{map[scan.WaybillID]*modelPath{}, map[modelNumber]modelAnswer{}, map[scan.DepotID]uint64{}}
	depots := []scan.DepotID{"a", "b", "c"}
	sent := map[scan.DepotID][]snapshot.Event{}
	waybill := func() string { return fmt.Sprintf("WAYBILL%d", r.IntN(4)) }
	for range 400 {
		switch r.IntN(12) {
		case 0:
			w.reopen()
		case 1:
			id, days := waybill(), r.IntN(120)
			m.path(scan.WaybillID(id)).data(start.Unix()+int64(days)*86400, true)
			w.imports(id, data(days, phoneA))
		default:
			d := depots[r.IntN(len(depots))]
			history := sent[d]
			from := max(0, len(history)-r.IntN(4)) // some are sent again
			for range r.IntN(5) {
				e := ev(uint64(len(history)+1), waybill(), fmt.Sprintf("e%d", r.IntN(40)), r.IntN(120*24*60))
				e.Muted = r.IntN(4) == 0
				if r.IntN(6) == 0 {
					e = with(e, data(r.IntN(120), phoneB))
				}
				history = append(history, e)
			}
			sent[d] = history
			got := w.merge(batch(d, 1, history[from:]...))
			for i, e := range history[from:] {
				if want := m.event(d, e); got.Answers[i].Result != want {
					t.Fatalf("depot %s, event %d: answer %v, the model says %v", d, e.Seq, got.Answers[i], want)
				}
			}
			w.equal("have", got.Have, m.have[d])
		}
		compare(w, m)
	}
}

func compare(w *world, m *model) {
	w.Helper()
	for id, p := range m.paths {
		got, _, err := w.store.Lookup(w.Context(), id)
		if err != nil {
			w.Fatal(err)
		}
		if len(got.Nodes)+len(p.nodes) > 0 && !reflect.DeepEqual(got.Nodes, p.nodes) {
			w.Fatalf("path of %s: %s, the model says %s", id, pathOf(got.Nodes), pathOf(p.nodes))
		}
		if p.create != 0 && (got.Data == nil || got.Data.CreateTime != p.create || got.Imported != p.imported) {
			w.Fatalf("data of %s: %+v", id, got.Data)
		}
	}
}

// contractConcurrent reads while depots write and the store merges behind them:
// a path that a depot has been answered for never shrinks, in no reader's eyes.
func contractConcurrent(t *testing.T, fresh Fresh) {
	w := newWorld(t, fresh, false)
	const depots, rounds = 4, 60
	var taken [depots]atomic.Int64
	stop := make(chan struct{})
	var writers, readers sync.WaitGroup
	for d := range depots {
		id := scan.DepotID(fmt.Sprintf("d%d", d))
		writers.Go(func() {
			for i := range rounds {
				e := ev(uint64(i+1), "SHARED99", fmt.Sprintf("e%d", i), i)
				if _, err := w.store.Merge(t.Context(), batch(id, 1, e)); err != nil {
					t.Errorf("merge: %v", err)
					return
				}
				taken[d].Add(1)
			}
		})
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				want := taken[d].Load()
				if n := nodesOf(w, t, id); n < want {
					t.Errorf("depot %s was answered for %d nodes, a lookup shows %d", id, want, n)
					return
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	w.reopen()
	got, _, err := w.store.Lookup(t.Context(), "SHARED99")
	if err != nil || len(got.Nodes) != depots*rounds {
		t.Errorf("%d nodes after all, want %d (%v)", len(got.Nodes), depots*rounds, err)
	}
}

func nodesOf(w *world, t *testing.T, depot scan.DepotID) (n int64) {
	got, _, err := w.store.Lookup(t.Context(), "SHARED99")
	if err != nil {
		t.Errorf("lookup: %v", err)
	}
	for _, node := range got.Nodes {
		if node.Depot == depot {
			n++
		}
	}
	return n
}
