package identity

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"scanrelay/agent/scan"
	"scanrelay/uplink/central/internal/documents"
)

// TestStores: both keep the same promise, also when several change one record.
func TestStores(t *testing.T) {
	table := documents.New(nil)
	shared, err := OpenShared(t.Context(), table)
	if err != nil {
		t.Fatal(err)
	}
	second, err := OpenShared(t.Context(), table)
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

// contested is a table in which another process is faster that often.
type contested struct {
	*documents.Table
	lose, tries int
}

func (c *contested) PutDocuments(ctx context.Context, names []string, docs [][]byte, was []int64) (bool, error) {
	if c.tries++; c.tries <= c.lose {
		return false, nil
	}
	return c.Table.PutDocuments(ctx, names, docs, was)
}

// A change that others are always faster than is given up after a bounded number of
// tries, with an error; one try before that it is made.
func TestContestIsBounded(t *testing.T) {
	table := &contested{Table: documents.New(nil)}
	s, err := OpenShared(t.Context(), table)
	if err != nil {
		t.Fatal(err)
	}
	const bound = 20
	for lose, made := range map[int]bool{bound - 1: true, bound: false} {
		table.lose, table.tries = lose, 0
		err := s.Update(t.Context(), func(t Tx) error { return t.PutDepot(&Registration{ID: "a"}) })
		if (err == nil) != made || table.tries != bound {
			t.Errorf("with others faster %d times: %d tries, %v", lose, table.tries, err)
		}
	}
}
