package wait

import (
	"sync"
	"time"
)

// Pulse tells whether who works moves: a loop, or several workers together. A nil
// Pulse is nobody's.
type Pulse struct {
	mu    sync.Mutex
	steps int       // begun and not ended
	last  time.Time // when one began at rest, or ended
}

// Begin begins a step that is over soon, short of a fault.
func (p *Pulse) Begin() { p.move(1) }

// End ends it: what follows may take as long as it likes.
func (p *Pulse) End() { p.move(-1) }

func (p *Pulse) move(n int) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if n < 0 || p.steps == 0 {
		p.last = time.Now()
	}
	p.steps += n
}

// Stuck is for how long no step has ended although some had begun; 0 at rest.
func (p *Pulse) Stuck() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.steps == 0 {
		return 0
	}
	return time.Since(p.last)
}
