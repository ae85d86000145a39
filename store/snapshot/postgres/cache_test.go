package postgres

import (
	"fmt"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot/judge"
)

// TestCache: an entry serves for its time, a newer one is not replaced by an older
// that was read meanwhile, and however long the paths are memory is bounded.
func TestCache(t *testing.T) {
	now := time.Now()
	c := newCache(func() time.Time { return now })
	older, newer := &judge.State{Changed: 1}, &judge.State{Changed: 2}
	c.put("YT1", entry{state: newer, version: 2})
	c.put("YT1", entry{state: older, version: 1, at: now})
	if c.get("YT1") != newer {
		t.Error("an older state replaced a newer one")
	}
	now = now.Add(cacheServes)
	if c.get("YT1") != newer {
		t.Error("it serves for less than its time")
	}
	if now = now.Add(1); c.get("YT1") != nil {
		t.Error("it serves for longer than its time")
	}
	long := &judge.State{Nodes: make([]judge.Node, 999)}
	for i := range 3 * cacheSize / 1000 {
		c.put(scan.WaybillID(fmt.Sprint("YT", i)), entry{state: long})
	}
	if n := len(c.young) + len(c.old); n > 2*cacheSize/1000 {
		t.Errorf("%d waybills with 999 nodes each are kept", n)
	}
}
