package identity

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"scanrelay/agent/scan"
)

// table is a Documents in memory.
type table struct {
	mu       sync.Mutex
	docs     map[string][]byte
	versions map[string]int64
	damage   []string
}

func (d *table) NoteDamage(what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.damage = append(d.damage, what)
}

func newTable() *table { return &table{docs: map[string][]byte{}, versions: map[string]int64{}} }

func (d *table) Document(_ context.Context, name string) ([]byte, int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.docs[name], d.versions[name], nil
}

func (d *table) Documents(_ context.Context, prefix string, each func(string, []byte) error) error {
	d.mu.Lock()
	all := maps.Clone(d.docs)
	d.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if strings.HasPrefix(name, prefix) {
			if err := each(name, all[name]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *table) PutDocuments(_ context.Context, names []string, docs [][]byte, was []int64) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, name := range names {
		if d.versions[name] != was[i] {
			return false, nil
		}
	}
	for i, name := range names {
		d.docs[name], d.versions[name] = docs[i], was[i]+1
	}
	return true, nil
}

// TestStores: both keep the same promise, also when several change one record.
func TestStores(t *testing.T) {
	documents := newTable()
	shared, err := OpenShared(t.Context(), documents)
	if err != nil {
		t.Fatal(err)
	}
	second, err := OpenShared(t.Context(), documents)
	if err != nil || string(second.secret) != string(shared.secret) || len(shared.secret) != 32 {
		t.Fatalf("two processes have not one secret: %v", err)
	}
	journal, _ := open(t, t.TempDir())
	for name, stores := range map[string][2]Store{"journal": {journal, journal}, "shared": {shared, second}} {
		t.Run(name, func(t *testing.T) {
			var all sync.WaitGroup
			for i := range 10 {
				all.Go(func() {
					err := stores[i%2].Update(t.Context(), func(t Tx) error {
						r, err := t.Depot("a")
						if r == nil {
							r = &Registration{ID: "a"}
						}
						r.Clones++
						all, err2 := t.Tickets()
						if all == nil {
							all = map[string]Ticket{"k": {Left: 10}}
						}
						k := all["k"]
						k.Left--
						all["k"] = k
						if err != nil || err2 != nil {
							return fmt.Errorf("%v, %v", err, err2)
						}
						if err := t.PutTickets(all); err != nil {
							return err
						}
						return t.PutDepot(r)
					})
					if err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			failed := fmt.Errorf("not this one")
			if err := stores[0].Update(t.Context(), func(t Tx) error {
				_ = t.PutDepot(&Registration{ID: "b"})
				return failed
			}); err != failed {
				t.Errorf("a change that fails: %v", err)
			}
			err := stores[1].View(t.Context(), func(tx Tx) error {
				r, err := tx.Depot("a")
				all, err2 := tx.Tickets()
				k, ok := all["k"]
				if err != nil || err2 != nil || r == nil || r.Clones != 10 || !ok || k.Left != 0 {
					t.Errorf("%+v %+v %v %v", r, all, err, err2)
				}
				var ids []scan.DepotID
				err = tx.Depots(func(r *Registration) error { ids = append(ids, r.ID); return nil })
				if len(ids) != 1 || tx.PutDepot(r) == nil {
					t.Errorf("depots %v; or what only reads can write", ids)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}
