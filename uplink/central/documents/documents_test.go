package documents_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"scanrelay/store/durable"
	"scanrelay/uplink/central/documents"
	"scanrelay/uplink/central/identity"
	fake "scanrelay/uplink/central/internal/documents"
)

// Changes of the same record come one after the other, in a table that several processes
// share and in the journal of one, and are there after a start.
func TestChange(t *testing.T) {
	dir := t.TempDir()
	journal, err := identity.OpenJournal(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, table := range map[string]documents.Table{"shared": fake.New(nil), "journal": journal} {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if _, err := documents.Change(context.Background(), table, "a/count", func(n *int) (bool, error) { *n++; return true, nil }); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		all.Wait()
		var n int
		if _, err := documents.Get(t.Context(), table, "a/count", &n); err != nil || n != 8 {
			t.Errorf("%s: %d, %v", name, n, err)
		}
		_, version, err := table.Document(t.Context(), "a/count")
		if done, err := table.PutDocuments(t.Context(), []string{"a/new", "a/count"}, [][]byte{[]byte("1"), []byte("1")}, []int64{0, version + 2}); done || err != nil {
			t.Errorf("%s: put over another version: %v, %v", name, done, err)
		}
		if doc, _, _ := table.Document(t.Context(), "a/new"); doc != nil || err != nil {
			t.Errorf("%s: half of it was put", name)
		}
	}
	if err := journal.Close(); err != nil {
		t.Fatal(err)
	}
	if journal, err = identity.OpenJournal(dir, nil); err != nil {
		t.Fatal(err)
	}
	defer journal.Close()
	var n int
	if _, err := documents.Get(t.Context(), journal, "a/count", &n); err != nil || n != 8 {
		t.Errorf("after a start: %d, %v", n, err)
	}
	var names []string
	err = journal.Documents(t.Context(), "a/", func(name string, _ []byte) error { names = append(names, name); return nil })
	if len(names) != 1 || err != nil {
		t.Errorf("%q, %v", names, err)
	}
}

// A record that was damaged is not taken for one.
func TestDamaged(t *testing.T) {
	table := fake.New(nil)
	if _, err := documents.Change(t.Context(), table, "a", func(s *string) (bool, error) { *s = "text"; return true, nil }); err != nil {
		t.Fatal(err)
	}
	table.Change("a", func(doc []byte) []byte { doc[1]++; return doc })
	var s string
	if _, err := documents.Get(t.Context(), table, "a", &s); !errors.Is(err, durable.ErrDamaged) {
		t.Errorf("%q, %v", s, err)
	}
}
