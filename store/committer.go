package store

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
	"scanrelay/store/event"
	"scanrelay/store/format"
	"scanrelay/store/journal"
)

const (
	// companyWait is how long a commit waits for producers that were answered by
	// the one before. A lone scan waits for nobody.
	companyWait = 3 * time.Millisecond
	// batchDelay is how long outcomes wait that nothing waits for: at a scan a second
	// each finds the next one to share a commit with.
	batchDelay = time.Second
	// idleDelay is how long messages wait in which no waybill number was found: a
	// depot's heartbeats shall not be a commit each.
	idleDelay = 900 * time.Millisecond
	// groupBytes bounds one commit, and with it how long the next one waits.
	groupBytes = 1 << 20
)

// How late what is only in memory may be written when no commit comes along.
const (
	watermarkLag = 5 * time.Second
	attemptsLag  = 5 * time.Second
	counterLag   = time.Second // of what is not stored
)

const (
	// fullRetry is how often a full outbox looks for room.
	fullRetry = time.Second
	// fullTell is how often the log says that it is full.
	fullTell = time.Minute
	// retireEvery is how often segments past retain are looked for.
	retireEvery = time.Minute
)

// committer is the only one that writes: one goroutine, which puts whatever
// waits into one commit.
type committer struct {
	o      *Outbox
	opts   Options
	dedupe *dedupe
	queue  *queue       // what waits
	room   *roomGate    // whether intake may submit
	spare  atomic.Int64 // how much more can be taken in, about

	pace       pace      // at which scans come
	nextRoom   time.Time // when to look for room again
	nextRetire time.Time // when to look for segments past retain
	toldFull   time.Time // when the log said last that it is full
	telling    bool      // and has to say that it is not any more

	// mu is held while what one commit changed is taken into memory, so that all
	// of it appears at once, and guards what follows. It is never held during I/O.
	mu      sync.Mutex
	dirtyBy time.Time // when the state has to be written; zero: it is
	stuck   bool      // not even outcomes can be written
	failure error
	failed  chan struct{}

	stop     chan struct{}
	stopOnce sync.Once
	stopped  chan struct{}
	closeErr error // valid once stopped is closed
}

func (c *committer) init(o *Outbox, opts Options) {
	c.o, c.opts, c.dedupe = o, opts, newDedupe()
	c.queue = &queue{wake: make(chan struct{}, 1)}
	c.room = newRoomGate(c.queue.busy)
	c.queue.onRoom = c.room.update
	c.failed, c.stop, c.stopped = make(chan struct{}), make(chan struct{}), make(chan struct{})
}

// Err returns why the outbox failed, nil if it did not.
func (c *committer) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failure
}

// accepting tells why intake may not submit now, nil if it may.
func (c *committer) accepting() error {
	if err := c.Err(); err != nil {
		return err
	}
	if !c.room.open() || c.queue.busy() {
		return ErrFull
	}
	return nil
}

// What one client, and all clients of one host, may have of what is pending: so many
// times what is left. With 4 one alone gets 80 % of the room, two get 89 % together.
const (
	clientShare = 4
	hostShare   = 9
)

// sharing tells why a client may not submit now, nil if it may.
func (c *committer) sharing(b *scan.Batch) error {
	if !b.Shared {
		return nil
	}
	spare := c.spare.Load()
	if own, host := c.o.index.Used(b.Client); own > clientShare*spare || host > hostShare*spare {
		return event.ErrShare
	}
	return nil
}

// settling tells why outcomes could not be written now, nil if they could.
func (c *committer) settling() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failure == nil && c.stuck {
		return ErrFull
	}
	return c.failure
}

// run ends when Close was called and everything taken is committed.
func (c *committer) run() {
	defer close(c.stopped)
	debug.SetPanicOnFault(true) // see boltpage.Recover
	last := 0                   // ops in the last commit
	c.opts.Pulse.Begin()
	defer c.opts.Pulse.End()
	for stopping := false; ; {
		idle := c.housekeep()
		if c.queue.len() > 0 {
			if !stopping {
				c.awaitCompany(last)
			}
			ops := c.queue.take(c.groupLimit())
			last = len(ops)
			c.pace.count(ops, time.Now())
			c.commit(ops)
			c.opts.Pulse.End()
			c.opts.Pulse.Begin()
			continue
		}
		if stopping {
			c.closeErr = c.shutdown()
			return
		}
		timer := time.NewTimer(idle)
		c.opts.Pulse.End()
		select {
		case <-c.queue.wake:
		case task := <-c.o.journal.Tasks():
			c.do(task)
		case <-timer.C:
			last = 0
		case <-c.stop:
			stopping = true
		}
		c.opts.Pulse.Begin()
		timer.Stop()
	}
}

