package rig

import "sync"

// Ledger holds what the scanners know: what they sent, and what was
// acknowledged to them. It is kept outside of everything under test.
type Ledger struct {
	mu    sync.Mutex // guards both
	sent  map[Key]Scan
	acked map[Key]Scan
}

// NewLedger returns an empty one.
func NewLedger() *Ledger { return &Ledger{sent: map[Key]Scan{}, acked: map[Key]Scan{}} }

func (l *Ledger) send(s Scan) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent[s.Key()] = s
}

func (l *Ledger) ack(s Scan) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[s.Key()] = s
}

// Acked returns a copy of what was acknowledged.
func (l *Ledger) Acked() map[Key]Scan { return l.copied(l.acked) }

// Sent returns a copy of what was sent, acknowledged or not.
func (l *Ledger) Sent() map[Key]Scan { return l.copied(l.sent) }

func (l *Ledger) copied(from map[Key]Scan) map[Key]Scan {
	l.mu.Lock()
	defer l.mu.Unlock()
	to := make(map[Key]Scan, len(from))
	for k, s := range from {
		to[k] = s
	}
	return to
}

// Len returns how many different scans were acknowledged.
func (l *Ledger) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}
