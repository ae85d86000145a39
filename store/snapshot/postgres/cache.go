package postgres

import (
	"sync"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot/judge"
)

// How long what was read may be answered while the database is away, since another
// process may have changed it, and how many waybills and nodes are kept for it: at
// most twice that many.
const (
	cacheServes = 5 * time.Second
	cacheSize   = 100_000
)

// entry is a waybill as it was read, or written.
type entry struct {
	state   *judge.State // immutable
	version int64
	at      time.Time // when the database was asked; zero: now
}

// cache keeps what was read or written in the last seconds, in two generations: the
// older one goes when the younger is full or its time has passed.
type cache struct {
	now func() time.Time

	mu         sync.Mutex
	young, old map[scan.WaybillID]entry // guarded by mu
	size       int                      // of young, in waybills and nodes; guarded by mu
	began      time.Time                // of young; guarded by mu
}

func newCache(now func() time.Time) *cache {
	return &cache{now: now, young: map[scan.WaybillID]entry{}}
}

// put keeps an entry, unless a newer one is there.
func (c *cache) put(id scan.WaybillID, e entry) {
	now := c.now()
	if e.at.IsZero() {
		e.at = now
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.size >= cacheSize || now.Sub(c.began) > cacheServes {
		c.old, c.young, c.size, c.began = c.young, map[scan.WaybillID]entry{}, 0, now
	}
	if there, ok := c.find(id); ok && there.version > e.version {
		return
	}
	c.young[id] = e
	c.size += 1 + len(e.state.Nodes)
}

func (c *cache) find(id scan.WaybillID) (entry, bool) {
	e, ok := c.young[id]
	if !ok {
		e, ok = c.old[id]
	}
	return e, ok
}

// get returns a state that may still be answered; nil: none.
func (c *cache) get(id scan.WaybillID) *judge.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.find(id); ok && c.now().Sub(e.at) <= cacheServes {
		return e.state
	}
	return nil
}
