package store

import (
	"cmp"
	"context"
	"fmt"

	"scanrelay/agent/scan"
	"scanrelay/store/durable"
)

// Outbox keeps every scan event until it is finished, and for a while after.
// All its methods may be called from any goroutine. Beside its own it has those
// of its parts.
type Outbox struct {
	View
	Commands
	Waiters
	committer
	dir     string
	lock    *durable.Lock
	arrived chan struct{}
	opened  uint64 // the number that came next when it was opened
}

func newOutbox(dir string, opts Options, lock *durable.Lock) *Outbox {
	o := &Outbox{dir: dir, lock: lock, arrived: make(chan struct{}, 1)}
	o.Commands, o.Waiters = Commands{o}, Waiters{o}
	o.committer.init(o, opts)
	return o
}

// Submit takes a batch for the next commit and returns at once. done is called
// exactly once, from the committer's goroutine, in the order of submission,
// after fsync or with an error; it must not block. An error from Submit means
// that the batch was not taken and done is not called: ErrFull (wait for Room; an
// ErrShare: its client has its share, try again later), ErrClosed or ErrFailed.
func (o *Outbox) Submit(b scan.Batch, done func(scan.Stored, error)) error {
	if err := cmp.Or(o.accepting(), refusedBefore(&b), o.sharing(&b)); err != nil {
		return err
	}
	ops := o.newAppend(b, done)
	return o.queue.push(ops...)
}

// Append is Submit that waits until the batch is on disk. When ctx ends first,
// the batch may still be stored.
func (o *Outbox) Append(ctx context.Context, b scan.Batch) (scan.Stored, error) {
	type result struct {
		stored scan.Stored
		err    error
	}
	done := make(chan result, 1)
	if err := o.Submit(b, func(s scan.Stored, err error) { done <- result{s, err} }); err != nil {
		return scan.Stored{}, err
	}
	select {
	case r := <-done:
		return r.stored, r.err
	case <-ctx.Done():
		return scan.Stored{}, fmt.Errorf("append: %w", ctx.Err())
	}
}

// Room returns a channel that is closed while, or as soon as, Submit takes
// batches.
func (o *Outbox) Room() <-chan struct{} { return o.room.wait() }

// Failed is closed when a sync to disk failed. Nothing is taken any more; the
// process must end with exit code 1 after one clear line with Err.
func (o *Outbox) Failed() <-chan struct{} { return o.failed }

// Arrived receives when something new is unsynced.
func (o *Outbox) Arrived() <-chan struct{} { return o.arrived }

// Pushable receives when Lease may find more than it did before.
func (o *Outbox) Pushable() <-chan struct{} { return o.index.Pushable() }

// Close stops taking batches, commits what was taken and closes the files.
// When ctx ends first it returns its error and the rest happens behind.
func (o *Outbox) Close(ctx context.Context) error {
	o.stopOnce.Do(func() {
		o.queue.close()
		o.journal.Stop()
		close(o.stop)
	})
	select {
	case <-o.stopped:
		return o.closeErr
	case <-ctx.Done():
		return fmt.Errorf("close outbox: %w", ctx.Err())
	}
}

// Counts returns the outbox at this moment.
func (o *Outbox) Counts() Counts {
	o.mu.Lock() // what one commit changes appears at once
	c := o.View.counts()
	o.mu.Unlock()
	c.Full = !o.room.open()
	return o.measure(c)
}
