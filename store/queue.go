package store

import (
	"sync"

	"scanrelay/configs/wait"
)

// op is one caller's part of a commit.
type op interface {
	// spends reports whether the op may be refused for lack of room; outcomes and
	// state must always go through.
	spends() bool
	// stage adds to g what has to be written. The committer calls it, perhaps
	// again after a commit failed. An error fails this op alone.
	stage(g *group) error
	// apply takes into memory what is on disk now. committer.mu is held.
	apply(g *group)
	// finish hears the result, outside of all locks, in order of submission.
	finish(err error)
	// weight is how many bytes the op adds to a segment, about.
	weight() int
	// patience is how long the op may wait for others to share a commit with.
	patience() patience
}

type patience uint8

const (
	urgent  patience = iota // somebody waits for it
	intake                  // a scanner does: see pace
	patient                 // nobody does: batchDelay, unless outcomes are in a hurry
	idle                    // idleDelay: what is not worth a commit of its own
	kinds                   // of patience
)

// queueBytes bounds what waits for the committer: intake is told to wait above
// it. One group is far smaller.
const queueBytes = 8 << 20

// queue is the row of ops before the committer.
type queue struct {
	mu     sync.Mutex
	ops    []op
	bytes  int
	count  [kinds]int // of the ops, by their patience
	hurry  bool       // what is patient is urgent
	closed bool
	wake   chan struct{} // cap 1
	onRoom func()        // called when bytes fell below the bound
}

// push adds ops behind all others; all of them or none.
func (q *queue) push(ops ...op) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return ErrClosed
	}
	q.ops = append(q.ops, ops...)
	for _, o := range ops {
		q.bytes += o.weight()
		q.count[o.patience()]++
	}
	wait.Signal(q.wake)
	return nil
}

// take removes the next ops: as many as weigh no more than limit, at least one.
func (q *queue) take(limit int) []op {
	q.mu.Lock()
	n, bytes := 0, 0
	for n < len(q.ops) && (n == 0 || bytes+q.ops[n].weight() <= limit) {
		bytes += q.ops[n].weight()
		n++
	}
	ops := q.ops[:n:n]
	for _, o := range ops {
		q.count[o.patience()]--
	}
	if q.ops = q.ops[n:]; len(q.ops) == 0 {
		q.ops = nil
	}
	was := q.bytes >= queueBytes
	q.bytes -= bytes
	freed := was && q.bytes < queueBytes
	q.mu.Unlock()
	if freed {
		q.onRoom()
	}
	return ops
}

// setHurry says whether what is patient is urgent from now on.
func (q *queue) setHurry(on bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.hurry = on; on && q.count[patient] > 0 {
		wait.Signal(q.wake)
	}
}

// hasUrgent reports whether somebody waits for more than the next commit of scans.
func (q *queue) hasUrgent() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.count[urgent] > 0 || q.hurry && q.count[patient] > 0 || q.bytes >= groupBytes
}

// allPatient reports whether nobody waits for an outcome that waits, nor anything else
// for its commit.
func (q *queue) allPatient() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.hurry && q.count[patient] > 0 && q.count[patient]+q.count[idle] == len(q.ops) && q.bytes < groupBytes
}

// intake is how many ops of scanners wait.
func (q *queue) intake() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.count[intake]
}

// hasCompany reports whether there is something to commit beside what is idle, or so
// much of that that it is worth it.
func (q *queue) hasCompany() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.count[idle] < len(q.ops) || q.bytes >= groupBytes
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.ops)
}

// busy reports whether intake has to wait for the committer.
func (q *queue) busy() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes >= queueBytes
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
}
