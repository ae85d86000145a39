package orders

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/uplink/central/internal/documents"
	"scanrelay/uplink/syncapi/order"
)

func over(t *documents.Table) *Orders {
	return New(Options{Table: t, Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
}

func give(t *testing.T, s *Orders, depot scan.DepotID, o order.Order) (Given, bool) {
	t.Helper()
	g, fresh, err := s.Give(t.Context(), depot, o, "ops-1")
	if err != nil {
		t.Fatal(err)
	}
	return g, fresh
}

var retryAll = order.Order{Do: order.Retry, All: true}

// TestOneOrder: what is open already is not ordered twice; what is done is told and kept,
// and may be ordered again.
func TestOneOrder(t *testing.T) {
	s := over(documents.New(nil))
	first, fresh := give(t, s, "hz-01", retryAll)
	if again, f := give(t, s, "hz-01", retryAll); !fresh || f || again.ID != first.ID {
		t.Errorf("%v %+v, then %v %+v", fresh, first, f, again)
	}
	if len(s.Of("hz-01")) != 1 || len(s.Of("sh-01")) != 0 {
		t.Errorf("%v, %v", s.Of("hz-01"), s.Of("sh-01"))
	}
	said := []order.Done{{ID: "another's", Count: 5}, {ID: first.ID, Count: -3, Error: "李四 13800138000" + strings.Repeat("x", 1000)}}
	for range 2 { // a depot says it until it is heard
		if err := s.Heard(t.Context(), "hz-01", said); err != nil {
			t.Fatal(err)
		}
	}
	all, err := s.All(t.Context(), "hz-01")
	if err != nil || len(all) != 1 || all[0].Came == nil || all[0].Ended.IsZero() || len(s.Of("hz-01")) != 0 {
		t.Fatalf("%v, %+v", err, all)
	}
	if came := all[0].Came; came.Count != 0 || strings.Contains(came.Error, "李四") || strings.Contains(came.Error, "13800138000") || len(came.Error) > 1000 {
		t.Errorf("%+v", came)
	}
	if again, fresh := give(t, s, "hz-01", retryAll); !fresh || again.ID == first.ID {
		t.Errorf("again: %v %+v", fresh, again)
	}
}

// TestBounds: a depot has so many open orders, and so many that are done are kept.
func TestBounds(t *testing.T) {
	s := over(documents.New(nil))
	for round := range 3 {
		for i := range order.MaxOpen {
			give(t, s, "hz-01", order.Order{Do: order.Discard, All: true, Reason: fmt.Sprint(round, i)})
		}
		if _, _, err := s.Give(t.Context(), "hz-01", retryAll, "ops-1"); !errors.Is(err, ErrTooMany) {
			t.Errorf("one more: %v", err)
		}
		var said []order.Done
		for _, o := range s.Of("hz-01") {
			said = append(said, order.Done{ID: o.ID})
		}
		if err := s.Heard(t.Context(), "hz-01", said); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := s.All(t.Context(), "hz-01"); err != nil || len(all) != maxDone || all[maxDone-1].Reason != fmt.Sprint(2, order.MaxOpen-1) {
		t.Errorf("%v, %d are kept", err, len(all))
	}
}

// TestTwoProcesses: a depot may call another process than the operator did, and each
// knows soon what the other was told.
func TestTwoProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := documents.New(nil)
		one, two := over(table), over(table)
		go two.Run(t.Context())
		synctest.Wait()
		g, _ := give(t, one, "hz-01", retryAll)
		if again, fresh := give(t, two, "hz-01", retryAll); fresh || again.ID != g.ID {
			t.Errorf("the same at the other: %v %+v", fresh, again)
		}
		two = over(table)
		go two.Run(t.Context())
		time.Sleep(lookEvery + time.Millisecond)
		synctest.Wait()
		if list := two.Of("hz-01"); len(list) != 1 || list[0].ID != g.ID {
			t.Fatalf("%+v", list)
		}
		if err := two.Heard(t.Context(), "hz-01", []order.Done{{ID: g.ID, Count: 7}}); err != nil {
			t.Fatal(err)
		}
		if err := one.look(t.Context()); err != nil || len(one.Of("hz-01")) != 0 {
			t.Errorf("%v, %+v", err, one.Of("hz-01"))
		}
	})
}

// between is a table in which something happens once, after something was put.
type between struct {
	*documents.Table
	then func()
}

func (b *between) PutDocuments(ctx context.Context, names []string, docs [][]byte, was []int64) (bool, error) {
	done, err := b.Table.PutDocuments(ctx, names, docs, was)
	if fn := b.then; fn != nil {
		b.then = nil
		fn()
	}
	return done, err
}

// TestAtOnce: an order that is given while another one is being noted as done is told.
func TestAtOnce(t *testing.T) {
	table := &between{Table: documents.New(nil)}
	s := New(Options{Table: table, Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
	first, _ := give(t, s, "hz-01", retryAll)
	table.then = func() { give(t, s, "hz-01", order.Order{Do: order.Discard, All: true, Reason: "x"}) }
	if err := s.Heard(t.Context(), "hz-01", []order.Done{{ID: first.ID}}); err != nil {
		t.Fatal(err)
	}
	if list := s.Of("hz-01"); len(list) != 1 || list[0].Do != order.Discard {
		t.Errorf("the depot is told %+v", list)
	}
}

// TestDamaged: what cannot be read is told, costs that depot's orders alone, and can be
// given again.
func TestDamaged(t *testing.T) {
	table := documents.New(nil)
	s := over(table)
	give(t, s, "hz-01", retryAll)
	give(t, s, "sh-01", retryAll)
	table.Change(prefix+"hz-01", func(doc []byte) []byte { return doc[:len(doc)/2] })
	if err := s.look(t.Context()); err != nil || len(s.Of("hz-01")) != 0 || len(s.Of("sh-01")) != 1 {
		t.Errorf("%v, %+v", err, s.open)
	}
	if all, err := s.All(t.Context(), "hz-01"); err != nil || len(all) != 0 {
		t.Errorf("%v, %+v", err, all)
	}
	if !slices.ContainsFunc(table.Damage(), func(what string) bool { return strings.Contains(what, "depot hz-01") }) {
		t.Errorf("told: %q", table.Damage())
	}
	if _, fresh := give(t, s, "hz-01", retryAll); !fresh || len(s.Of("hz-01")) != 1 {
		t.Errorf("given again: %+v", s.open)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`{"ids":"all","action":"retry"}`)
	f.Add(`{"ids":["00000000000000aa-7"],"action":"discard","reason":"returned"}`)
	f.Add(`{"IDs":["7"],"all":true,"action":"retry"}`)
	f.Fuzz(func(t *testing.T, body string) {
		o, why := read(httptest.NewRecorder(), httptest.NewRequest("POST", "/", strings.NewReader(body)))
		if why != "" {
			return
		}
		if o.All == (len(o.Events) > 0) || len(o.Events) > order.MaxEvents || o.Do != order.Retry && (o.Do != order.Discard || o.Reason == "") || len([]rune(o.Reason)) > order.MaxText {
			t.Errorf("taken: %+v", o)
		}
	})
}
