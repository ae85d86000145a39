package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/codec"
	"scanrelay/store/event"
	"scanrelay/store/index"
)

// seqsOf lists the numbers of records, rising.
func seqsOf(records []event.Record) (seqs []uint64) {
	for _, r := range records {
		seqs = append(seqs, r.ID.Seq)
	}
	slices.Sort(seqs)
	return seqs
}

// One event of a waybill at a time, in sequence order; a stuck one delays
// no other waybill, a dead one does not hold the later ones of its own.
func TestOrderPerWaybill(t *testing.T) {
	c := newTestClock()
	o := open(t, t.TempDir(), small(c))
	mustAppend(t, o, newEvent("A", "a1", 5), newEvent("A", "a2", 4), newEvent("B", "b1", 3), newEvent("A", "a3", 2))
	if got := mustLease(t, o, 10); len(got) != 0 {
		t.Fatalf("leased %v before the centre has them", seqsOf(got))
	}
	syncAll(t, o)
	got := mustLease(t, o, 10)
	if fmt.Sprint(seqsOf(got)) != "[1 3]" {
		t.Fatalf("leased %v, want a1 and b1", seqsOf(got))
	}
	if err := o.Release(event.Retry{Seq: 1, At: c.Now().Add(time.Minute), Attempts: 1, Last: event.Reply{Reason: "timeout"}}); err != nil {
		t.Fatal(err)
	}
	settle(t, o, event.Pushed, event.Record{ID: event.ID{Seq: 3}})
	if got := mustLease(t, o, 10); len(got) != 0 {
		t.Errorf("leased %v while a1 waits", seqsOf(got))
	}
	if next, ok := o.Due(); !ok || !next.Equal(c.Now().Add(time.Minute)) {
		t.Errorf("due %v %t", next, ok)
	}
	c.advance(time.Minute)
	got = mustLease(t, o, 10)
	if len(got) != 1 || got[0].Attempts != 1 || got[0].Last.Reason != "timeout" {
		t.Fatalf("leased %+v, want a1 again", got)
	}
	settle(t, o, event.Dead, got...)
	if got = mustLease(t, o, 10); len(got) != 1 || got[0].ID.Seq != 2 {
		t.Errorf("leased %v, want a2", seqsOf(got))
	}
}

func TestLeaseRunsOut(t *testing.T) {
	c := newTestClock()
	o := open(t, t.TempDir(), small(c))
	appendN(t, o, 1)
	syncAll(t, o)
	mustLease(t, o, 1)
	c.advance(time.Minute)
	ctx := context.Background()
	if err := o.Settle(ctx, []event.Settlement{{Seq: 1, Outcome: event.Pushed}}); !errors.Is(err, event.ErrNotLeased) {
		t.Errorf("settle: %v", err)
	}
	if err := o.Release(event.Retry{Seq: 1}); !errors.Is(err, event.ErrNotLeased) {
		t.Errorf("release: %v", err)
	}
	if err := o.Park(event.Record{ID: event.ID{Seq: 1}}); !errors.Is(err, event.ErrNotLeased) {
		t.Errorf("park: %v", err)
	}
	r := mustLease(t, o, 1)
	if len(r) != 1 {
		t.Fatal("it cannot be leased again")
	}
	settle(t, o, event.Pushed, r...)
	if err := o.Settle(ctx, []event.Settlement{{Seq: 1, Outcome: event.Dead}}); !errors.Is(err, event.ErrNotLeased) {
		t.Errorf("settled twice: %v", err)
	}
	if err := o.Settle(ctx, []event.Settlement{{Seq: 1, Outcome: event.ToPush}}); err == nil || errors.Is(err, event.ErrNotLeased) {
		t.Errorf("settled to no outcome: %v", err)
	}
}

// Whoever held a lease that ran out cannot end the one that came after it.
func TestLeaseHasAnOwner(t *testing.T) {
	c := newTestClock()
	o := open(t, t.TempDir(), small(c))
	appendN(t, o, 1)
	syncAll(t, o)
	first := mustLease(t, o, 1)[0]
	c.advance(time.Minute)
	second := mustLease(t, o, 1)[0]
	if first.Lease == 0 || first.Lease == second.Lease {
		t.Fatalf("leases %d and %d", first.Lease, second.Lease)
	}
	ctx := context.Background()
	if err := o.Settle(ctx, []event.Settlement{{Seq: 1, Lease: first.Lease, Outcome: event.Pushed}}); !errors.Is(err, event.ErrNotLeased) {
		t.Errorf("settle: %v", err)
	}
	if err := o.Release(event.Retry{Seq: 1, Lease: first.Lease}); !errors.Is(err, event.ErrNotLeased) {
		t.Errorf("release: %v", err)
	}
	if err := o.Park(first); !errors.Is(err, event.ErrNotLeased) {
		t.Errorf("park: %v", err)
	}
	settle(t, o, event.NotBound, second)
	if c := o.Counts(); c.State[event.NotBound] != 1 {
		t.Errorf("%v", c.State)
	}
}

