package rollout

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"scanrelay/configs/secret"
	"scanrelay/store/snapshot/postgres"
	"scanrelay/store/snapshot/postgres/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// TestProcessesOfOneDatabase: of gateways of a site that call different processes at the
// same moment one is told, whichever; what one process began, the others go on with.
func TestProcessesOfOneDatabase(t *testing.T) {
	server, name := pgtest.Database(t)
	var fleet []*gateway
	for i := range 8 {
		fleet = append(fleet, gatewayOf(i, "s"))
	}
	var list []*world
	for range 2 {
		store, err := postgres.Open(t.Context(), postgres.Options{DSN: server.DSN(name), MaxConns: 4, Key: secret.Text(strings.Repeat("ab", 32)), Migrate: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() }) // it never fails
		list = append(list, newWorld(t, store, fleet...))
	}
	list[0].start(Plan{Version: "1.1.0", Rings: []float64{1}, Soak: 60, HaltAt: 0.1})
	for _, w := range list {
		if err := w.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var told atomic.Int64
	var all sync.WaitGroup
	for i, g := range fleet {
		all.Go(func() {
			if list[i%2].Hear(t.Context(), g.Depot).Update != nil {
				told.Add(1)
			}
		})
	}
	all.Wait()
	if told.Load() != 1 {
		t.Errorf("%d gateways of a site are told at once", told.Load())
	}
	list[1].act("halt", "")
	if err := list[0].Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, g := range fleet {
		if d := list[0].Hear(t.Context(), g.Depot); d.Update != nil {
			t.Errorf("after another process halted it: %s", fmt.Sprint(d.Update))
		}
	}
}
