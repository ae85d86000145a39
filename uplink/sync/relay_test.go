package sync

import (
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/event"
	"scanrelay/uplink/policy"
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

// manyWait is an outbox in which that many waybills wait for data.
type manyWait struct {
	Waiter
	n int
}

func (m manyWait) Waiting(most int, after uint64) (out []event.Record, _ error) {
	for seq := after + 1; seq <= uint64(m.n) && len(out) < most; seq++ {
		out = append(out, event.Record{ID: event.ID{Seq: seq}, Event: scan.Event{Waybill: scan.WaybillID(fmt.Sprint("W", seq))}})
	}
	return out, nil
}

// TestCentresTakingTurns: where each answer comes from a process that knows of no
// declaration, what waits is declared once a minute, not with each call; and where
// one stays, every ten minutes, as it forgets, or was not heard.
func TestCentresTakingTurns(t *testing.T) {
	declared := func(process func(call int) string, calls int) (ids int) {
		synctest.Test(t, func(t *testing.T) {
			d := &declarations{outbox: manyWait{n: 9000}, questions: shared.NewQuestions(), log: slog.New(slog.DiscardHandler)}
			for call := range calls {
				dec := d.next(2000)
				ids += len(dec.page)
				d.heard(dec, "store", process(call))
				time.Sleep(time.Second)
			}
		})
		return ids
	}
	if n := declared(func(call int) string { return fmt.Sprint(call % 2) }, 600); n > 12*9000 || n < 2*9000 {
		t.Errorf("%d declarations in ten minutes of centres that take turns", n)
	}
	if n := declared(func(int) string { return "one" }, 3600); n > 6*9000 || n < 5*9000 {
		t.Errorf("%d declarations in an hour of one centre", n)
	}
}

// growing is an outbox in which an event is stored whenever it is read.
type growing struct {
	Outbox
	recs []event.Record
}

func (g *growing) Unsynced(int, int) ([]event.Record, error) {
	g.recs = append(g.recs, event.Record{ID: event.ID{Epoch: 1, Seq: uint64(len(g.recs) + 1)}, State: event.Unsynced})
	return g.recs, nil
}

func (g *growing) Counts() event.Counts {
	c := event.Counts{Epoch: 1, NextSeq: uint64(len(g.recs) + 1)}
	c.State[event.Unsynced] = uint64(len(g.recs))
	return c
}

func (*growing) Waiting(int, uint64) ([]event.Record, error) { return nil, nil }

type believable struct{ shared.Clock }

func (believable) Believable() bool { return true }

type noValve struct{ Valve }

func (noValve) BadToken() string                  { return "" }
func (noValve) Accepted() (string, time.Duration) { return "", 0 }

// TestStoredWhileBuilding: an event that is stored while a request is built has a
// number below its next_seq, as the centre wants it.
func TestStoredWhileBuilding(t *testing.T) {
	out, q := &growing{}, shared.NewQuestions()
	s := &Relay{Config: Config{Outbox: out, Valve: noValve{}}, declarations: declarations{outbox: out, questions: q}}
	s.Clock, s.Gate, s.Questions, s.Bindings = believable{}, &policy.Gate{}, q, shared.NewBindings(time.Hour, time.Hour)
	b, err := s.build()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(b.req.Events); n != 1 || b.req.Events[0].Seq >= b.req.NextSeq || b.full {
		t.Errorf("%d events, the last with %d, next_seq %d, full %v", n, b.req.Events[n-1].Seq, b.req.NextSeq, b.full)
	}
}
