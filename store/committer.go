package store

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"scanrelay/configs/wait"
	"scanrelay/store/boltpage"
	"scanrelay/store/event"
	"scanrelay/store/journal"
)

const (
	// companyWait is how long a commit waits for producers that were answered by
	// the one before. A lone scan waits for nobody.
	companyWait = 3 * time.Millisecond
	// batchDelay is how long outcomes wait that nothing waits for.
	batchDelay = 25 * time.Millisecond
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
	// retireEvery is how often segments past retain are looked for.
	retireEvery = time.Minute
)

// committer is the only one that writes: one goroutine, which puts whatever
// waits into one commit.
type committer struct {
	o      *Outbox
	opts   Options
	dedupe *dedupe
	queue  *queue    // what waits
	room   *roomGate // whether intake may submit

	nextRoom   time.Time // when to look for room again
	nextRetire time.Time // when to look for segments past retain

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
	for stopping := false; ; {
		idle := c.housekeep()
		if c.queue.len() > 0 {
			if !stopping {
				c.queue.await(c.opts.batchDelay, c.stop, c.queue.hasUrgent)
				c.queue.await(companyWait, c.stop, func() bool { return last <= 1 || c.queue.len() >= last })
			}
			ops := c.queue.take(c.groupLimit())
			last = len(ops)
			c.commit(ops)
			continue
		}
		if stopping {
			c.closeErr = c.shutdown()
			return
		}
		timer := time.NewTimer(idle)
		select {
		case <-c.queue.wake:
		case <-timer.C:
			last = 0
		case <-c.stop:
			stopping = true
		}
		timer.Stop()
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
	} else if err := c.commitOnce(ops, results); err != nil {
		c.withoutIntake(ops, results)
	}
	for i, p := range ops {
		p.finish(results[i])
	}
}

// withoutIntake refuses what is new and writes the outcomes, for which a
// reserve is kept.
func (c *committer) withoutIntake(ops []op, results []error) {
	c.becomeFull()
	more := len(ops) == 0
	for i, p := range ops {
		if p.intake() && results[i] == nil {
			results[i] = ErrFull
		}
		more = more || results[i] == nil
	}
	if !more {
		return
	}
	err := c.commitOnce(ops, results)
	for i := range results {
		if err != nil && results[i] == nil {
			results[i] = ErrFull
		}
	}
	c.setStuck(err != nil)
}

// commitOnce tries to commit all ops without a result yet. It returns an error
// only if there was no room; then nothing was written and nothing changed in
// memory. Every other failure is fatal and in the results.
func (c *committer) commitOnce(ops []op, results []error) error {
	g := c.newGroup()
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
	if c.room.setFull(true) {
		c.opts.Logger.Warn("outbox is full: scans are not acknowledged until there is room", "bytes", c.o.journal.Bytes(), "max", c.opts.MaxSize)
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
	c.stuck = stuck
}

// findRoom ends being full, if it can; where not, it sees to it that outcomes can
// be written.
func (c *committer) findRoom() {
	err := c.o.journal.MakeRoom(maxOpWeight, true)
	switch {
	case err == nil:
		c.setStuck(false)
		if c.room.setFull(false) {
			c.opts.Logger.Info("outbox has room again", "bytes", c.o.journal.Bytes())
		}
	case !errors.Is(err, journal.ErrNoSpace):
		c.fail(err)
	case c.o.journal.MakeRoom(boltpage.AllocSize, false) == nil:
		c.setStuck(false)
	}
}
