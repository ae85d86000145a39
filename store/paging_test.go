package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/event"
	"scanrelay/store/internal/storetest"
)

// paged are options under which hardly anything is in memory.
func paged(c *testClock, size int) Options {
	o := small(c)
	o.windowSize = size
	return o
}

// fillMany stores n events of a tenth as many waybills, in several segments.
func fillMany(t *testing.T, o *Outbox, n int) {
	t.Helper()
	for part := range slices.Chunk(slices.Collect(seqs(n)), 200) {
		events := make([]scan.Event, len(part))
		for j, i := range part {
			events[j] = padded(fmt.Sprint("W", i%(n/10)), fmt.Sprint("e", i), 1795000000+int64(i), 1000)
		}
		mustAppend(t, o, events...)
	}
}

func seqs(n int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

// Whatever fits into memory, everything is pushed once, each waybill in order,
// and what is held stays bounded.
func TestPagedOrderPerWaybill(t *testing.T) {
	t.Parallel()
	const size = 64
	n := storetest.Rounds(6000, 2000)
	o := open(t, fastDir(t), paged(newTestClock(), size))
	fillMany(t, o, n)
	syncAll(t, o)
	last := map[scan.WaybillID]uint64{}
	seen := 0
	for {
		recs := mustLease(t, o, 1+seen%17)
		if len(recs) == 0 {
			break
		}
		waybills := map[scan.WaybillID]bool{}
		for _, r := range recs {
			if w := r.Event.Waybill; waybills[w] || r.ID.Seq <= last[w] {
				t.Fatalf("%d of %s leased after %d", r.ID.Seq, w, last[w])
			}
			waybills[r.Event.Waybill], last[r.Event.Waybill] = true, r.ID.Seq
		}
		seen += len(recs)
		if held := o.index.Counts().Held; held > 4*size {
			t.Fatalf("%d are held with windows of %d", held, size)
		}
		settle(t, o, event.Pushed, recs...)
	}
	if seen != n {
		t.Errorf("%d of %d pushed", seen, n)
	}
}

// Fresh before stale holds when neither is in memory at first.
func TestPagedFreshAndStale(t *testing.T) {
	t.Parallel()
	dir, clock := fastDir(t), newTestClock()
	o := open(t, dir, paged(clock, 64))
	for i := range 3000 {
		mustAppend(t, o, newEvent(fmt.Sprint("W", i), "e", 1795000000+int64(i)))
	}
	syncAll(t, o)
	closeChecked(t, o)
	o = open(t, dir, paged(clock, 64))
	young, old := 0, 0
	for range 50 {
		for _, r := range mustLease(t, o, 10) {
			if r.ID.Seq > 2000 {
				young++
			}
			if r.ID.Seq < 1000 {
				old++
			}
			settle(t, o, event.Pushed, r)
		}
	}
	if young != 250 || old != 250 {
		t.Errorf("%d young, %d old of 500", young, old)
	}
	mustAppend(t, o, newEvent("new", "e", 1795009999))
	syncAll(t, o)
	if got := seqsOf(mustLease(t, o, 2)); !slices.Contains(got, 3001) {
		t.Errorf("leased %v, not the scan that just came", got)
	}
}

// A young event of a waybill that has an old one on disk only is not pushed
// before it.
func TestPagedEarlierComesFirst(t *testing.T) {
	dir, clock := fastDir(t), newTestClock()
	o := open(t, dir, paged(clock, 16))
	fillMany(t, o, 2000)
	mustAppend(t, o, newEvent("hidden", "first", 1795100000))
	for i := range 500 {
		mustAppend(t, o, newEvent(fmt.Sprint("X", i), "e", 1795100000))
	}
	mustAppend(t, o, newEvent("hidden", "second", 1795100001))
	for _, o := range []*Outbox{o, open(t, copied(t, dir), paged(clock, 16))} {
		syncAll(t, o)
		if got := mustLease(t, o, 1); len(got) != 1 || got[0].Event.EventID != "first" {
			t.Errorf("leased %+v", got)
		}
		if newest, ok, err := o.Newer("hidden", 2001); err != nil || !ok || newest != 1795100001 {
			t.Errorf("newer: %d %t %v", newest, ok, err)
		}
	}
}

// Millions may wait for data without a place in memory, and all of a waybill's
// events wake together, in order.
func TestPagedWaiting(t *testing.T) {
	o := open(t, fastDir(t), paged(newTestClock(), 32))
	const n = 3000
	fillMany(t, o, n)
	waiting := make([]uint64, n)
	for i := range waiting {
		waiting[i] = uint64(i + 1)
	}
	if err := o.Synced(uint64(n), nil, waiting); err != nil {
		t.Fatal(err)
	}
	if c := o.Counts(); c.State[event.AwaitingWaybill] != n || o.index.Counts().Held != 0 {
		t.Fatalf("%v, %d held", c.State, o.index.Counts().Held)
	}
	if got := mustLease(t, o, 10); len(got) != 0 {
		t.Fatalf("leased %v", seqsOf(got))
	}
	if _, ok := o.Due(); ok {
		t.Error("due although all wait")
	}
	if err := o.Wake("W7", "W8"); err != nil {
		t.Fatal(err)
	}
	if at, ok := o.Due(); !ok || at.After(o.opts.Now()) {
		t.Error("not due although some woke")
	}
	for i := range 10 {
		got := mustLease(t, o, 10)
		slices.SortFunc(got, func(a, b event.Record) int { return int(a.ID.Seq) - int(b.ID.Seq) })
		if len(got) != 2 || got[0].ID.Seq != uint64(i*300+8) || got[1].ID.Seq != uint64(i*300+9) {
			t.Fatalf("leased %v", seqsOf(got))
		}
		settle(t, o, event.Pushed, got...)
	}
	o.WakeEvents(100, 101)
	if got := mustLease(t, o, 10); len(got) != 2 {
		t.Errorf("leased %v", seqsOf(got))
	}
}

// A waybill that is parked waits with all of its events, those on disk too.
func TestPagedPark(t *testing.T) {
	o := open(t, fastDir(t), paged(newTestClock(), 16))
	fillMany(t, o, 1000)
	syncAll(t, o)
	got := mustLease(t, o, 1)
	if err := o.Park(got[0]); err != nil {
		t.Fatal(err)
	}
	if c := o.Counts(); c.State[event.AwaitingWaybill] != 10 {
		t.Errorf("%d wait, want all 10 of the waybill", c.State[event.AwaitingWaybill])
	}
	if n := pushAll(t, o); n != 990 {
		t.Errorf("%d pushed", n)
	}
}

// Appends, syncs and pushes at once, with little in memory.
func TestPagedUnderLoad(t *testing.T) {
	t.Parallel()
	o := open(t, fastDir(t), paged(newTestClock(), 128))
	const n = 4000
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	failed := make(chan error, 2)
	go func() {
		rnd := rand.New(rand.NewPCG(8, 9))
		for i := 0; i < n && ctx.Err() == nil; i++ {
			e := newEvent(fmt.Sprint("W", rnd.IntN(300)), fmt.Sprint("e", i), 1795000000+int64(i))
			if _, err := o.Append(ctx, batch(e)); err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	go func() {
		for ctx.Err() == nil && o.Counts().Watermark < n {
			if err := o.Synced(o.Counts().NextSeq-1, nil, nil); err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	last := map[scan.WaybillID]uint64{}
	for pushed := 0; pushed < n; {
		recs := mustLease(t, o, 32)
		for _, r := range recs {
			if r.ID.Seq <= last[r.Event.Waybill] {
				t.Fatalf("%d of %s leased after %d", r.ID.Seq, r.Event.Waybill, last[r.Event.Waybill])
			}
			last[r.Event.Waybill] = r.ID.Seq
		}
		if pushed += len(recs); len(recs) > 0 {
			settle(t, o, event.Pushed, recs...)
			continue
		}
		select {
		case <-o.Pushable():
		case <-ctx.Done():
			t.Fatalf("%d of %d pushed: %+v", pushed, n, o.Counts())
		}
	}
	for range 2 {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}

// A waybill that is scanned over and over, as the label with which a scanner is
// tried out, has thousands of events: they are pushed in order, and not all of them
// are held because the first one has to be looked for.
func TestPagedManyOfOneWaybill(t *testing.T) {
	t.Parallel()
	const size = 16
	n := storetest.Rounds(3000, 1000)
	o := open(t, fastDir(t), paged(newTestClock(), size))
	for part := range slices.Chunk(slices.Collect(seqs(n)), 500) {
		events := make([]scan.Event, len(part))
		for j, i := range part {
			events[j] = newEvent("W", fmt.Sprint("e", i), 1795000000+int64(i))
		}
		mustAppend(t, o, events...)
	}
	waiting := make([]uint64, n)
	for i := range waiting {
		waiting[i] = uint64(i + 1)
	}
	if err := o.Synced(uint64(n), nil, waiting); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, o, newEvent("W", "last", 1795009999))
	syncAll(t, o)
	for want := uint64(1); want <= uint64(n)+1; want++ {
		got := mustLease(t, o, 3)
		if len(got) != 1 || got[0].ID.Seq != want {
			t.Fatalf("leased %v, want %d", seqsOf(got), want)
		}
		if held := o.index.Counts().Held; held > 64+4*size {
			t.Fatalf("%d are held", held)
		}
		settle(t, o, event.Pushed, got...)
	}
}
