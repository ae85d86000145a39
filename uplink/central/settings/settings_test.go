package settings

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"scanrelay/uplink/central/documents"
	"scanrelay/uplink/central/identity"
	fake "scanrelay/uplink/central/internal/documents"
	"scanrelay/uplink/syncapi/directive"
)

func open(t *testing.T, table documents.Table) *Service {
	t.Helper()
	s := New(Options{Table: table, Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestMostExactCounts: of several that name a depot its id goes before its site, that
// before a label, then the one that was put last; after a start, too.
func TestMostExactCounts(t *testing.T) {
	dir := t.TempDir()
	journal, err := identity.OpenJournal(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, journal)
	labels := map[string]string{"region": "east", "kind": "hub"}
	for _, step := range []struct {
		name string
		x    Selector
		want string
	}{
		{"east", Selector{Label: "region=east"}, "east"},
		{"hubs", Selector{Label: "kind=hub"}, "hubs"},
		{"site", Selector{Site: "s"}, "site"},
		{"both", Selector{Site: "s", Label: "kind=hub"}, "both"},
		{"one", Selector{ID: "hz-01"}, "one"},
		{"another", Selector{ID: "sh-01"}, "one"},
		{"elsewhere", Selector{ID: "hz-01", Site: "t"}, "one"},
		{"late", Selector{Label: "kind=hub"}, "one"},
	} {
		if _, err := s.Put(t.Context(), "o", "", step.name, step.x, directive.Body{}); err != nil {
			t.Fatal(err)
		}
		if d := s.Of("hz-01", "s", labels); d == nil || d.Name != step.want {
			t.Errorf("after %s: %+v", step.name, d)
		}
	}
	if err := journal.Close(); err != nil {
		t.Fatal(err)
	}
	if journal, err = identity.OpenJournal(dir, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	defer journal.Close()
	s = open(t, journal)
	if d := s.Of("nj-01", "", labels); d == nil || d.Name != "late" || s.Of("nj-01", "", nil) != nil {
		t.Errorf("after a start: %+v", d)
	}
}

// TestRevisionsRise: those that several processes put at a time get different ones, and
// none is lost; there are so many at most.
func TestRevisionsRise(t *testing.T) {
	table := fake.New(nil)
	var all sync.WaitGroup
	for i := range 4 {
		s := open(t, table)
		all.Go(func() {
			if _, err := s.Put(context.Background(), "o", "", fmt.Sprint("n", i), Selector{Site: "s"}, directive.Body{}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	s := open(t, table)
	seen := map[int64]bool{}
	for _, e := range s.List() {
		seen[e.Revision] = true
	}
	if len(seen) != 4 || !seen[4] {
		t.Errorf("%v", seen)
	}
	if _, err := documents.Change(t.Context(), table, indexName, func(x *index) (bool, error) {
		for i := range maxNames - 4 {
			x.Entries[fmt.Sprint("more", i)] = Entry{}
		}
		return true, nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "o", "", "further", Selector{Site: "s"}, directive.Body{}); err == nil {
		t.Error("one more than may be")
	}
	if _, err := s.Put(t.Context(), "o", "", "n1", Selector{Site: "s"}, directive.Body{}); err != nil {
		t.Error(err)
	}
}
