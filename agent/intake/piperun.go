package intake

import (
	"time"
)

// run acknowledges what is committed and gives the journal what is held, until
// the connection is gone and everything of it settled.
func (p *pipe) run() {
	for {
		if acks := p.settled(); len(acks) > 0 {
			err := p.out.acknowledge(acks)
			p.acknowledged()
			if err != nil {
				p.out.hangUp(err)
			}
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
// ids to acknowledge.
func (p *pipe) settled() (acks []uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for ; n < len(p.queue) && p.queue[n].state == entryDone; n++ {
		e := p.queue[n]
		if e.qos == 1 {
			p.forgetID(e.id)
			acks = append(acks, e.id)
		}
		if e.wait != nil {
			e.wait <- nil
		}
	}
	if n > 0 {
		clear(p.queue[:n])
		p.queue = p.queue[n:]
		signal(p.space)
	}
	if p.closed {
		return nil
	}
	p.acking = len(acks) > 0
	return acks
}

// acknowledged tells that what settled returned is written.
func (p *pipe) acknowledged() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.acking = false
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

// resubmit gives the journal a held entry. False: not now.
func (p *pipe) resubmit(e *entry) bool {
	if p.b.funnel.full() {
		return false
	}
	p.mu.Lock()
	if time.Now().Before(p.pause) {
		p.mu.Unlock()
		return false
	}
	e.state = entryOpen
	p.held--
	p.resubmitting = true
	p.mu.Unlock()
	err := p.submit(e)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resubmitting = false
	if err != nil {
		e.state = entryHeld
		p.pause = time.Now().Add(retryFullEvery)
		p.hold()
	}
	return err == nil
}

// finished reports whether the connection is gone and everything of it settled.
func (p *pipe) finished() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed && len(p.queue) == 0
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
	case <-p.b.closing:
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
	p.queue, p.since = kept, time.Time{}
}
