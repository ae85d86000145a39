package documents

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Table is documents by name.
type Table struct {
	mu       sync.Mutex
	docs     map[string][]byte
	versions map[string]int64
	damage   []string
}

// New returns a table that has these documents.
func New(docs map[string][]byte) *Table {
	t := &Table{docs: map[string][]byte{}, versions: map[string]int64{}}
	for name, doc := range docs {
		t.docs[name], t.versions[name] = doc, 1
	}
	return t
}

// NoteDamage takes what is told of damage, each text once.
func (t *Table) NoteDamage(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !slices.Contains(t.damage, what) {
		t.damage = append(t.damage, what)
	}
}

// Damage is what was told of damage.
func (t *Table) Damage() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.damage)
}

// Document returns a document and its version; nil, 0: there is none.
func (t *Table) Document(_ context.Context, name string) ([]byte, int64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.docs[name], t.versions[name], nil
}

// Documents gives all whose names begin so, by name.
func (t *Table) Documents(_ context.Context, prefix string, each func(name string, doc []byte) error) error {
	all := t.All()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		if err := each(name, all[name]); err != nil {
			return err
		}
	}
	return nil
}

// All is every document by name.
func (t *Table) All() map[string][]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.docs)
}

// PutDocuments puts documents, all or none: none where one has another version by now.
func (t *Table) PutDocuments(_ context.Context, names []string, docs [][]byte, was []int64) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, name := range names {
		if t.versions[name] != was[i] {
			return false, nil
		}
	}
	for i, name := range names {
		t.docs[name], t.versions[name] = docs[i], was[i]+1
	}
	return true, nil
}

// Change changes a document behind everybody's back.
func (t *Table) Change(name string, fn func(doc []byte) []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.docs[name] = fn(bytes.Clone(t.docs[name]))
}
