package postgres

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/postgres/pgtest"
)

// TestPromotion kills the primary while depots send and promotes its synchronous
// standby: what was answered is there, and the same store goes on by itself.
func TestPromotion(t *testing.T) {
	primary, err := pgtest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = primary.Close() })
	standby, err := primary.Standby()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = standby.Close() })
	s := open(t, Options{DSN: primary.DSN("postgres", standby), Key: testKey, Migrate: true})
	const depots, size, before, after = 4, 10, 40, 80
	var answered [depots]atomic.Int64 // batches
	total := func() (n int64) {
		for i := range answered {
			n += answered[i].Load()
		}
		return n
	}
	var senders sync.WaitGroup
	for d := range depots {
		senders.Go(func() {
			depot := scan.DepotID(fmt.Sprint("depot-", d))
			for total() < after {
				var events []snapshot.Event
				first := uint64(answered[d].Load()*size + 1)
				for i := range uint64(size) {
					events = append(events, event(first+i, fmt.Sprintf("YT%d-%d", d, first+i)))
				}
				if _, err := s.Merge(t.Context(), batch(depot, events...)); err == nil {
					answered[d].Add(1)
				} else if !wait.Sleep(t.Context(), 50*time.Millisecond) { // as it is told to come again
					return
				}
			}
		})
	}
	for total() < before && wait.Sleep(t.Context(), time.Millisecond) {
	}
	if err := primary.Kill(); err != nil {
		t.Error(err)
	}
	killed := time.Now()
	at := total()
	if err := standby.Promote(); err != nil {
		t.Error(err)
	}
	for total() < at+depots && wait.Sleep(t.Context(), time.Millisecond) {
	}
	t.Logf("nothing was answered for about %v", time.Since(killed).Round(time.Millisecond))
	senders.Wait()
	for d := range depots {
		for seq := range uint64(answered[d].Load() * size) {
			id := scan.WaybillID(fmt.Sprintf("YT%d-%d", d, seq+1))
			if wb, _, err := s.Lookup(t.Context(), id); err != nil || len(wb.Nodes) != 1 {
				t.Fatalf("%s was answered: %d nodes are there, %v", id, len(wb.Nodes), err)
			}
		}
	}
}
