package rig

import (
	"maps"
	"sync"
)

// Ledger holds what the scanners know: what they sent, and what was
// acknowledged to them. It is kept outside of everything under test.
type Ledger struct {
	mu    sync.Mutex // guards both
	sent  map[key]Scan
	acked map[key]Scan
}

// newLedger returns an empty one.
func newLedger() *Ledger { return &Ledger{sent: map[key]Scan{}, acked: map[key]Scan{}} }

func (l *Ledger) send(s Scan) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent[s.key()] = s
}

func (l *Ledger) ack(s Scan) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[s.key()] = s
}

// entries returns copies of what was sent, acknowledged or not, and of what was
// acknowledged.
func (l *Ledger) entries() (sent, acked map[key]Scan) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.sent), maps.Clone(l.acked)
}

// Len returns how many different scans were acknowledged.
func (l *Ledger) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}
