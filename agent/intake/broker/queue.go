package broker

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"scanrelay/agent/intake/packet"
	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
)

// entry is one publish of a connection, from its arrival to its acknowledgement.
type entry struct {
	topic string
	id    uint16 // packet id; 0 with QoS 0
	qos   byte
	batch scan.Batch
	cost  int64
	code  packet.Code // of its acknowledgement
	// received is told of the commit, with QoS 2.
	received *received
	state    entryState // guarded by the queue's mu
}

// ack is an acknowledgement.
type ack struct {
	qos  byte // 2: PUBREC
	id   uint16
	code packet.Code
}

type entryState uint8

const (
	entryWaiting entryState = iota // the outbox has not taken it yet
	entryOpen                      // the outbox has it
	entryDone                      // committed
)

// queue holds one connection's publishes in order of arrival, gives them to the
// outbox in that order and acknowledges them in that order. The connection's
// reader calls push, which gives what it can at once: no publish waits for another
// goroutine. run does the rest. What the outbox has no room for is held.
type queue struct {
	b    *Broker
	out  writer
	host string // the connection's address

	giving    sync.Mutex // held by who gives the outbox entries; before mu
	throttled bool       // the outbox takes no more of it, though of others; guarded by giving

	mu      sync.Mutex
	entries []*entry       // guarded by mu
	from    int            // no entry before it waits; guarded by mu
	waiting int            // entries that wait for the outbox to take them; guarded by mu
	open    int            // entries that the outbox has; guarded by mu
	refused atomic.Bool    // see scan.Batch
	bytes   int64          // cost of what is not committed; guarded by mu
	since   time.Time      // since when nothing could be committed; zero: it can; guarded by mu
	pause   time.Time      // not before then is anything submitted; guarded by mu
	ids     map[uint16]int // packet ids of QoS 1 in entries; guarded by mu
	acking  bool           // acknowledgements are being written; guarded by mu
	closed  bool           // the connection is gone; guarded by mu

	wake  chan struct{} // for run
	space chan struct{} // for push: entries or bytes fell
	gone  chan struct{} // closed with the connection
}

// writer is the connection as queue needs it.
type writer interface {
	acknowledge(acks []ack) error
	hangUp(code packet.Code, why error) // ends it soon; must not block for long
	crowded()                           // the outbox takes no more of it, though of others
}

// Why a connection is closed.
var (
	errHeldTooMuch = errors.New("no room for scans: more publishes than are held")
	errHeldTooLong = errors.New("no room for scans for too long")
	errGone        = errors.New("the connection is closed")
	errInFlight    = errors.New("the same publish is already on its way")
)

func newQueue(b *Broker, out writer) *queue {
	return &queue{
		b: b, out: out, ids: make(map[uint16]int),
		wake: make(chan struct{}, 1), space: make(chan struct{}, 1), gone: make(chan struct{}),
	}
}

// push takes one publish, which fill makes once there is space for it; nil: it is made.
// It blocks while too much of this connection, of its address, or of all, waits for its
// commit: then TCP slows the device down.
func (q *queue) push(e *entry, dup bool, fill func()) error {
	ok, err := q.enter(e, dup, fill)
	if !ok && err == nil {
		err = q.awaitSpace(e, dup, fill)
	}
	switch {
	case errors.Is(err, errInFlight):
		return nil // the acknowledgement to come is for this one too
	case errors.Is(err, errHeldTooMuch), errors.Is(err, errHeldTooLong):
		q.overflow(err)
		return err
	case err == nil:
		q.give()
	}
	return err
}

// awaitSpace tries to enter e again whenever there is more space, for as long as
// publishes are held.
func (q *queue) awaitSpace(e *entry, dup bool, fill func()) error {
	timeout := time.NewTimer(q.b.cfg.HoldFor)
	defer timeout.Stop()
	for {
		more := q.b.space.more()
		if ok, err := q.enter(e, dup, fill); ok || err != nil {
			return err
		}
		select {
		case <-q.space:
		case <-more:
		case <-q.gone:
			return errGone
		case <-timeout.C:
			return errHeldTooLong
		}
	}
}

// enter makes e and appends it to the queue if there is space. How much it takes is known
// only then, so few are made at once.
func (q *queue) enter(e *entry, dup bool, fill func()) (bool, error) {
	if fill == nil {
		fill = func() {}
	} else if !q.b.maps.await(q.host, 1, q.gone) {
		return false, errGone
	} else {
		defer q.b.maps.give(q.host, 1)
	}
	if ok, err := q.fits(e, dup); !ok || err != nil {
		return ok, err
	}
	fill()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false, errGone
	}
	q.b.space.exceed(q.host, e.cost)
	q.bytes += e.cost
	q.entries = append(q.entries, e)
	if e.state == entryDone { // a refusal in its place
		wait.Signal(q.wake)
	} else {
		q.waiting++
	}
	if e.qos == 1 {
		q.ids[e.id]++
	}
	if !q.pause.IsZero() {
		wait.Signal(q.wake) // run knows when to give it
	}
	return true, nil
}

// fits reports whether there is space for e.
func (q *queue) fits(e *entry, dup bool) (bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return false, errGone
	case dup && e.qos == 1 && q.ids[e.id] > 0:
		return false, errInFlight
	case !q.since.IsZero() && q.waiting >= q.b.cfg.Hold:
		return false, errHeldTooMuch
	}
	return len(q.entries) < maxQueue && q.bytes < q.b.cfg.MaxWaiting/8 && q.b.space.free(q.host), nil
}

// hold lets an entry wait that the outbox did not take or did not commit. The
// caller holds mu.
func (q *queue) hold(e *entry) {
	e.state = entryWaiting
	q.waiting++
	q.open--
	q.from = 0
	q.pause = time.Now().Add(retryFullEvery)
	if q.since.IsZero() {
		q.since = time.Now()
	}
	wait.Signal(q.wake) // of a connection that is gone it may be dropped
}

// committed is the outbox's callback: it must not block.
func (q *queue) committed(e *entry, err error) {
	defer wait.Signal(q.wake)
	q.mu.Lock()
	defer q.mu.Unlock()
	if err != nil {
		q.hold(e)
		return
	}
	e.state, e.batch = entryDone, scan.Batch{}
	q.open--
	q.bytes -= e.cost
	if q.since = (time.Time{}); q.waiting > 0 && !q.pause.IsZero() {
		q.since = time.Now() // the others are still held
	}
	q.b.space.give(q.host, e.cost)
	wait.Signal(q.space)
}

// overflow closes the connection for want of room, and lets the broker refuse
// new ones until there is some. The caller does not hold mu: hanging up logs.
func (q *queue) overflow(why error) {
	q.b.full.Store(true)
	q.out.hangUp(packet.QuotaExceeded, why)
}

// close tells that the connection is gone.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.closed = true
		close(q.gone)
		wait.Signal(q.wake) // run may have looked just before, and waits for nothing else then
	}
}

// busy reports whether something that the outbox has, or could have, is not
// acknowledged yet.
func (q *queue) busy() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.acking || len(q.entries) > q.waiting || q.waiting > 0 && q.since.IsZero()
}
