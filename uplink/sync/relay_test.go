package sync

import (
	"fmt"
	"log/slog"
	"testing"

	"scanrelay/agent/scan"
	"scanrelay/store/event"
	"scanrelay/uplink/shared"
	"scanrelay/uplink/syncapi"
)

func TestTheSmallerRateHolds(t *testing.T) {
	for _, c := range []struct{ share, limit, want float64 }{{500, 0, 500}, {500, 100, 100}, {50, 100, 50}, {0, 100, 100}, {0, 0, 0}} {
		if got := lesser(c.share, c.limit); got != c.want {
			t.Errorf("share %v, notify.rate %v: %v, want %v", c.share, c.limit, got, c.want)
		}
	}
}

func TestByEpoch(t *testing.T) {
	rec := func(epoch, seq uint64) event.Record { return event.Record{ID: event.ID{Epoch: epoch, Seq: seq}} }
	parts := byEpoch([]event.Record{rec(1, 3), rec(1, 5), rec(2, 9), rec(2, 12)}, 9)
	if len(parts) != 2 || len(parts[0]) != 2 || len(parts[1]) != 1 {
		t.Errorf("parts are %v", parts)
	}
}

// nothingWaits is an outbox in which nothing waits for waybill data.
type nothingWaits struct{ Waiter }

func (nothingWaits) Waiting(int, uint64) ([]event.Record, error) { return nil, nil }

func TestWaitsOverflowDeclaresAll(t *testing.T) {
	q := shared.NewQuestions()
	d := &declarations{outbox: nothingWaits{}, questions: q, log: slog.New(slog.DiscardHandler)}
	heard := func(dec declaration) { d.heard(dec, "s", "p") }
	heard(d.next(10))
	heard(d.next(10))
	if d.pending() {
		t.Error("nothing waits, and still something is to be declared")
	}
	before := d.next(10)
	before.paged = true
	for i := range 5 * syncapi.MaxWaiting {
		q.Declare(scan.WaybillID(fmt.Sprint("W", i)))
	}
	heard(before) // began before the overflow
	if !d.pending() {
		t.Error("a declaration from before the overflow ended it")
	}
	kept := d.next(100_000)
	if n := len(kept.fresh); n > 4*syncapi.MaxWaiting || !d.all {
		t.Errorf("%d fresh ones, all: %v", n, d.all)
	}
}
