package demo

import (
	"context"
	"sync"
	"time"

	"scanrelay/agent/control"
)

// buttonCut is how long the page's button cuts the uplink; its label says so.
const buttonCut = 10 * time.Second

// How often the page hears news, and how often the curve gets a point.
const (
	tick        = 120 * time.Millisecond
	sampleEvery = 4 // ticks
)

// hub sends frames to all open pages.
type hub struct {
	board  *board
	cable  *cable
	start  time.Time
	status func() control.Status // the agent's own view
	cut    time.Duration         // how long the page's button cuts the uplink

	mu      sync.Mutex
	readers map[chan []byte]bool
	over    bool
}

func newHub(b *board, c *cable, status func() control.Status) *hub {
	return &hub{board: b, cable: c, start: b.now(), status: status, cut: buttonCut, readers: map[chan []byte]bool{}}
}

// run sends frames until ctx ends.
func (h *hub) run(ctx context.Context) {
	t := time.NewTicker(tick)
	defer t.Stop()
	for n := 0; ; n++ {
		select {
		case <-t.C:
			h.beat(n)
		case <-ctx.Done():
			h.goodbye()
			return
		}
	}
}

// goodbye sends a last full frame and lets all readers go.
func (h *hub) goodbye() {
	h.board.setStatus(h.status())
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.board.full(h.start, h.link())
	f.Bye, h.over = true, true
	h.send(mustJSON(f))
	for r := range h.readers {
		close(r)
	}
	clear(h.readers)
}

func (h *hub) beat(n int) {
	h.board.setStatus(h.status())
	var samples []sample
	if n%sampleEvery == 0 {
		samples = []sample{h.board.sample(h.start)}
	}
	h.mu.Lock() // a page that joins sees each piece of news once
	defer h.mu.Unlock()
	f := h.board.frame(h.start, h.link())
	if f.Samples = samples; f.empty() {
		return
	}
	h.send(mustJSON(f))
}

// send gives a frame to every reader. One that cannot keep up is let go: its
// page comes back by itself and starts with a full frame.
func (h *hub) send(b []byte) {
	for r := range h.readers {
		select {
		case r <- b:
		default:
			delete(h.readers, r)
			close(r)
		}
	}
}

// join returns a channel of frames, the first of them full; it is closed when
// the reader is too slow.
func (h *hub) join() chan []byte {
	r := make(chan []byte, 32)
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.board.full(h.start, h.link())
	f.Bye = h.over
	r <- mustJSON(f)
	if h.over {
		close(r)
	} else {
		h.readers[r] = true
	}
	return r
}

func (h *hub) leave(r chan []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.readers, r)
}

func (h *hub) link() linkView {
	up, back := h.cable.state()
	if up {
		return linkView{Up: true}
	}
	return linkView{Back: max(0, time.Until(back).Milliseconds())}
}
