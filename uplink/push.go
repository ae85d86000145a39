package uplink

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"scanrelay/configs/wait"
	"scanrelay/store"
)

const (
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
	// finishing is how long calls in flight may go on after a stop; settling
	// how long their outcomes may take to be committed.
	finishing = 8 * time.Second
	settling  = 9500 * time.Millisecond
)

// pusher is the push relay. Its fields below work are the dispatcher's alone.
type pusher struct {
	outbox interface {
		Leaser
		Settler
	}
	wechat      WeChat
	clock       Clock
	gate        *gate
	answers     *answers
	bindings    *bindings
	tokens      *tokens
	valve       *valve
	waits       *waits
	desk        *desk
	flights     *flights
	meters      *meters
	log         *slog.Logger
	concurrency int
	onOutcome   func(store.Record)

	taking  context.Context // ends when no new call may begin
	calling context.Context // ends when calls are abandoned
	ending  context.Context // ends when outcomes are given up
	failed  chan error      // cap 1: the outbox failed for good

	work chan item
	done chan struct{}

	ready     []item
	asking    map[uint64]item
	busy      int
	left      meter       // records that left the relay, however
	crowded   atomic.Bool // records wait for a worker
	hungry    bool        // more records are wanted
	mayLease  bool        // the outbox may have more
	restUntil time.Time   // no lease before: the last one failed
}

func (p *pusher) nudge() { p.desk.nudge() }

// run pushes until ctx ends or the outbox fails. When it returns no call is in
// flight, what was answered is settled and all leases are given back.
func (p *pusher) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	detached := context.WithoutCancel(ctx)
	var abandon, giveUp context.CancelFunc
	p.taking = ctx
	p.calling, abandon = context.WithCancel(detached)
	defer abandon()
	p.ending, giveUp = context.WithCancel(detached)
	defer giveUp()

	p.work, p.done = make(chan item), make(chan struct{}, p.concurrency)
	p.asking, p.failed, p.mayLease = make(map[uint64]item), make(chan error, 1), true
	var workers sync.WaitGroup
	for range p.concurrency {
		workers.Go(p.serve)
	}
	workers.Go(func() { p.sweep(ctx) })
	err := p.dispatch(ctx)
	stop()
	close(p.work)
	late := []*time.Timer{time.AfterFunc(finishing, abandon), time.AfterFunc(settling, giveUp)}
	p.giveBack()
	workers.Wait()
	for _, t := range late {
		t.Stop()
	}
	return err
}

// giveBack returns the leases of everything that no worker has.
func (p *pusher) giveBack() {
	p.flush()
	now := p.clock.Now()
	for seq, it := range p.asking {
		p.release(again(it.rec, now))
		delete(p.asking, seq)
	}
}

// flush gives back what waits for a worker: calls may not be made now.
func (p *pusher) flush() {
	now := p.clock.Now()
	for _, it := range p.ready {
		p.release(again(it.rec, now))
	}
	p.ready = nil
}

// again gives a record back as it was, due at a moment.
func again(r store.Record, at time.Time) store.Retry {
	return store.Retry{Seq: r.ID.Seq, Lease: r.Lease, At: at, Attempts: r.Attempts, Last: r.Last}
}

// dispatch leases records, takes them through the gate and hands them to the
// workers, until ctx ends.
func (p *pusher) dispatch(ctx context.Context) error {
	alarm := time.NewTimer(0)
	defer alarm.Stop()
	for ctx.Err() == nil {
		window, until := p.window()
		if window == 0 {
			p.flush()
		} else if err := p.refill(window); err != nil {
			return err
		}
		p.crowded.Store(len(p.ready) > 0)
		alarm.Reset(p.sleepFor(window, until))
		out, first := p.nextItem(window)
		select {
		case out <- first:
			p.ready = p.ready[1:]
			p.busy++
		case <-p.done:
			p.busy--
			p.left.count(time.Now())
			p.mayLease = true
		case <-p.desk.replied:
			p.takeReplies()
		case <-p.outbox.Pushable():
			p.mayLease = true
		case <-p.valve.next():
		case <-p.tokens.next():
		case <-alarm.C:
			p.mayLease = true
		case err := <-p.failed:
			return err
		case <-ctx.Done():
		}
	}
	return nil
}

// window is how many records may be under way: 0 until a moment, 1, or any (-1).
func (p *pusher) window() (int, time.Time) {
	if !p.clock.Believable() || !p.tokens.usable() {
		return 0, time.Now().Add(time.Second)
	}
	return p.valve.window()
}

// nextItem offers the first ready record to the workers, if one may begin.
func (p *pusher) nextItem(window int) (chan<- item, item) {
	if window == 0 || len(p.ready) == 0 || (window > 0 && p.busy >= window) {
		return nil, item{}
	}
	return p.work, p.ready[0]
}

// sleepFor is when to look again although nothing happens.
func (p *pusher) sleepFor(window int, until time.Time) time.Duration {
	if window == 0 {
		return max(time.Millisecond, time.Until(until))
	}
	if !p.hungry {
		return idleLook // a worker or a reply comes first
	}
	if rest := time.Until(p.restUntil); rest > 0 {
		return rest
	}
	if p.mayLease {
		return 0
	}
	if due, ok := p.outbox.Due(); ok {
		return min(idleLook, max(minLook, due.Sub(p.clock.Now())))
	}
	return idleLook
}

// refill leases as many records as the workers will need soon.
func (p *pusher) refill(window int) error {
	p.refresh()
	want := p.target(window) - len(p.ready) - len(p.asking)
	p.hungry = want > 0 && len(p.ready)+len(p.asking) <= want
	if !p.hungry || !p.mayLease || time.Now().Before(p.restUntil) {
		return nil
	}
	recs, err := p.outbox.Lease(want, leaseLife)
	if errors.Is(err, store.ErrClosed) || errors.Is(err, store.ErrFailed) {
		return err
	}
	if err != nil {
		p.log.Error("lease events to push, trying again", "error", err)
		p.restUntil = time.Now().Add(leaseRest)
	}
	p.mayLease = err == nil && len(recs) == want
	p.admit(recs)
	return nil
}

// target is how many records to hold ready: what leaves within a short time.
func (p *pusher) target(window int) int {
	if window == 1 {
		return 1 - min(1, p.busy)
	}
	n := max(2*float64(p.concurrency), p.left.rate(time.Now())*ahead.Seconds())
	if r := p.valve.rate(); !math.IsInf(r, 1) {
		n = min(n, max(2, r*ahead.Seconds()))
	}
	return int(min(n, maxHeld))
}

// refresh takes records through the gate again whose turn did not come while
// their answer was fresh.
func (p *pusher) refresh() {
	for len(p.ready) > 0 && time.Since(p.ready[0].since) > answerLife/2 {
		it := p.ready[0]
		p.ready = p.ready[1:]
		p.consult(it.rec, it.leased)
	}
}

// sweep looks every minute for waiting events that expired, while events can be
// judged at all. It reads records, which must not hold the dispatcher up.
func (p *pusher) sweep(ctx context.Context) {
	for wait.Sleep(ctx, sweepEvery) {
		if window, _ := p.window(); window != 0 {
			p.waits.sweep(p.clock.Now())
		}
	}
}
