package settings

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/uplink/central/caller"
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

// TestCourierHoweverWritten: a courier's field is found under any way to write its name.
func TestCourierHoweverWritten(t *testing.T) {
	s := open(t, fake.New(nil))
	for _, stations := range []string{`{"a":{"pickup_courier_name":"x"}}`, `{"a":{"pickup_\u0063ourier_name":"x"}}`, `{"a":{"delivery_co\u0075rier_phone":"x"}}`} {
		if _, err := s.Put(t.Context(), "o", "", "n", Selector{ID: "hz-01"}, directive.Body{Stations: []byte(stations)}); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", stations, err)
		}
	}
	if _, err := s.Put(t.Context(), "o", "", "n", Selector{ID: "hz-01"}, directive.Body{Stations: []byte(`{"a":{"name":"x"}}`)}); err != nil {
		t.Error(err)
	}
}

// away is a table that cannot be read while it is.
type away struct {
	*fake.Table
	is   bool
	then func() // once a document was read
}

func (a *away) Document(ctx context.Context, name string) ([]byte, int64, error) {
	if a.is {
		return nil, 0, errors.New("the database is away")
	}
	doc, version, err := a.Table.Document(ctx, name)
	if fn := a.then; fn != nil {
		a.then = nil
		fn()
	}
	return doc, version, err
}

// TestAwayIsNotDamaged: a table that cannot be read now is no damage.
func TestAwayIsNotDamaged(t *testing.T) {
	table := &away{Table: fake.New(nil)}
	s := open(t, table)
	if _, err := s.Put(t.Context(), "o", "", "n", Selector{ID: "hz-01"}, directive.Body{}); err != nil {
		t.Fatal(err)
	}
	d := s.Of("hz-01", "", nil)
	table.is = true
	if _, err := s.Text(t.Context(), d); err == nil || s.Load(t.Context()) == nil || len(table.Damage()) != 0 {
		t.Errorf("%v, damage %q", err, table.Damage())
	}
	table.is = false
	table.Change(textPrefix+"n", func(doc []byte) []byte { return doc[1:] })
	if _, err := s.Text(t.Context(), d); err == nil || len(table.Damage()) != 1 {
		t.Errorf("%v, damage %q", err, table.Damage())
	}
}

// TestWhatIsNewerCounts: what one process reads while another call puts something does not
// come in its place.
func TestWhatIsNewerCounts(t *testing.T) {
	table := &away{Table: fake.New(nil)}
	s := open(t, table)
	s.o.Alone = true
	table.then = func() {
		if _, err := s.Put(t.Context(), "o", "", "n", Selector{ID: "hz-01"}, directive.Body{}); err != nil {
			t.Error(err)
		}
	}
	if err := s.Load(t.Context()); err != nil || s.Of("hz-01", "", nil) == nil {
		t.Errorf("%v: what was put is gone", err)
	}
}

// TestFetches: so many gateways fetch at once, and no more of a depot's.
func TestFetches(t *testing.T) {
	s := open(t, fake.New(nil))
	get := s.Gateway(func(*http.Request) (scan.DepotID, caller.By, int, string) { return "hz-01", "", http.StatusOK, "" },
		func(*http.Request, scan.DepotID) (string, map[string]string, error) { return "", nil, nil })
	want := func(code int) {
		t.Helper()
		w := httptest.NewRecorder()
		if get(w, httptest.NewRequest("GET", directive.ConfigPath, nil)); w.Code != code || (w.Header().Get("Retry-After") != "") != (code == 503) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	want(404)
	for i := range maxFetches {
		if _, ok := s.places.Take(fmt.Sprint(i)); !ok {
			t.Fatal("no place")
		}
	}
	want(503)
	s = open(t, fake.New(nil))
	for range depotFetches {
		if _, ok := s.places.Take("hz-01"); !ok {
			t.Fatal("no place")
		}
	}
	get = s.Gateway(func(*http.Request) (scan.DepotID, caller.By, int, string) { return "hz-01", "", http.StatusOK, "" }, nil)
	want(503)
}

func FuzzCheck(f *testing.F) {
	f.Add("n", "hz-01", "", "region=east", `{"a":{"name":"x"}}`, `{"level":"debug"}`)
	f.Add("N", "", "s", "=", `{"a":{"pickup_\u0063ourier_name":"x"}}`, `{"Level":5}`)
	f.Add("n", "hz-01", "", "", `[{"\ud83d":1}`, `null`)
	s := New(Options{Table: fake.New(nil), Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
	f.Fuzz(func(t *testing.T, under, id, site, label, stations, log string) {
		if !json.Valid([]byte(stations)) || !json.Valid([]byte(log)) { // the body was decoded
			return
		}
		x := Selector{ID: scan.DepotID(id), Site: site, Label: label}
		if s.check(under, x, directive.Body{Stations: []byte(stations), Log: []byte(log)}) != nil {
			return
		}
		var level map[string]string
		if json.Unmarshal([]byte(log), &level) != nil {
			t.Errorf("of log %q is taken", log)
		}
		for key := range level {
			if !strings.EqualFold(key, "level") {
				t.Errorf("of log %q is taken", log)
			}
		}
		var all map[string]map[string]any
		_ = json.Unmarshal([]byte(stations), &all) // what is none the gateway's check refuses
		for _, station := range all {
			for field := range station {
				if strings.Contains(field, "courier") {
					t.Errorf("taken: %q", stations)
				}
			}
		}
	})
}