// Half of the leases go to the youngest waybills, half to the oldest.
func TestFreshBeforeStale(t *testing.T) {
	o := open(t, t.TempDir(), small(newTestClock()))
	appendN(t, o, 100)
	syncAll(t, o)
	young, old := 0, 0
	for _, seq := range seqsOf(mustLease(t, o, 10)) {
		switch {
		case seq > 95:
			young++
		case seq <= 5:
			old++
		}
	}
	if young != 5 || old != 5 {
		t.Errorf("%d young, %d old", young, old)
	}
	// One at a time they take turns.
	a, b := mustLease(t, o, 1)[0].ID.Seq, mustLease(t, o, 1)[0].ID.Seq
	if (a > 50) == (b > 50) {
		t.Errorf("leased %d and %d", a, b)
	}
}

// Waiting for data is a matter of the whole waybill.
func TestParkAndWake(t *testing.T) {
	o := open(t, t.TempDir(), small(newTestClock()))
	mustAppend(t, o, newEvent("A", "a1", 1), newEvent("A", "a2", 2), newEvent("B", "b1", 3), newEvent("C", "c1", 4))
	if err := o.Synced(4, nil, []uint64{3}); err != nil {
		t.Fatal(err)
	}
	r := mustLease(t, o, 10)
	if len(r) != 2 {
		t.Fatalf("leased %v", seqsOf(r))
	}
	if err := o.Park(r[slices.IndexFunc(r, func(r event.Record) bool { return r.ID.Seq == 1 })]); err != nil {
		t.Fatal(err)
	}
	if c := o.Counts(); c.State[event.AwaitingWaybill] != 3 || c.State[event.ToPush] != 1 {
		t.Errorf("%v", c.State)
	}
	if got, err := o.Waiting(10, 0); err != nil || fmt.Sprint(seqsOf(got)) != "[1 2 3]" {
		t.Errorf("waiting %v, %v", seqsOf(got), err)
	}
	if got := mustLease(t, o, 10); len(got) != 0 {
		t.Errorf("leased %v", seqsOf(got))
	}
	drained(o.Pushable())
	if err := o.Wake("A", "unknown"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-o.Pushable():
	default:
		t.Error("nobody was told")
	}
	if got := mustLease(t, o, 10); len(got) != 1 || got[0].ID.Seq != 1 {
		t.Errorf("leased %v", seqsOf(got))
	}
	// New data for a waybill wakes what waits.
	mustAppend(t, o, newEvent("B", "b2", 5))
	if err := o.Synced(5, nil, nil); err != nil {
		t.Fatal(err)
	}
	if got := mustLease(t, o, 10); len(got) != 1 || got[0].ID.Seq != 3 {
		t.Errorf("leased %v", seqsOf(got))
	}
}

func drained(c <-chan struct{}) {
	select {
	case <-c:
	default:
	}
}

// The centre lost what is above: it is sent again, and what is finished is not
// pushed again. Nothing is pushed before the centre has it once more.
func TestFinishedBelow(t *testing.T) {
	t.Parallel()
	o := open(t, fastDir(t), small(newTestClock()))
	want := func(when string, below uint64) {
		t.Helper()
		if got := o.Counts().Finished; got != below {
			t.Errorf("%s: all below %d is finished, want %d", when, got, below)
		}
	}
	want("empty", 1)
	appendN(t, o, 3)
	want("unsynced", 1)
	syncAll(t, o)
	want("to be pushed", 1)
	r := mustLease(t, o, 3)
	slices.SortFunc(r, func(a, b event.Record) int { return cmp.Compare(a.ID.Seq, b.ID.Seq) })
	settle(t, o, event.Pushed, r[0])
	want("one is pushed", 2)
	settle(t, o, event.Dead, r[1])
	settle(t, o, event.Pushed, r[2])
	want("the second died", 2)
	if _, err := o.Discard(t.Context(), "no", o.DeadIDs()...); err != nil {
		t.Fatal(err)
	}
	want("all ended", 4)
	mustAppend(t, o, newEvent("W", "next", 1))
	want("the next came", 4)
	if err := o.Rewind(0); err != nil {
		t.Fatal(err)
	}
	want("the centre has lost all", 1)
}