// awaitCompany lets what waits have others to share its commit with. last is how many
// ops there were in the one before.
func (c *committer) awaitCompany(last int) {
	begin := time.Now()
	c.await(begin.Add(c.opts.idleDelay), c.queue.hasCompany)
	// Without room no scan comes.
	c.await(begin.Add(c.opts.batchDelay), func() bool { return !c.queue.allPatient() || !c.room.open() })
	if !c.linger() {
		c.await(time.Now().Add(companyWait), func() bool { return last <= 1 || c.queue.len() >= last })
	}
}

// linger waits for more scans where that is worth it, and reports whether it did.
func (c *committer) linger() bool {
	begin := time.Now()
	if c.queue.hasUrgent() || c.queue.intake() == 0 || !c.pace.worthwhile(begin) {
		return false
	}
	c.await(begin.Add(lingerAlone), c.queue.hasUrgent)
	before := c.queue.intake()
	c.await(begin.Add(linger), c.queue.hasUrgent)
	if !c.queue.hasUrgent() {
		c.pace.lingered(c.queue.intake() > before)
	}
	return true
}

// await waits until enough is there, and at the latest until a moment or a stop.
// Meanwhile it does what others ask for.
func (c *committer) await(until time.Time, enough func() bool) {
	if enough() {
		return
	}
	end := time.NewTimer(time.Until(until))
	defer end.Stop()
	for c.Err() == nil && !enough() {
		select {
		case <-c.queue.wake:
		case task := <-c.o.journal.Tasks():
			c.do(task)
		case <-end.C:
			return
		case <-c.stop:
			return
		}
	}
}

// groupLimit bounds a commit so that it fits into a segment of the size that
// the file system gives at present.
func (c *committer) groupLimit() int { return int(min(groupBytes, c.o.journal.SegmentBytes()/4)) }

// commit writes the ops and answers each one, in their order.
func (c *committer) commit(ops []op) {
	results := make([]error, len(ops))
	if err := c.Err(); err != nil {
		for i := range results {
			results[i] = err
		}
	} else if err := c.commitOnce(ops, results, false); err != nil {
		c.withoutIntake(ops, results)
	}
	for i, p := range ops {
		p.finish(results[i])
	}
}

// withoutIntake refuses what is new and writes the outcomes, for which room is
// kept: a few at a time, so that none of it is wasted at the end of a segment.
func (c *committer) withoutIntake(ops []op, results []error) {
	c.becomeFull()
	for i, p := range ops {
		if p.spends() && results[i] == nil {
			results[i] = ErrFull
		}
	}
	if len(ops) == 0 { // the state
		c.setStuck(c.commitOnce(nil, nil, true) != nil)
	}
	for from, n := 0, 0; from < len(ops); from += n {
		weight := ops[from].weight()
		for n = 1; from+n < len(ops) && weight+ops[from+n].weight() <= format.MaxNotes; n++ {
			weight += ops[from+n].weight()
		}
		some := results[from : from+n]
		if !slices.Contains(some, nil) {
			continue
		}
		err := c.commitOnce(ops[from:from+n], some, true)
		for i := range some {
			if err != nil && some[i] == nil {
				some[i] = ErrFull
			}
		}
		c.setStuck(err != nil)
	}
}

// commitOnce tries to commit all ops without a result yet, inside: in the room
// that is kept for outcomes. It returns an error
// only if there was no room; then nothing was written and nothing changed in
// memory. Every other failure is fatal and in the results.
func (c *committer) commitOnce(ops []op, results []error, inside bool) error {
	g := c.newGroup(inside)
	for i, p := range ops {
		if results[i] == nil {
			results[i] = p.stage(g)
		}
	}
	start := time.Now()
	err := g.store(len(ops) == 0)
	if err == nil {
		if !g.Empty() {
			c.opts.OnCommit(time.Since(start), g.Records())
		}
		c.apply(g, ops, results)
		c.dedupe.settle()
		c.spare.Store(c.o.journal.Spare(maxOpWeight))
		return nil
	}
	g.undo()
	if errors.Is(err, journal.ErrNoSpace) {
		return err
	}
	c.fail(err)
	for i := range results {
		if results[i] == nil {
			results[i] = c.Err()
		}
	}
	return nil
}

// apply takes into memory what is on disk now, in one step.
func (c *committer) apply(g *group, ops []op, results []error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.o.journal.Applied(g.Batch)
	for i, p := range ops {
		if results[i] == nil {
			p.apply(g)
		}
	}
	now := c.o.index.Counts()
	if !g.Empty() || len(ops) == 0 {
		c.dirtyBy = time.Time{}
		if now.Unsaved > 0 && c.room.open() {
			c.dirtyLocked(attemptsLag) // there were too many for this commit
		}
	} else if g.counted {
		c.dirtyLocked(counterLag)
	}
	if g.State.Watermark != now.Watermark {
		c.dirtyLocked(watermarkLag)
	}
	if g.Events() > 0 {
		wait.Signal(c.o.arrived)
	}
}

