package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/event"
)

const (
	// lingerMax is how long a commit waits for producers that were answered
	// by the one before. A lone scan waits for nobody.
	lingerMax = 3 * time.Millisecond
	// patience is how long outcomes that nothing waits for do.
	patience = 25 * time.Millisecond
	// groupBytes bounds one commit, and with it how long the next one waits.
	groupBytes = 1 << 20
)

// run is the committer: the only goroutine that writes. It ends when Close was
// called and everything taken is committed.
func (o *Outbox) run() {
	defer close(o.stopped)
	debug.SetPanicOnFault(true) // see guard
	last := 0                   // ops in the last commit
	for stopping := false; ; {
		idle := o.housekeep()
		if o.queue.len() > 0 {
			if !stopping {
				o.queue.lull(o.opts.patience, o.stop)
			}
			if last > 1 && !stopping {
				o.queue.linger(last, lingerMax, o.stop)
			}
			ops := o.queue.take(o.groupLimit())
			last = len(ops)
			o.commit(ops)
			continue
		}
		if stopping {
			o.closeErr = o.shutdown()
			return
		}
		timer := time.NewTimer(idle)
		select {
		case <-o.queue.wake:
		case <-timer.C:
			last = 0
		case <-o.stop:
			stopping = true
		}
		timer.Stop()
	}
}

// groupLimit bounds a commit so that it fits into a segment of the size that
// the file system gives at present.
func (o *Outbox) groupLimit() int { return int(min(groupBytes, o.journal.newest().size/4)) }

// commit writes the ops and answers each one, in their order.
func (o *Outbox) commit(ops []op) {
	results := make([]error, len(ops))
	if err := o.Err(); err != nil {
		for i := range results {
			results[i] = err
		}
	} else if err := o.commitOnce(ops, results); err != nil {
		o.withoutIntake(ops, results)
	}
	for i, p := range ops {
		p.Finish(results[i])
	}
}

// withoutIntake refuses what is new and writes the outcomes, for which a
// reserve is kept.
func (o *Outbox) withoutIntake(ops []op, results []error) {
	o.becomeFull()
	more := len(ops) == 0
	for i, p := range ops {
		if p.intake() && results[i] == nil {
			results[i] = event.ErrFull
		}
		more = more || results[i] == nil
	}
	if !more {
		return
	}
	err := o.commitOnce(ops, results)
	for i := range results {
		if err != nil && results[i] == nil {
			results[i] = event.ErrFull
		}
	}
	o.setStuck(err != nil)
}

// commitOnce tries to commit all ops without a result yet. It returns an error
// only if there was no room; then nothing was written and nothing changed in
// memory. Every other failure is fatal and in the results.
func (o *Outbox) commitOnce(ops []op, results []error) error {
	g := o.newGroup()
	for i, p := range ops {
		if results[i] == nil {
			results[i] = p.stage(g)
		}
	}
	start := time.Now()
	err := o.store(g, len(ops) == 0)
	if err == nil {
		if !g.empty() {
			o.opts.OnCommit(time.Since(start), len(g.events)+len(g.notes))
		}
		o.applyGroup(g, ops, results)
		return nil
	}
	g.undo()
	if errors.Is(err, errNoSpace) {
		return err
	}
	o.fail(err)
	for i := range results {
		if results[i] == nil {
			results[i] = o.Err()
		}
	}
	return nil
}

// store makes the group durable: rejects first, then the segment, which must
// have room before. flush: the state is written even if nothing else has to be.
func (o *Outbox) store(g *group, flush bool) error {
	g.segment = o.journal.newest()
	if g.empty() && !flush {
		return o.quarantine.Add(g.rejects)
	}
	err := o.writeGroup(g)
	if !errors.Is(err, errNoSpace) {
		return err
	}
	// The segment took more than was reckoned: the next one has room.
	if err := o.rollFor(g); err != nil {
		return err
	}
	return o.writeGroup(g)
}

