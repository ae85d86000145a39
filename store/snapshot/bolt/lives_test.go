package bolt

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/boltfile"
)

// apart is a folder and a copy of it, both of which went on for themselves.
func apart(t *testing.T, o Options) (here, there string) {
	here, there = t.TempDir(), t.TempDir()
	b := open(t, here, o)
	send(t, b, 1, 4)
	mergeNow(t, b)
	send(t, b, 5, 5)
	closed(t, b)
	copyFiles(t, here, there, logName, waybillsName)
	b = open(t, here, o)
	send(t, b, 6, 7)
	importTo(t, b, "HERE")
	mergeNow(t, b)
	send(t, b, 8, 8)
	closed(t, b)
	b = open(t, there, o)
	send(t, b, 6, 6)
	scanOf(t, b, "sh-01", 1)
	importTo(t, b, "THERE")
	scanOf(t, b, "sh-01", 2)
	mergeNow(t, b)
	closed(t, b)
	return here, there
}

func importTo(t *testing.T, b *Store, id scan.WaybillID) {
	t.Helper()
	if _, err := b.Import(t.Context(), []snapshot.Import{{Waybill: id, Data: scan.Waybill{CreateTime: 5}, Children: []scan.WaybillID{id + "-1"}}}); err != nil {
		t.Fatal(err)
	}
}

func scanOf(t *testing.T, b *Store, depot scan.DepotID, seq uint64) {
	t.Helper()
	e := snapshot.Event{Seq: seq, Event: scan.Event{EventID: fmt.Sprint("x", seq), Waybill: "FROM" + scan.WaybillID(depot), ActionTime: 9, ActionType: 200001, ActionMsg: "x"}}
	if _, err := b.Merge(t.Context(), snapshot.Batch{Depot: depot, Epoch: 1, From: seq, NextSeq: seq + 1, Events: []snapshot.Event{e}}); err != nil {
		t.Fatal(err)
	}
}

// TestApart: waybills.db of a copy that was used for a while, put beside the log of the
// store that went on: what either has is there once, both are told of, and depots send
// again what neither has.
func TestApart(t *testing.T) {
	now, move := movable(time.Unix(1_800_000_000, 0))
	o := quiet
	o.Now = now
	sound := func(t *testing.T, b *Store) {
		t.Helper()
		for seq := uint64(1); seq <= 8; seq++ {
			if seq != 7 && nodes(t, b, seq) != 1 { // the 7th was merged here and is in no log any more
				t.Errorf("event %d is in %d nodes", seq, nodes(t, b, seq))
			}
		}
		for _, id := range []scan.WaybillID{"THERE", "THERE-1"} {
			if wb, _, err := b.Lookup(t.Context(), id); err != nil || wb.Data == nil || wb.ID != "THERE" {
				t.Errorf("%s: %+v, %v", id, wb, err)
			}
		}
		if wb, _, err := b.Lookup(t.Context(), "FROMsh-01"); err != nil || len(wb.Nodes) != 2 {
			t.Errorf("of the other depot: %+v, %v", wb.Nodes, err)
		}
		if have(b) != 0 || b.tail.Depots["sh-01"].Effective(1, 100) != 0 {
			t.Errorf("depots are not asked again: have %d", have(b))
		}
		if st := stats(t, b); st.Missing == 0 {
			t.Errorf("not counted as put back: %+v", st)
		}
	}
	for _, trim := range []bool{false, true} {
		here, there := apart(t, o)
		if trim { // as a big one is: what was merged is in it no more
			b := open(t, here, Options{MergeEvery: time.Hour, Key: testKey, LogSize: 1, Now: now})
			b.trimLog()
			closed(t, b)
		}
		before := t.TempDir()
		copyFiles(t, there, before, waybillsName)
		copyFiles(t, there, here, waybillsName)
		move(time.Hour)
		var told []string
		if _, err := boltfile.CheckFolder(here, func(what string) { told = append(told, what) }); err != nil || len(told) != 1 || !strings.Contains(told[0], "went on apart") {
			t.Errorf("checked: %q, %v", told, err)
		}
		b := open(t, here, o)
		damageSays(t, b, "went on apart")
		damageSays(t, b, "put back")
		sound(t, b)
		wb, _, err := b.Lookup(t.Context(), "HERE")
		if err != nil || (wb.Data == nil) != trim || nodes(t, b, 7) == 1 == trim {
			t.Errorf("trimmed %v: %+v, %v", trim, wb, err)
		}
		closed(t, b)
		copyFiles(t, before, here, waybillsName) // a kill came before it was written
		for range 2 {
			b = open(t, here, o)
			sound(t, b)
			mergeNow(t, b)
			closed(t, b)
		}
		b = open(t, here, o)
		if all := strings.Join(stats(t, b).Damage, "\n"); strings.Contains(all, "apart") || strings.Contains(all, "older") {
			t.Errorf("told again: %s", all)
		}
		if m := send(t, b, 1, 9); m.Have != 9 || len(m.Gaps) > 0 {
			t.Errorf("sent again: %+v", m)
		}
		for seq := uint64(1); seq <= 9; seq++ {
			if nodes(t, b, seq) != 1 {
				t.Errorf("event %d is in %d nodes in the end", seq, nodes(t, b, seq))
			}
		}
		closed(t, b)
	}
}

// The newest runs of a store are kept, and of a bounded number of them what each wrote.
func TestLivesAreBounded(t *testing.T) {
	const bound = 100
	var l boltfile.Lives
	for first := range uint64(3 * bound) {
		before := l
		if l = l.Begin(first, int64(first)); len(l) > bound || l.Of(first).First != first {
			t.Fatalf("of %d runs %d are kept, the last %+v", first+1, len(l), l.Of(first))
		}
		if first > 0 && l.Apart(before, first-1) || len(before) > 0 && l.Newer(before)[len(l)-1] != l[len(l)-1] {
			t.Fatalf("with %d runs it is apart from itself before", first+1)
		}
	}
	if len(l) != bound || l.Of(2*bound-1) != (boltfile.Life{}) || l.Of(2*bound).First != 2*bound {
		t.Errorf("%d are kept, the first %+v", len(l), l[0])
	}
}
