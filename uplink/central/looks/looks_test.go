package looks

import (
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/uplink/central/internal/documents"
	"scanrelay/uplink/syncapi/order"
)

func over(t *documents.Table) *Looks {
	return New(Options{Table: t, Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
}

func at(t *testing.T, l *Looks, id scan.WaybillID) Known {
	t.Helper()
	k, err := l.At(t.Context(), id, []scan.DepotID{"hz-01"})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestTwoProcesses: somebody looks at one process, the depot calls the other, and both
// know what it said. A depot that never answers is not asked for ever.
func TestTwoProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := documents.New(nil)
		one, two := over(table), over(table)
		go two.Run(t.Context())
		synctest.Wait()
		at(t, one, "W1")
		time.Sleep(lookEvery + time.Millisecond)
		synctest.Wait()
		if got := two.Of("hz-01"); len(got) != 1 || got[0] != "W1" {
			t.Fatalf("the other asks about %v", got)
		}
		if err := two.Heard(t.Context(), "hz-01", []order.Looked{{Waybill: "W1", Fate: order.Fate{EventID: "e", Outcome: "pushed"}}}); err != nil {
			t.Fatal(err)
		}
		if k := at(t, one, "W1"); len(k.Pushes) != 1 || len(k.Asked) != 0 {
			t.Errorf("%+v", k)
		}
		at(t, two, "W2")
		time.Sleep(askLife + lookEvery)
		synctest.Wait()
		if got := two.Of("hz-01"); len(got) != 0 {
			t.Errorf("asked for ever about %v", got)
		}
		if k := at(t, two, "W2"); len(k.Asked) != 1 || len(two.Of("hz-01")) != 1 {
			t.Errorf("who looks later asks anew: %+v", k)
		}
	})
}

// TestToldAlready: a depot that is asked in memory alone, as it answered beside another one,
// is asked no more once it answers again; those that were asked too long ago are not either.
func TestToldAlready(t *testing.T) {
	l := over(documents.New(nil))
	now := time.Now()
	l.o.Now = func() time.Time { return now }
	at(t, l, "W1")
	if err := l.Heard(t.Context(), "hz-01", []order.Looked{{Waybill: "W1"}}); err != nil {
		t.Fatal(err)
	}
	l.open["hz-01"] = []scan.WaybillID{"W1"}
	if err := l.Heard(t.Context(), "hz-01", []order.Looked{{Waybill: "W1"}}); err != nil || len(l.Of("hz-01")) != 0 {
		t.Errorf("%v, it is asked about %v", err, l.Of("hz-01"))
	}
	now = now.Add(askAgain)
	at(t, l, "W1")
	now = now.Add(askLife)
	if _, err := l.At(t.Context(), "W1", []scan.DepotID{"sh-01"}); err != nil || len(l.Of("hz-01")) != 0 || len(l.Of("sh-01")) != 1 {
		t.Errorf("%v, asked about %v and %v", err, l.Of("hz-01"), l.Of("sh-01"))
	}
}

// TestPlaces: however many waybills are looked at, so many are kept, and damage costs no
// more than the question.
func TestPlaces(t *testing.T) {
	table := documents.New(nil)
	l := over(table)
	now := time.Now()
	l.o.Now = func() time.Time { now = now.Add(time.Second); return now }
	for i := range 3 * places {
		at(t, l, scan.WaybillID(fmt.Sprint("W", i)))
	}
	if n := len(table.All()); n > places {
		t.Errorf("%d are kept", n)
	}
	if n := len(l.Of("hz-01")); n > order.MaxLooks {
		t.Errorf("%d at once", n)
	}
	for name := range table.All() {
		table.Change(name, func(doc []byte) []byte { return doc[:len(doc)/2] })
	}
	if err := l.look(t.Context()); err != nil || len(l.Of("hz-01")) != 0 {
		t.Errorf("%v, %v", err, l.open)
	}
	if k := at(t, l, "W1"); len(k.Asked) != 1 {
		t.Errorf("%+v", k)
	}
}

// TestLookups: the last ones of the waybills that were looked up last are kept.
func TestLookups(t *testing.T) {
	var l Lookups
	for i := range maxLookups + 3 {
		l.Note("W1", time.Unix(int64(i), 0), "ok")
	}
	if got := l.Of("W1"); len(got) != maxLookups || got[maxLookups-1].Time.Unix() != maxLookups+2 {
		t.Errorf("%+v", got)
	}
	for i := range maxWaybills {
		if l.Note(scan.WaybillID(fmt.Sprint("X", i)), time.Unix(0, 0), "ok"); i%1000 == 0 {
			l.Note("W1", time.Unix(0, 0), "ok")
		}
	}
	if len(l.of) != maxWaybills || l.order.Len() != maxWaybills || len(l.Of("X0")) != 0 || len(l.Of("W1")) == 0 {
		t.Errorf("%d waybills", len(l.of))
	}
}
