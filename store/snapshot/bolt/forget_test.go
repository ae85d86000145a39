package bolt

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/boltfile"
)

// forgetAll calls Forget until it is done, and tells what went and in how many
// calls.
func forgetAll(t testing.TB, b *Store, keep time.Duration) (f snapshot.Forgotten, calls int) {
	t.Helper()
	for {
		g, err := b.Forget(t.Context(), snapshot.Retention{Keep: keep})
		if err != nil {
			t.Fatal(err)
		}
		calls++
		f.Waybills, f.Answers, f.Bindings = f.Waybills+g.Waybills, f.Answers+g.Answers, f.Bindings+g.Bindings
		if g.Done {
			return f, calls
		}
	}
}

// TestForgetLooksAtOldOnly: a round costs what is old, not what there is; and in
// the end all of it goes.
func TestForgetLooksAtOldOnly(t *testing.T) {
	const depots, each, run = 20, 500, 128 // numbers of a run are forgotten together
	dir := t.TempDir()
	now, move := movable(time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC))
	b := open(t, dir, Options{MergeEvery: time.Hour, Now: now})
	batch := func(depot scan.DepotID, from, to uint64) {
		in := snapshot.Batch{Depot: depot, Epoch: 1, From: from, NextSeq: to + 1}
		for seq := from; seq <= to; seq++ {
			e := event(seq)
			e.Waybill += scan.WaybillID(depot)
			e.ActionTime, e.ActionMsg = now().Unix(), "x"
			e.Data = &scan.Waybill{CreateTime: now().Unix(), Receiver: scan.Party{Phone: scan.Phone(e.Waybill)}}
			in.Events = append(in.Events, e)
			in.Bindings = append(in.Bindings, snapshot.Observation{Waybill: e.Waybill, Exist: true, At: now()})
		}
		for range 2 { // bindings are filed under data that is known
			if _, err := b.Merge(t.Context(), in); err != nil {
				t.Fatal(err)
			}
		}
	}
	batch("d0", 1, run-1)
	move(3 * time.Hour)
	for d := range depots {
		batch(scan.DepotID("d"+string(rune('a'+d))), 1, each)
	}
	batch("d0", run, run)
	f, calls := forgetAll(t, b, 2*time.Hour)
	if f.Waybills != run-1 || f.Answers != run-1 || f.Bindings != run-1 || calls > len(stages) {
		t.Errorf("forgot %+v in %d calls", f, calls)
	}
	const all = depots*each + 1
	for i := range uint64(3) { // an hour a round
		move(time.Hour)
		batch("d0", run+1+i, run+1+i)
		batch("da", each+1+i, each+1+i)
		f, _ = forgetAll(t, b, 2*time.Hour)
	}
	if f.Waybills != all || f.Answers < all-2*run || f.Bindings != all || stats(t, b).Waybills != 6 {
		t.Errorf("forgot %+v, %d are left", f, stats(t, b).Waybills)
	}
	closed(t, b)
	if _, err := boltfile.CheckFolder(dir, func(what string) { t.Error(what) }); err != nil {
		t.Error(err)
	}
}

// BenchmarkForget forgets waybills of eight events each, from 300 depots, with a
// binding each: go test -bench Forget -benchtime 1000000x.
func BenchmarkForget(b *testing.B) {
	now, move := movable(time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC))
	s := open(b, b.TempDir(), Options{Now: now})
	const depots, batch = 300, 500
	seqs := make([]uint64, depots)
	events := make([][]snapshot.Event, depots)
	learned := make([][]snapshot.Observation, depots) // of waybills that were synced before
	flush := func(d int) {
		n := uint64(len(events[d]))
		if n == 0 {
			return
		}
		in := snapshot.Batch{Depot: scan.DepotID(fmt.Sprintf("depot-%03d", d)), Epoch: 1, From: seqs[d] - n + 1, NextSeq: seqs[d] + 1, Events: events[d], Bindings: learned[d]}
		learned[d] = nil
		for _, e := range events[d] {
			if e.Data != nil {
				learned[d] = append(learned[d], snapshot.Observation{Waybill: e.Waybill, Exist: true, At: now()})
			}
		}
		m, err := s.Merge(b.Context(), in)
		if err != nil || m.Rewind {
			b.Fatal(m, err)
		}
		events[d] = nil
	}
	for i := range b.N {
		for node := range 8 { // a parcel's way; its neighbours come at other places at other times
			d := (i*7 + node*31) % depots
			seqs[d]++
			e := snapshot.Event{Seq: seqs[d], Event: scan.Event{
				EventID: fmt.Sprintf("%d-%d", i, node), Waybill: scan.WaybillID(fmt.Sprintf("YT%013d", uint64(i)*2654435761%1e13)),
				ActionTime: now().Unix(), ActionType: 200001, ActionMsg: "快件到达 【杭州转运中心】",
			}}
			if node == 0 {
				e.Data = &scan.Waybill{CreateTime: now().Unix(), Receiver: scan.Party{Name: "李四", Phone: scan.Phone(fmt.Sprint(13000000000 + int64(i))), City: "泉州市"}}
			}
			if events[d] = append(events[d], e); len(events[d]) == batch {
				flush(d)
			}
		}
	}
	for d := range depots {
		flush(d)
	}
	flushedAt := stats(b, s).FileBytes
	move(3 * time.Hour)
	for d := range 2 { // whose time is believed
		seqs[d]++
		events[d] = []snapshot.Event{{Seq: seqs[d], Event: scan.Event{EventID: "new", Waybill: "YT0", ActionTime: now().Unix(), ActionType: 200001}}}
		flush(d)
	}
	s.mergeAll()
	b.ResetTimer()
	var from, to syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &from)
	f, calls := forgetAll(b, s, 2*time.Hour)
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &to)
	used := time.Duration(to.Utime.Nano() + to.Stime.Nano() - from.Utime.Nano() - from.Stime.Nano())
	b.ReportMetric(float64(used.Microseconds())/float64(b.N), "cpu-µs/op")
	b.ReportMetric(512*float64(to.Oublock-from.Oublock)/float64(b.N), "written-B/op")
	b.ReportMetric(float64(f.Waybills)/float64(b.N), "waybills/op")
	b.ReportMetric(float64(f.Answers)/float64(b.N), "answers/op")
	b.ReportMetric(float64(f.Bindings)/float64(b.N), "bindings/op")
	b.ReportMetric(float64(calls), "calls")
	b.ReportMetric(float64(flushedAt)/float64(b.N), "bytes/op")
}
