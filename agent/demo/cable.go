package demo

import (
	"context"
	"net/http"
	"sync"
	"time"

	"scanrelay/configs/wait"
)

// cable is the depot's uplink: what the agent sends to the centre and to WeChat
// passes through it, and it can be cut. The cut falls between two calls: one
// that is under way gets its answer (an answer lost on the way may mean a
// second push; the end-to-end tests provoke that, the demo does
// not). WeChat and the centre reach each other all the time.
type cable struct {
	cuts chan time.Duration

	mu   sync.Mutex
	down bool
	back time.Time // when it comes back; valid while down
}

func newCable() *cable { return &cable{cuts: make(chan time.Duration, 1)} }

// Cut cuts the uplink for d, or does nothing when a cut is already waiting.
func (c *cable) Cut(d time.Duration) {
	select {
	case c.cuts <- d:
	default:
	}
}

// state returns whether the uplink is up, and else when it comes back.
func (c *cable) state() (up bool, back time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.down, c.back
}

func (c *cable) set(down bool, back time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down, c.back = down, back
}

// run cuts and restores until ctx ends; then the uplink is up.
func (c *cable) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-c.cuts:
			c.set(true, time.Now().Add(d))
			wait.Sleep(ctx, d)
			c.set(false, time.Time{})
		}
	}
}

// wrap puts a server behind the cable.
func (c *cable) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if up, _ := c.state(); !up {
			panic(http.ErrAbortHandler) // closes the connection without an answer
		}
		h.ServeHTTP(w, r)
	})
}
