package broker

import (
	"errors"
	"net"
	"slices"
	"time"

	"scanrelay/agent/intake/packet"
	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
	"scanrelay/store/event"
)

// run gives the outbox what waits and acknowledges what is committed, until the
// connection is gone and nothing of it is left.
func (q *queue) run() {
	for {
		if acks := q.takeCommitted(); len(acks) > 0 {
			err := q.out.acknowledge(acks)
			q.acknowledged()
			if err != nil {
				q.out.hangUp(packet.Unspecified, unread(err))
			}
		}
		q.give()
		if q.finished() {
			q.giving.Lock()
			defer q.giving.Unlock()
			q.throttle(false)
			return
		}
		q.await()
	}
}

var errUnread = errors.New("the device does not read its acknowledgements")

// unread is why a connection is cut over which they could not be written; nil: the device
// is gone, which is no cause.
func unread(err error) error {
	var network net.Error
	if errors.As(err, &network) && network.Timeout() {
		return errUnread
	}
	return nil
}

// takeCommitted takes what is committed off the queue's head and returns the
// acknowledgements.
func (q *queue) takeCommitted() (acks []ack) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for ; n < len(q.entries) && q.entries[n].state == entryDone; n++ {
		e := q.entries[n]
		if e.qos == 1 {
			if q.ids[e.id]--; q.ids[e.id] <= 0 {
				delete(q.ids, e.id)
			}
		}
		if e.qos > 0 {
			acks = append(acks, ack{e.qos, e.id, e.code})
		}
		if e.received != nil {
			e.received.safe.Store(true)
		}
	}
	if n > 0 {
		clear(q.entries[:n])
		q.entries, q.from = q.entries[n:], max(0, q.from-n)
		wait.Signal(q.space)
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

// give gives the outbox what waits, in order, until it does not take more.
func (q *queue) give() {
	q.giving.Lock()
	defer q.giving.Unlock()
	for more := true; more; {
		var e *entry
		if e, more = q.next(); e == nil {
			return
		}
		e.batch.Refused = &q.refused
		err := q.b.pipe.Submit(e.topic, e.batch, func(_ scan.Stored, err error) { q.committed(e, err) })
		if err != nil {
			q.notTaken(e, err)
		} else {
			q.throttle(false)
		}
	}
}

// throttle notes whether its client has its share of the room. The caller holds giving.
func (q *queue) throttle(yes bool) {
	switch {
	case yes && !q.throttled:
		q.b.throttled.Add(1)
	case !yes && q.throttled:
		q.b.throttled.Add(-1)
	}
	q.throttled = yes
}

// next takes out the first entry that waits, and tells whether more do; nil: none,
// or not now. Without room only QoS 0 of a connection that is gone is kept: a
// device sends the rest again.
func (q *queue) next() (e *entry, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed && !q.since.IsZero() {
		q.drop(func(e *entry) bool { return e.qos > 0 || q.b.stopping.Load() })
	}
	if q.waiting == 0 || !q.pause.IsZero() && (time.Now().Before(q.pause) || q.b.pipe.Full()) {
		return nil, false
	}
	if q.refused.Load() {
		if q.open > 0 { // what is answered last wakes run
			return nil, false
		}
		q.refused.Store(false)
	}
	for q.entries[q.from].state != entryWaiting {
		q.from++
	}
	e = q.entries[q.from]
	e.state, q.pause = entryOpen, time.Time{}
	q.waiting--
	q.open++
	return e, q.waiting > 0
}

// notTaken holds an entry that the outbox did not take. The caller holds giving.
func (q *queue) notTaken(e *entry, err error) {
	share := errors.Is(err, event.ErrShare)
	if q.throttle(share); share {
		q.out.crowded()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.hold(e); q.b.pipe.Full() {
		q.pause = time.Now() // room ends it
	}
}

// drop gives up the entries that wait for which that is so. The caller holds mu.
func (q *queue) drop(which func(*entry) bool) {
	q.from = 0
	q.entries = slices.DeleteFunc(q.entries, func(e *entry) bool {
		if e.state != entryWaiting || !which(e) {
			return false
		}
		q.waiting--
		q.bytes -= e.cost
		q.b.space.give(q.host, e.cost)
		if e.qos == 0 {
			q.b.lost.Add(1)
		}
		return true
	})
}

// finished reports whether the connection is gone and nothing of it is left.
func (q *queue) finished() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed && len(q.entries) == 0
}

// await waits for something to do.
func (q *queue) await() {
	q.mu.Lock()
	held, left, gone := q.waiting > 0, q.b.cfg.HoldFor, q.gone
	if !q.since.IsZero() {
		left = time.Until(q.since.Add(left))
	}
	if q.closed {
		gone = nil
	}
	q.mu.Unlock()
	switch {
	case !held:
		select {
		case <-q.wake:
		case <-gone:
		}
		return
	case left <= 0: // what is held with QoS 0 is lost
		q.overflow(errHeldTooLong)
		q.mu.Lock()
		defer q.mu.Unlock()
		q.drop(func(*entry) bool { return true })
		q.since = time.Time{}
		return
	}
	room, wait := q.b.pipe.Room(), left
	if !q.b.pipe.Full() { // and yet it did not take it: try again a little later
		room, wait = nil, min(left, retryFullEvery)
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
