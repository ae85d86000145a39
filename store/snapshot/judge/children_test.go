package judge_test

import (
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/judge"
)

// TestChildReplay: whichever of the two states was stored before a stop, the
// records give the other what it lacks, and the one nothing twice.
func TestChildReplay(t *testing.T) {
	const mother, child = scan.WaybillID("MOTHER"), scan.WaybillID("CHILD")
	scanned := judge.NewGroup(judge.NewFacts(), secret, 1)
	e := snapshot.Event{Seq: 1, Event: scan.Event{Waybill: child, EventID: "a", ActionTime: 5}}
	scanned.Judge(&judge.Call{Batch: snapshot.Batch{Depot: "hz-01", Epoch: 1, From: 1, NextSeq: 2, Events: []snapshot.Event{e}}}, time.Unix(9, 0))
	before := scanned.Changed
	live := judge.NewGroup(before, secret, 2)
	live.Judge(&judge.Call{Imports: []snapshot.Import{{Waybill: mother, Children: []scan.WaybillID{child}}}}, time.Unix(9, 0))
	for _, stored := range [][]scan.WaybillID{nil, {mother}, {child}, {mother, child}} {
		f := judge.NewFacts()
		f.Depots, f.Waybills[child] = before.Depots, before.Waybills[child]
		for _, id := range stored {
			f.Waybills[id] = live.Changed.Waybills[id]
		}
		again := judge.NewGroup(f, secret, 2)
		for i, r := range live.Records {
			again.Apply(r, uint64(i)+2)
		}
		state := func(id scan.WaybillID) *judge.State {
			if st := again.Changed.Waybills[id]; st != nil {
				return st
			}
			return f.Waybills[id]
		}
		m, c := state(mother), state(child)
		if len(m.Nodes) != 1 || m.Nodes[0].Parcel != child || m.Children != 1 || c.Mother != mother || len(c.Nodes) != 0 {
			t.Errorf("with %v stored: mother %+v, child %+v", stored, m, c)
		}
	}
}
