package intake

import (
	"time"
)

// run acknowledges what is committed and gives the journal what is held, until
// the connection is gone and nothing of it is left to do.
func (p *pipe) run() {
	for {
		acks, failed := p.settled()
		if len(acks) > 0 {
			if err := p.out.acknowledge(acks); err != nil {
				p.out.hangUp(err)
			}
		}
		if failed != nil {
			p.out.hangUp(failed)
		}
		if next := p.nextHeld(); next != nil && p.resubmit(next) {
			continue
		}
		if p.finished() {
			return
		}
		p.await()
	}
}

// settled takes what is committed off the queue's head and returns the packet
// ids to acknowledge. Behind a failed commit nothing is acknowledged: the
// connection is closed, and the device sends again on the next one.
func (p *pipe) settled() (acks []uint16, failed error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for ; n < len(p.queue) && p.queue[n].state == entryDone; n++ {
		e := p.queue[n]
		if failed == nil {
			failed = e.err
		}
		if e.qos == 1 {
			p.forgetID(e.id)
			if failed == nil {
				acks = append(acks, e.id)
			}
		}
		if e.wait != nil {
			e.wait <- failed
		}
	}
	if n > 0 {
		clear(p.queue[:n])
		p.queue = p.queue[n:]
		signal(p.space)
	}
	if p.closed {
		acks = nil
	}
	return acks, failed
}

func (p *pipe) forgetID(id uint16) {
	if p.ids[id]--; p.ids[id] <= 0 {
		delete(p.ids, id)
	}
}

// nextHeld returns the first held entry; nil if none is. Of a connection that
// is gone only QoS 0 is kept: a device sends the rest again.
func (p *pipe) nextHeld() *entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held == 0 {
		return nil
	}
	var dropped []*entry
	kept := p.queue[:0]
	var first *entry
	for _, e := range p.queue {
		if e.state == entryHeld && p.closed && (e.qos > 0 || p.b.stopping.Load()) {
			dropped = append(dropped, e)
			continue
		}
		if e.state == entryHeld && first == nil {
			first = e
		}
		kept = append(kept, e)
	}
	p.queue = kept
	p.held -= len(dropped)
	for _, e := range dropped {
		p.drop(e)
	}
	return first
}

// drop gives up a held entry. The caller holds mu.
func (p *pipe) drop(e *entry) {
	p.bytes -= e.cost
	p.b.space.give(e.cost)
	if e.qos == 0 {
		p.b.lost.Add(1)
	}
	if e.wait != nil {
		e.wait <- errGone
	}
}

// resubmit gives the journal a held entry. False: there is no room yet.
func (p *pipe) resubmit(e *entry) bool {
	if p.b.funnel.full() {
		return false
	}
	p.mu.Lock()
	e.state = entryOpen
	p.mu.Unlock()
	err := p.submit(e)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		e.state = entryHeld
		return false
	}
	if p.held--; p.held > 0 {
		p.since = time.Now() // there is room again
	}
	return true
}

// finished reports whether the connection is gone and nothing is held. What the
// journal has settles without run.
func (p *pipe) finished() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed && p.held == 0
}

// await waits for something to do.
func (p *pipe) await() {
	p.mu.Lock()
	held, left, gone := p.held > 0, time.Until(p.since.Add(p.b.cfg.HoldFor)), p.gone
	if p.closed {
		gone = nil
	}
	p.mu.Unlock()
	if !held {
		select {
		case <-p.wake:
		case <-gone:
		}
		return
	}
	if left <= 0 {
		p.giveUp()
		return
	}
	room := p.b.funnel.journal.Room()
	wait := min(left, retryFullEvery)
	if p.b.funnel.full() {
		wait = left
	} else {
		room = nil // it has room and yet did not take it: try again a little later
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-p.wake:
	case <-gone:
	case <-room:
	case <-timer.C:
	}
}

// giveUp ends the holding: the connection is closed; what is held with QoS 0 is
// lost.
func (p *pipe) giveUp() {
	p.overflow(errHeldTooLong)
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.queue[:0]
	for _, e := range p.queue {
		if e.state == entryHeld {
			p.held--
			p.drop(e)
			continue
		}
		kept = append(kept, e)
	}
	p.queue = kept
}
