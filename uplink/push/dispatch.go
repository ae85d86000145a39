package push

import (
	"context"
	"errors"
	"math"
	"time"

	"scanrelay/store/event"
	"scanrelay/uplink/shared"
	"scanrelay/uplink/valve"
)

const (
	// leaseLife is how long records are leased.
	leaseLife = 5 * time.Minute
	// maxHeld bounds the records leased ahead of the workers.
	maxHeld = 512
	// ahead is how long leased records may wait at the pace at which they
	// leave: new scans must not stand in line behind what was leased before.
	ahead = 2 * time.Second
	// idleLook is when the dispatcher looks around although nothing happened.
	idleLook = time.Minute
	// minLook keeps looking for due records from becoming a busy loop.
	minLook = 10 * time.Millisecond
	// leaseRest is the pause after a lease that failed.
	leaseRest = time.Second
)

// dispatcher leases records, takes them through the gate and hands them to the
// workers. It is one goroutine's alone.
type dispatcher struct {
	*Relay
	ready     []item
	asking    map[uint64]item // the centre is asked about these
	busy      int             // workers
	left      valve.Meter     // records that left the relay, however
	hungry    bool            // more records are wanted
	mayLease  bool            // the outbox may have more
	restUntil time.Time       // no lease before: the last one failed
}

// run goes on until ctx ends or the outbox fails.
func (d *dispatcher) run(ctx context.Context) (err error) {
	alarm := time.NewTimer(0)
	defer alarm.Stop()
	d.Pulse.Begin()
	defer d.Pulse.End()
	for ctx.Err() == nil {
		window, until := d.window()
		if window == 0 {
			d.flush()
		} else if err := d.refill(window); err != nil {
			return err
		}
		d.Outbox.Hurry(d.crowded(window))
		alarm.Reset(d.sleepFor(window, until))
		out, first := d.next(window)
		resolved := false
		d.Pulse.End()
		select {
		case out <- first:
			d.ready = d.ready[1:]
			d.busy++
		case <-d.done:
			d.busy--
			d.left.Count(time.Now())
			d.mayLease = true
		case <-d.Questions.Resolved():
			resolved = true
		case <-d.Outbox.Pushable():
			d.mayLease = true
		case <-d.Valve.Changed():
		case <-alarm.C:
			d.mayLease = true
		case err = <-d.failed:
		case <-ctx.Done():
		}
		d.Pulse.Begin()
		if err != nil {
			return err
		}
		if resolved {
			d.takeResolved()
		}
	}
	return nil
}

// next offers the first ready record to the workers, if one may begin.
func (d *dispatcher) next(window int) (chan<- item, item) {
	if window == 0 || len(d.ready) == 0 || (window > 0 && d.busy >= window) {
		return nil, item{}
	}
	return d.work, d.ready[0]
}

// crowded reports whether something waits for a place that a worker holds. While
// only one may be under way nothing is leased meanwhile that would show it.
func (d *dispatcher) crowded(window int) bool {
	full := d.busy >= d.Concurrency || window > 0 && d.busy >= window
	return full && (window == 1 || len(d.ready) > 0)
}

// sleepFor is when to look again although nothing happens.
func (d *dispatcher) sleepFor(window int, until time.Time) time.Duration {
	if window == 0 {
		return max(time.Millisecond, time.Until(until))
	}
	if !d.hungry {
		return idleLook // a worker or a resolved question comes first
	}
	if rest := time.Until(d.restUntil); rest > 0 {
		return rest
	}
	if d.mayLease {
		return 0
	}
	if due, ok := d.Outbox.Due(); ok {
		return min(idleLook, max(minLook, due.Sub(d.Clock.Now())))
	}
	return idleLook
}

// refill leases as many records as the workers will need soon.
func (d *dispatcher) refill(window int) error {
	d.refresh()
	want := d.target(window) - len(d.ready) - len(d.asking)
	d.hungry = want > 0 && len(d.ready)+len(d.asking) <= want
	if !d.hungry || !d.mayLease || time.Now().Before(d.restUntil) {
		return nil
	}
	recs, err := d.Outbox.Lease(want, leaseLife)
	if errors.Is(err, event.ErrClosed) || errors.Is(err, event.ErrFailed) {
		return err
	}
	if err != nil {
		d.Log.Error("lease events to push, trying again", "error", err)
		d.restUntil = time.Now().Add(leaseRest)
	}
	d.mayLease = err == nil && len(recs) == want
	d.admit(recs)
	return nil
}

// target is how many records to hold ready: what leaves within a short time.
func (d *dispatcher) target(window int) int {
	if window == 1 {
		return 1 - min(1, d.busy)
	}
	n := max(2*float64(d.Concurrency), d.left.Rate(time.Now())*ahead.Seconds())
	if r := d.Valve.Rate(); !math.IsInf(r, 1) {
		n = min(n, max(2, r*ahead.Seconds()))
	}
	return int(min(n, maxHeld))
}

// refresh takes records through the gate again whose turn did not come while
// their answer was fresh.
func (d *dispatcher) refresh() {
	for len(d.ready) > 0 && time.Since(d.ready[0].since) > shared.AnswerLife/2 {
		it := d.ready[0]
		d.ready = d.ready[1:]
		d.consult(it.rec, it.leased)
	}
}

// flush gives back what waits for a worker: calls may not be made now.
func (d *dispatcher) flush() {
	for _, it := range d.ready {
		d.release(again(it.rec, d.Clock.Now()))
	}
	d.ready = nil
}

// giveBack returns the leases of everything that no worker has.
func (d *dispatcher) giveBack() {
	d.flush()
	for _, it := range d.asking {
		d.release(again(it.rec, d.Clock.Now()))
	}
}
