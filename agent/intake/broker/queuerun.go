package broker

import (
	"time"
)

// run acknowledges what is committed and gives the outbox what is held, until
// the connection is gone and everything of it settled.
func (q *queue) run() {
	for {
		if acks := q.takeCommitted(); len(acks) > 0 {
			err := q.out.acknowledge(acks)
			q.acknowledged()
			if err != nil {
				q.out.hangUp(err)
			}
		}
		if next := q.nextHeld(); next != nil && q.resubmit(next) {
			continue
		}
		if q.finished() {
			return
		}
		q.await()
	}
}

// takeCommitted takes what is committed off the queue's head and returns the packet
// ids to acknowledge.
func (q *queue) takeCommitted() (acks []uint16) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for ; n < len(q.entries) && q.entries[n].state == entryDone; n++ {
		e := q.entries[n]
		if e.qos == 1 {
			q.forgetID(e.id)
			acks = append(acks, e.id)
		}
		if e.wait != nil {
			e.wait <- nil
		}
	}
	if n > 0 {
		clear(q.entries[:n])
		q.entries = q.entries[n:]
		signal(q.space)
	}
	if q.closed {
		return nil
	}
	q.acking = len(acks) > 0
	return acks
}

// acknowledged tells that what takeCommitted returned is written.
func (q *queue) acknowledged() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.acking = false
}

func (q *queue) forgetID(id uint16) {
	if q.ids[id]--; q.ids[id] <= 0 {
		delete(q.ids, id)
	}
}

// nextHeld returns the first held entry; nil if none is. Of a connection that
// is gone only QoS 0 is kept: a device sends the rest again.
func (q *queue) nextHeld() *entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.held == 0 {
		return nil
	}
	var dropped []*entry
	kept := q.entries[:0]
	var first *entry
	for _, e := range q.entries {
		if e.state == entryHeld && q.closed && (e.qos > 0 || q.b.stopping.Load()) {
			dropped = append(dropped, e)
			continue
		}
		if e.state == entryHeld && first == nil {
			first = e
		}
		kept = append(kept, e)
	}
	q.entries = kept
	q.held -= len(dropped)
	for _, e := range dropped {
		q.drop(e)
	}
	return first
}

// drop gives up a held entry. The caller holds mu.
func (q *queue) drop(e *entry) {
	q.bytes -= e.cost
	q.b.space.give(e.cost)
	if e.qos == 0 {
		q.b.lost.Add(1)
	}
	if e.wait != nil {
		e.wait <- errGone
	}
}

// resubmit gives the outbox a held entry. False: not now.
func (q *queue) resubmit(e *entry) bool {
	if q.b.pipe.Full() {
		return false
	}
	q.mu.Lock()
	if time.Now().Before(q.pause) {
		q.mu.Unlock()
		return false
	}
	e.state = entryOpen
	q.held--
	q.resubmitting = true
	q.mu.Unlock()
	err := q.submit(e)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.resubmitting = false
	if err != nil {
		e.state = entryHeld
		q.pause = time.Now().Add(retryFullEvery)
		q.hold()
	}
	return err == nil
}

// finished reports whether the connection is gone and everything of it settled.
func (q *queue) finished() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed && len(q.entries) == 0
}

// await waits for something to do.
func (q *queue) await() {
	q.mu.Lock()
	held, left, gone := q.held > 0, time.Until(q.since.Add(q.b.cfg.HoldFor)), q.gone
	if q.closed {
		gone = nil
	}
	q.mu.Unlock()
	if !held {
		select {
		case <-q.wake:
		case <-gone:
		}
		return
	}
	if left <= 0 {
		q.giveUp()
		return
	}
	room := q.b.pipe.Room()
	wait := min(left, retryFullEvery)
	if q.b.pipe.Full() {
		wait = left
	} else {
		room = nil // it has room and yet did not take it: try again a little later
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-q.wake:
	case <-gone:
	case <-room:
	case <-timer.C:
	case <-q.b.closing:
	}
}

// giveUp ends the holding: the connection is closed; what is held with QoS 0 is
// lost.
func (q *queue) giveUp() {
	q.overflow(errHeldTooLong)
	q.mu.Lock()
	defer q.mu.Unlock()
	kept := q.entries[:0]
	for _, e := range q.entries {
		if e.state == entryHeld {
			q.held--
			q.drop(e)
			continue
		}
		kept = append(kept, e)
	}
	q.entries, q.since = kept, time.Time{}
}
