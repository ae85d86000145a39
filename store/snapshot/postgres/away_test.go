package postgres

import (
	"sync"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/postgres/pgtest"
)

// ofItsOwn returns a store on an instance that may be ended, and what lets its time
// pass.
func ofItsOwn(t *testing.T) (*Store, *pgtest.Server, func(time.Duration)) {
	t.Helper()
	server, err := pgtest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	var mu sync.Mutex
	now := time.Now()
	pass := func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(d)
	}
	s := open(t, Options{DSN: server.DSN("postgres"), Key: testKey, Migrate: true, Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}})
	return s, server, pass
}

// TestFrozen lets the database take connections and answer nobody, as where the line
// to it is cut: a lookup ends well before WeChat gives it up, with what was read a
// moment ago or none, and what a depot sends meanwhile is there once.
func TestFrozen(t *testing.T) {
	s, server, pass := ofItsOwn(t)
	importData(t, s, "READ123")
	lookup := func(what string, want bool) {
		t.Helper()
		began := time.Now()
		_, ok, err := s.Lookup(t.Context(), "READ123")
		if took := time.Since(began); want != (ok && err == nil) || took > 2*readLimit {
			t.Errorf("%s: %v, %v after %v", what, ok, err, took)
		}
	}
	if err := server.Freeze(true); err != nil {
		t.Fatal(err)
	}
	merged := make(chan struct{})
	go func() {
		defer close(merged)
		_, _ = s.Merge(t.Context(), batch("hz-01", event(1, "READ123")))
	}()
	pass(cacheServes)
	lookup("frozen for 5 s", true)
	pass(time.Millisecond)
	lookup("frozen for longer", false)
	if err := server.Freeze(false); err != nil {
		t.Fatal(err)
	}
	<-merged // with an error or not: the depot sends it again, if it heard of one
	insist(t, func() (snapshot.Merged, error) { return s.Merge(t.Context(), batch("hz-01", event(1, "READ123"))) })
	lookup("back", true)
	if wb, _, err := s.Lookup(t.Context(), "READ123"); err != nil || len(wb.Nodes) != 1 {
		t.Errorf("looked up %+v, %v", wb, err)
	}
}

// TestAway takes the database away: depots are told so, what was read a moment ago
// is looked up, nothing else is, and all goes on by itself when it is back.
func TestAway(t *testing.T) {
	s, server, pass := ofItsOwn(t)
	importData(t, s, "READ123")
	importData(t, s, "OLDER12")
	merge(t, s, batch("hz-01", event(1, "READ123"), event(2, "SCAN123")))
	lookup := func(what string, id scan.WaybillID, want bool) {
		t.Helper()
		wb, ok, err := s.Lookup(t.Context(), id)
		if want != (ok && err == nil) || want && id == "READ123" && len(wb.Nodes) != 1 {
			t.Errorf("%s, lookup of %s: %+v, %v, %v", what, id, wb, ok, err)
		}
	}
	for round := range 2 {
		pass(time.Minute)
		lookup("before", "READ123", true)
		lookup("before", "SCAN123", true)
		if err := []func() error{server.Kill, server.Stop}[round](); err != nil {
			t.Fatal(err)
		}
		pass(cacheServes)
		lookup("away for 5 s", "READ123", true)
		lookup("away for 5 s", "OLDER12", false)
		lookup("that there is no data may have changed meanwhile", "SCAN123", false)
		if _, err := s.Merge(t.Context(), batch("hz-01", event(uint64(round+3), "READ123"))); err == nil {
			t.Error("an event was taken")
		}
		if _, err := s.Merge(t.Context(), snapshot.Batch{Depot: "hz-01", Epoch: 1, NextSeq: 4}); err == nil {
			t.Error("an empty sync was answered")
		}
		if err := s.Health(t.Context()); err != nil {
			t.Errorf("health: %v", err)
		}
		if _, err := s.Stats(t.Context()); err != nil {
			t.Errorf("stats: %v", err)
		}
		pass(time.Millisecond)
		lookup("away for longer", "READ123", false)
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		lookup("back", "READ123", true)
		lookup("back", "OLDER12", true)
	}
	if m := merge(t, s, batch("hz-01", event(3, "READ123"))); m.Have != 3 {
		t.Errorf("merged %+v", m)
	}
}
