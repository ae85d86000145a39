package intake

import (
	"errors"
	"sync"
	"time"

	"scanrelay/agent/scan"
)

// entry is one publish of a connection, from its arrival to its acknowledgement.
type entry struct {
	topic string
	id    uint16 // packet id; 0 with QoS 0
	qos   byte
	batch scan.Batch
	cost  int64
	wait  chan error // QoS 2: who waits in the hook; capacity 1

	// Guarded by the pipe's mu.
	state  entryState
	behind bool // others were held when it came
}

type entryState uint8

const (
	entryHeld entryState = iota // the journal did not take it yet
	entryOpen                   // the journal has it
	entryDone                   // committed
)

// pipe holds one connection's publishes in order of arrival and acknowledges
// them in that order (deps.md B8). Two goroutines work on it: the connection's
// reader calls push, and run acknowledges and gives the journal what is held.
// Only one of them submits at a time: the reader while nothing is held, run
// otherwise; so the journal's order is the order of arrival, but for what failed
// in a commit that took others.
type pipe struct {
	b   *Broker
	out writer

	mu     sync.Mutex
	queue  []*entry       // guarded by mu
	bytes  int64          // cost of what the journal did not settle; guarded by mu
	held   int            // entries held; guarded by mu
	since  time.Time      // since when nothing could be committed; zero: it can; guarded by mu
	pause  time.Time      // not before then is a held entry submitted; guarded by mu
	ids    map[uint16]int // packet ids of QoS 1 in queue; guarded by mu
	acking bool           // acknowledgements are being written; guarded by mu
	closed bool           // the connection is gone; guarded by mu
	// resubmitting: run is giving the journal the entry that was the last one
	// held; guarded by mu.
	resubmitting bool

	wake  chan struct{} // for run
	space chan struct{} // for push: queue or bytes fell
	gone  chan struct{} // closed with the connection
}

// writer is the connection as pipe needs it.
type writer interface {
	acknowledge(ids []uint16) error
	hangUp(why error) // closes at once; must not block
}

// Why a connection is closed.
var (
	errHeldTooMuch = errors.New("no room for scans: more publishes than are held")
	errHeldTooLong = errors.New("no room for scans for too long")
	errGone        = errors.New("the connection is closed")
	errInFlight    = errors.New("the same publish is already on its way")
)

func newPipe(b *Broker, out writer) *pipe {
	return &pipe{
		b: b, out: out, ids: make(map[uint16]int),
		wake: make(chan struct{}, 1), space: make(chan struct{}, 1), gone: make(chan struct{}),
	}
}

// push takes one publish. It blocks while too much of this connection, or of
// all, waits for its commit: then TCP slows the device down.
func (p *pipe) push(e *entry, dup bool) error {
	switch err := p.enter(e, dup); {
	case errors.Is(err, errInFlight):
		return nil // the acknowledgement to come is for this one too
	case err != nil:
		return err
	}
	if p.heldBack(e) {
		signal(p.wake)
		return nil
	}
	if err := p.submit(e); err != nil {
		p.mu.Lock()
		e.state = entryHeld
		p.hold()
		p.mu.Unlock()
		signal(p.wake)
	}
	return nil
}

// heldBack reports whether others were held when e came, so that run submits it.
func (p *pipe) heldBack(e *entry) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return e.behind
}

// hold counts one more held entry. The caller holds mu.
func (p *pipe) hold() {
	p.held++
	if p.since.IsZero() {
		p.since = time.Now()
	}
}

// enter appends e to the queue once there is space for it.
func (p *pipe) enter(e *entry, dup bool) error {
	timeout := time.NewTimer(p.b.cfg.HoldFor)
	defer timeout.Stop()
	for {
		more := p.b.space.more()
		ok, err := p.tryEnter(e, dup)
		if errors.Is(err, errHeldTooMuch) {
			p.overflow(err)
		}
		if ok || err != nil {
			return err
		}
		select {
		case <-p.space:
		case <-more:
		case <-p.gone:
			return errGone
		case <-timeout.C:
			p.overflow(errHeldTooLong)
			return errHeldTooLong
		}
	}
}

func (p *pipe) tryEnter(e *entry, dup bool) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return false, errGone
	case dup && e.qos == 1 && p.ids[e.id] > 0:
		return false, errInFlight
	case p.held >= p.b.cfg.Hold:
		return false, errHeldTooMuch
	case len(p.queue) >= maxQueue, p.bytes > 0 && p.bytes+e.cost > p.b.cfg.MaxWaiting/8:
		return false, nil
	case !p.b.space.take(e.cost):
		return false, nil
	}
	p.bytes += e.cost
	p.queue = append(p.queue, e)
	if e.qos == 1 {
		p.ids[e.id]++
	}
	e.state, e.behind = entryOpen, p.held > 0 || p.resubmitting
	if e.behind {
		e.state = entryHeld
		p.hold()
	}
	return true, nil
}

func (p *pipe) submit(e *entry) error {
	return p.b.funnel.submit(e.topic, e.batch, func(_ scan.Stored, err error) { p.settle(e, err) })
}

// settle is the journal's callback: it must not block. What was not committed is
// held like what was not taken.
func (p *pipe) settle(e *entry, err error) {
	p.mu.Lock()
	if err != nil {
		e.state = entryHeld
		p.pause = time.Now().Add(retryFullEvery)
		p.hold()
		p.mu.Unlock()
		signal(p.wake)
		return
	}
	e.state = entryDone
	e.batch = scan.Batch{}
	p.bytes -= e.cost
	p.since = time.Time{}
	if p.held > 0 {
		p.since = time.Now()
	}
	p.mu.Unlock()
	p.b.space.give(e.cost)
	signal(p.space)
	signal(p.wake)
}

// overflow closes the connection for want of room, and lets the broker refuse
// new ones until there is some. The caller does not hold mu: hanging up logs.
func (p *pipe) overflow(why error) {
	p.b.full.Store(true)
	p.out.hangUp(why)
}

// close tells that the connection is gone.
func (p *pipe) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		close(p.gone)
		signal(p.wake) // run may have looked just before, and waits for nothing else then
	}
}

// busy reports whether something that the journal has is not acknowledged yet.
func (p *pipe) busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.acking || len(p.queue) > p.held
}
