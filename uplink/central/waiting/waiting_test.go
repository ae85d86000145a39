package waiting_test

import (
	"fmt"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/uplink/central/waiting"
)

// TestTold: each depot that declared is told until it asks, but not for ever;
// what can be no number is not noted.
func TestTold(t *testing.T) {
	w, ctx := waiting.New(time.Now), t.Context()
	counts := func(declared, ready int) {
		t.Helper()
		if c, err := w.Counts(ctx); c.Declared != declared || c.Ready != ready || err != nil {
			t.Fatalf("%+v, %v; want %d, %d", c, err, declared, ready)
		}
	}
	ready := func(depot scan.DepotID, want int) {
		t.Helper()
		if got, err := w.Ready(ctx, depot, 10); len(got) != want || err != nil {
			t.Fatalf("%s is told %v, %v", depot, got, err)
		}
	}
	for _, d := range []scan.DepotID{"a", "b", "a"} {
		if err := w.Declare(ctx, d, []scan.WaybillID{"W1", "W1", "", scan.WaybillID(make([]byte, 65))}); err != nil {
			t.Fatal(err)
		}
	}
	counts(2, 0)
	for range 2 {
		if err := w.Arrived(ctx, "W1", "NOBODYS"); err != nil {
			t.Fatal(err)
		}
		counts(0, 2)
	}
	for range waiting.ReadyTimes {
		ready("a", 1)
	}
	ready("a", 0)
	ready("b", 1)
	if err := w.Woken(ctx, "b", []scan.WaybillID{"W1"}); err != nil {
		t.Fatal(err)
	}
	ready("b", 0)
	counts(0, 0)
}

// TestOneDepotLeavesRoom: what one credential declares, however much, keeps no other
// from being noted and told; what is dropped is counted.
func TestOneDepotLeavesRoom(t *testing.T) {
	now := time.Unix(1e9, 0)
	w, ctx := waiting.New(func() time.Time { return now }), t.Context()
	ids := make([]scan.WaybillID, 5000)
	for n := range 10 {
		for i := range ids {
			ids[i] = scan.WaybillID(fmt.Sprintf("NO%d-%d", n, i))
		}
		if err := w.Declare(ctx, "hostile", ids); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 26 * 5 { // many depots that are as bad
		for n := range ids {
			ids[n] = scan.WaybillID(fmt.Sprintf("NO%d-%d", i, n))
		}
		if err := w.Declare(ctx, scan.DepotID(fmt.Sprint("d", i%26)), ids); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Declare(ctx, "honest", []scan.WaybillID{"W1"}); err != nil {
		t.Fatal(err)
	}
	if err := w.Arrived(ctx, "W1"); err != nil {
		t.Fatal(err)
	}
	if got, err := w.Ready(ctx, "honest", 10); len(got) != 1 || err != nil {
		t.Errorf("told %v, %v", got, err)
	}
	c, err := w.Counts(ctx)
	if err != nil || c.Declared > 500_000 || c.Dropped < 30_000 {
		t.Errorf("%+v, %v", c, err)
	}
	now = now.Add(waiting.Life + time.Second)
	if err := w.Declare(ctx, "honest", []scan.WaybillID{"W2"}); err != nil {
		t.Fatal(err)
	}
	if c, err := w.Counts(ctx); err != nil || c.Declared != 1 {
		t.Errorf("after their life: %+v, %v", c, err)
	}
}
