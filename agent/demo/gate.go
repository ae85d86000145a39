package demo

import (
	"context"
	"net/http"
	"sync"
	"time"

	"scanrelay/configs/wait"
)

// gate is the depot's uplink: what the agent sends to the centre and to WeChat
// passes through it, and it can be cut. The cut falls between two calls: one
// that is under way gets its answer (an answer lost on the way may mean a
// second push; the end-to-end tests provoke that, the demo does
// not). WeChat and the centre reach each other all the time.
type gate struct {
	cuts chan time.Duration

	mu   sync.Mutex
	down bool
	back time.Time // when it comes back; valid while down
}

func newGate() *gate { return &gate{cuts: make(chan time.Duration, 1)} }

// Cut cuts the uplink for d, or does nothing when a cut is already waiting.
func (g *gate) Cut(d time.Duration) {
	select {
	case g.cuts <- d:
	default:
	}
}

// state returns whether the uplink is up, and else when it comes back.
func (g *gate) state() (up bool, back time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.down, g.back
}

func (g *gate) set(down bool, back time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.down, g.back = down, back
}

// run cuts and restores until ctx ends; then the uplink is up.
func (g *gate) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-g.cuts:
			g.set(true, time.Now().Add(d))
			wait.Sleep(ctx, d)
			g.set(false, time.Time{})
		}
	}
}

// wrap puts a server behind the gate.
func (g *gate) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if up, _ := g.state(); !up {
			panic(http.ErrAbortHandler) // closes the connection without an answer
		}
		h.ServeHTTP(w, r)
	})
}
