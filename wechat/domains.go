package wechat

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// switchAfter is how many calls in a row must fail to connect before the
	// other domain is used.
	switchAfter = 3
	// homeAfter is how long the fallback is used before one call tries the
	// first domain again.
	homeAfter = 5 * time.Minute
)

// domains chooses between the first domain and the disaster-recovery one. Only
// failures to connect count: whatever came back over a connection is an answer
// of the service, which is the same behind both.
type domains struct {
	base, fallback string // fallback "": there is none
	log            *slog.Logger
	now            func() time.Time

	mu       sync.Mutex
	away     bool      // the fallback is in use
	failed   int       // connects in a row that failed at the one in use
	homeNext time.Time // while away: when one call tries base again
}

// pick returns the domain for the next call. While away, one call in homeAfter
// gets the first domain.
func (d *domains) pick() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.away {
		return d.base
	}
	if now := d.now(); !now.Before(d.homeNext) {
		d.homeNext = now.Add(homeAfter)
		return d.base
	}
	return d.fallback
}

// report tells whether a call that pick sent to domain got a connection.
func (d *domains) report(domain string, connected bool) {
	if d.fallback == "" {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch inUse := d.current(); {
	case domain == inUse && connected:
		d.failed = 0
	case domain == inUse:
		if d.failed++; d.failed >= switchAfter {
			d.use(!d.away)
		}
	case connected && domain == d.base: // the trial of the first domain went well
		d.use(false)
	}
}

func (d *domains) current() string {
	if d.away {
		return d.fallback
	}
	return d.base
}

func (d *domains) use(away bool) {
	d.away, d.failed = away, 0
	d.homeNext = d.now().Add(homeAfter)
	d.log.Warn("wechat: changing the domain", "to", d.current(), "fallback", away)
}