// dirtyLocked has the state written within lag.
func (c *committer) dirtyLocked(lag time.Duration) {
	by := time.Now().Add(lag)
	if c.dirtyBy.IsZero() || by.Before(c.dirtyBy) {
		c.dirtyBy = by
		wait.Signal(c.queue.wake)
	}
}

// fail ends the outbox: nothing is taken or answered with success any more.
// The next start must not write to this segment again.
func (c *committer) fail(err error) {
	markErr := c.o.journal.MarkSuspect()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failure == nil {
		c.failure = errors.Join(fmt.Errorf("%w: %w", event.ErrFailed, err), markErr)
		close(c.failed)
	}
}

// shutdown writes what is still only in memory and closes the files.
func (c *committer) shutdown() error {
	if !c.flushBy().IsZero() && c.Err() == nil {
		c.commit(nil)
	}
	c.saveAttempts()
	if c.Err() == nil {
		c.o.journal.Checkpoint()
	}
	err := errors.Join(c.Err(), c.o.journal.Close(), c.o.quarantine.Close())
	if err == nil {
		err = c.o.journal.MarkClean(c.o.index.WaitingMark())
	}
	c.o.lock.Release()
	return err
}

// saveAttempts writes at a stop what a restart should know.
func (c *committer) saveAttempts() {
	c.o.index.UnsaveAll()
	for c.o.index.Counts().Unsaved > 0 && c.Err() == nil && c.room.open() {
		c.commit(nil)
	}
}

// housekeep does what is due without anybody asking for it, and returns how
// long nothing will be.
func (c *committer) housekeep() time.Duration {
	if c.Err() != nil {
		return retireEvery
	}
	select {
	case task := <-c.o.journal.Tasks():
		c.do(task)
	default:
	}
	now := time.Now()
	if c.lacksRoom() && !now.Before(c.nextRoom) {
		c.findRoom()
		c.nextRoom = now.Add(fullRetry)
	}
	if !now.Before(c.nextRetire) {
		if err := c.o.journal.Retire(); err != nil {
			c.fail(err)
		}
		c.nextRetire = now.Add(retireEvery)
	}
	if by := c.flushBy(); !by.IsZero() && !now.Before(by) {
		c.flush()
	}
	next := c.nextRetire
	if by := c.flushBy(); !by.IsZero() && by.Before(next) {
		next = by
	}
	if c.lacksRoom() && c.nextRoom.Before(next) {
		next = c.nextRoom
	}
	return max(next.Sub(now), time.Millisecond)
}

// do does something for who works aside; what waits for room may find some then.
func (c *committer) do(task func() error) {
	if err := task(); err != nil {
		c.fail(err)
	}
	c.nextRoom, c.nextRetire = time.Time{}, time.Time{}
}

// flush writes the state by itself. Where there is no room for it, it has time.
func (c *committer) flush() {
	c.commit(nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dirtyBy.IsZero() {
		c.dirtyBy = time.Now().Add(watermarkLag)
	}
}

// flushBy returns when the state has to be written; zero: it is.
func (c *committer) flushBy() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dirtyBy
}

// becomeFull makes intake wait.
func (c *committer) becomeFull() {
	c.nextRoom = time.Now().Add(fullRetry)
	if now := time.Now(); c.room.setFull(true) && now.Sub(c.toldFull) >= fullTell {
		c.toldFull, c.telling = now, true
		c.opts.Logger.Warn("outbox is full: scans are not acknowledged until there is room", "bytes", c.o.journal.Usage().All, "max", c.opts.MaxSize)
	}
}

// lacksRoom reports whether intake or even outcomes wait for room.
func (c *committer) lacksRoom() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stuck || !c.room.open()
}

func (c *committer) setStuck(stuck bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stuck = stuck || !c.o.journal.Writable()
}

// findRoom ends being full, if it can; where not, it sees to it that outcomes can
// be written.
func (c *committer) findRoom() {
	err := c.o.journal.MakeRoom(maxOpWeight, false)
	c.spare.Store(c.o.journal.Spare(maxOpWeight))
	switch {
	case err == nil:
		c.setStuck(false)
		if c.room.setFull(false) && c.telling {
			c.telling = false
			c.opts.Logger.Info("outbox has room again", "bytes", c.o.journal.Usage().All)
		}
	case !errors.Is(err, journal.ErrNoSpace):
		c.fail(err)
	case c.o.journal.MakeRoom(format.MaxNotes, true) == nil:
		c.setStuck(false)
	}
}
