package waiting_test

import (
	"testing"

	"scanrelay/agent/scan"
	"scanrelay/uplink/central/waiting"
)

// TestTold: each depot that declared is told until it asks, but not for ever;
// what can be no number is not noted.
func TestTold(t *testing.T) {
	w, ctx := waiting.New(), t.Context()
	counts := func(declared, ready int) {
		t.Helper()
		if d, r, err := w.Counts(ctx); d != declared || r != ready || err != nil {
			t.Fatalf("%d declared, %d ready, %v; want %d, %d", d, r, err, declared, ready)
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
