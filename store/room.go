package store

import "sync"

// roomGate tells intake whether there is room. It is shut for one of two
// reasons: the outbox is full, or the committer's queue is.
type roomGate struct {
	mu   sync.Mutex
	full bool
	busy func() bool
	c    chan struct{} // closed: there is room
}

func newRoomGate(busy func() bool) *roomGate {
	g := &roomGate{busy: busy, c: make(chan struct{})}
	close(g.c)
	return g
}

// wait returns a channel that is closed once there is room.
func (g *roomGate) wait() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.updateLocked()
	return g.c
}

func (g *roomGate) open() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.full
}

// setFull reports whether that was news.
func (g *roomGate) setFull(full bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	news := g.full != full
	g.full = full
	g.updateLocked()
	return news
}

func (g *roomGate) update() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.updateLocked()
}

func (g *roomGate) updateLocked() {
	room := !g.full && !g.busy()
	select {
	case <-g.c:
		if !room {
			g.c = make(chan struct{})
		}
	default:
		if room {
			close(g.c)
		}
	}
}