// writeGroup commits the group to a segment that has room for it, behind its
// rejects.
func (o *Outbox) writeGroup(g *group) (err error) {
	defer boltpage.Recover(&err)
	tx, err := o.begin(g)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if err := o.quarantine.Add(g.rejects); err != nil {
		return err
	}
	g.rejects = nil // kept now, whatever becomes of the rest
	if err := g.write(tx); err != nil {
		return err
	}
	if err := o.commitTx(tx); err != nil {
		return err
	}
	g.segment.notes += uint64(len(g.notes))
	for _, e := range g.events {
		g.segment.register.append(e.waybill)
	}
	return nil
}

// commitTx commits; an error is errNoSpace if it may be tried again.
func (o *Outbox) commitTx(tx *bolt.Tx) (err error) {
	defer boltpage.Recover(&err)
	if err = o.opts.commit(tx); err != nil && boltpage.Retryable(err) {
		return fmt.Errorf("%w: %w", errNoSpace, err)
	}
	return err
}

// begin returns a transaction on a segment that has room for the group.
func (o *Outbox) begin(g *group) (*bolt.Tx, error) {
	for {
		tx, err := g.segment.db.Begin(true)
		if err != nil {
			return nil, fmt.Errorf("begin commit: %w", err)
		}
		used := tx.Size()
		if g.fits(g.segment, used) {
			o.mu.Lock()
			g.segment.usedBytes = used
			o.mu.Unlock()
			return tx, nil
		}
		if err := tx.Rollback(); err != nil {
			return nil, fmt.Errorf("begin commit: %w", err)
		}
		if err := o.rollFor(g); err != nil {
			return nil, err
		}
	}
}

// rollFor begins a segment for the group, once.
func (o *Outbox) rollFor(g *group) error {
	if g.rolled {
		return fmt.Errorf("%w: a commit of %d bytes fits into none", errNoSpace, g.bytes)
	}
	g.rolled = true
	if err := o.roll(len(g.events) > 0); err != nil {
		return err
	}
	g.segment = o.journal.newest()
	g.next.base, g.next.dropped = o.state.base, o.state.dropped // roll may have dropped a segment
	return nil
}

// applyGroup takes into memory what is on disk now, in one step.
func (o *Outbox) applyGroup(g *group, ops []op, results []error) {
	written := !g.empty() || len(ops) == 0
	o.locked(func(x *index) {
		counted := g.next.duplicate != o.state.duplicate || g.next.ignored != o.state.ignored
		o.state = *g.next
		for i, p := range ops {
			if results[i] == nil {
				p.Apply(o, g)
			}
		}
		if written {
			o.dirtyBy = time.Time{}
			if len(x.unsaved) > 0 && o.room.open() {
				o.dirtyLocked(attemptsLag) // there were too many for this commit
			}
		} else if counted {
			o.dirtyLocked(counterLag)
		}
		if g.next.watermark != x.watermark {
			o.dirtyLocked(watermarkLag)
		}
	})
	if len(g.events) > 0 {
		signal(o.arrived)
	}
}

// fail ends the outbox: nothing is taken or answered with success any more.
// The next start must not write to this segment again (deps.md A2).
func (o *Outbox) fail(err error) {
	newest := o.journal.newest()
	mark := []byte(filepath.Base(newest.path) + "\n")
	markErr := os.WriteFile(filepath.Join(o.dir, suspectName), mark, 0o600)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failure == nil {
		o.failure = errors.Join(fmt.Errorf("%w: %w", event.ErrFailed, err), markErr)
		close(o.failed)
	}
}

// shutdown writes what is still only in memory and closes the files.
func (o *Outbox) shutdown() error {
	o.mu.Lock()
	dirty := !o.dirtyBy.IsZero()
	o.mu.Unlock()
	if dirty && o.Err() == nil {
		o.commit(nil)
	}
	o.saveAttempts()
	o.background.Wait()
	if from, to := o.journal.newest().register.lacks(); from == to {
		o.saveRegister(o.journal.newest())
	}
	err := errors.Join(o.Err(), o.journal.close(), o.quarantine.Close())
	if err == nil {
		err = o.markClean()
	}
	o.lock.Release()
	return err
}