func TestRewind(t *testing.T) {
	dir := t.TempDir()
	c := newTestClock()
	o := open(t, dir, small(c))
	appendN(t, o, 6)
	syncAll(t, o)
	settle(t, o, event.Pushed, mustLease(t, o, 2)...)
	if err := o.Rewind(0); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		u, err := o.Unsynced(10, 1<<20)
		if err != nil || len(u) != 6 {
			t.Fatalf("%d unsynced, %v", len(u), err)
		}
		for _, r := range u {
			if want := r.ID.Seq == 1 || r.ID.Seq == 6; r.Ended != want {
				t.Errorf("%d has ended: %t, want %t", r.ID.Seq, r.Ended, want)
			}
		}
		if got := mustLease(t, o, 10); len(got) != 0 {
			t.Errorf("leased %v", seqsOf(got))
		}
	}
	check()
	closeChecked(t, o)
	o = open(t, dir, small(c))
	check()
	if err := o.Synced(6, []event.Settlement{{Seq: 1, Outcome: event.Superseded}}, nil); err != nil {
		t.Fatal(err)
	}
	if n := pushAll(t, o); n != 4 {
		t.Errorf("%d pushed again", n)
	}
	if got := o.Counts(); got.State[event.Pushed] != 6 {
		t.Errorf("%v: an outcome was changed", got.State)
	}
}

// What a commit adds is synced with all before it, also while it is only half in
// memory: the watermark would pass what was left out.
func TestUnsyncedDuringACommit(t *testing.T) {
	o := open(t, t.TempDir(), small(newTestClock()))
	appendN(t, o, 2)
	syncAll(t, o)
	if err := o.Rewind(0); err != nil { // from now on what is finished is looked for
		t.Fatal(err)
	}
	o.mu.Lock()
	b, e := o.journal.NewBatch(), newEvent("half", "e", 1)
	seq := b.AddEvent(codec.EncodeEvent(&e), e.Waybill)
	if err := o.journal.Commit(b, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	o.journal.Applied(b)
	got := make(chan []event.Record, 1)
	go func() {
		u, err := o.Unsynced(10, 1<<20)
		if err != nil {
			t.Error(err)
		}
		got <- u
	}()
	select {
	case u := <-got:
		t.Errorf("%v, with %d left out or half known", seqsOf(u), seq)
		got <- u
	case <-time.After(20 * time.Millisecond):
	}
	o.index.Add([]index.Added{{Seq: seq, Event: &e}})
	o.mu.Unlock()
	if u := <-got; len(u) != 3 || u[2].State != event.Unsynced {
		t.Errorf("unsynced: %v", seqsOf(u))
	}
}

func TestSyncedEndsAndLateness(t *testing.T) {
	o := open(t, t.TempDir(), small(newTestClock()))
	mustAppend(t, o, newEvent("A", "a1", 100), newEvent("A", "a2", 300), newEvent("A", "a3", 200))
	if newest, ok, err := o.Newer("A", 1); err != nil || !ok || newest != 300 {
		t.Errorf("newer than a1: %d %t", newest, ok)
	}
	if newest, ok, err := o.Newer("A", 2); err != nil || !ok || newest != 200 {
		t.Errorf("newer than a2: %d %t", newest, ok)
	}
	if _, ok, _ := o.Newer("A", 3); ok {
		t.Error("there is nothing after a3")
	}
	if err := o.Synced(3, []event.Settlement{{Seq: 2, Outcome: event.Superseded, Last: event.Reply{Reason: "late"}}}, nil); err != nil {
		t.Fatal(err)
	}
	if got := mustLease(t, o, 10); len(got) != 1 || got[0].ID.Seq != 1 {
		t.Errorf("leased %v", seqsOf(got))
	}
	if c := o.Counts(); c.State[event.Superseded] != 1 || c.State[event.ToPush] != 2 {
		t.Errorf("%v", c.State)
	}
}

func TestOfWaybills(t *testing.T) {
	o := open(t, t.TempDir(), small(newTestClock()))
	mustAppend(t, o, newEvent("A", "a1", 1), newEvent("B", "b1", 2), newEvent("C", "c1", 3), newEvent("A", "a2", 4))
	syncAll(t, o)
	settle(t, o, event.Pushed, mustLease(t, o, 2)...)
	got, err := o.OfWaybills([]scan.WaybillID{"A", "C", "none"}, 10)
	if err != nil || fmt.Sprint(seqsOf(got)) != "[1 3 4]" {
		t.Errorf("%v, %v", seqsOf(got), err)
	}
	if got, err = o.OfWaybills([]scan.WaybillID{"A", "C"}, 2); err != nil || fmt.Sprint(seqsOf(got)) != "[3 4]" {
		t.Errorf("%v, %v", seqsOf(got), err)
	}
}

func TestUnsyncedBounds(t *testing.T) {
	o := open(t, t.TempDir(), small(newTestClock()))
	for i := range 10 {
		mustAppend(t, o, padded("W", fmt.Sprint(i), 1, 1000))
	}
	for _, c := range []struct{ max, bytes, want int }{{3, 1 << 20, 3}, {10, 1, 1}, {10, 3500, 3}, {100, 1 << 20, 10}} {
		if got, err := o.Unsynced(c.max, c.bytes); err != nil || len(got) != c.want {
			t.Errorf("%+v: %d, %v", c, len(got), err)
		}
	}
}
