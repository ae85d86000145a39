package store

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/durable"
	"scanrelay/store/event"
	"scanrelay/store/quarantine"
)

// Options of an outbox; every zero value has a default.
type Options struct {
	MaxSize         int64         // bytes of all segments together; 2 GiB
	Retain          time.Duration // finished events are kept this long; 168 h
	QuarantineSize  int64         // bytes of the quarantine's file; 64 MiB
	QuarantineCount int           // entries in quarantine; 10,000
	// MachineID names this machine. Where the store was made on another one,
	// a new epoch is taken (cloned card). "" is not compared.
	MachineID string
	Logger    *slog.Logger
	Now       func() time.Time
	// OnCommit hears of every commit: how long it took, and how many events
	// and outcomes it held. It must not block.
	OnCommit func(took time.Duration, records int)

	segmentSize int64                // tests only
	windowSize  int                  // tests only
	patience    time.Duration        // tests only
	commit      func(*bolt.Tx) error // tests only
}

func (o *Options) fill() error {
	setDefault(&o.MaxSize, 2<<30)
	setDefault(&o.Retain, 168*time.Hour)
	setDefault(&o.QuarantineSize, 64<<20)
	setDefault(&o.QuarantineCount, 10000)
	setDefault(&o.segmentSize, segmentSizeFor(o.MaxSize))
	setDefault(&o.windowSize, windowSize)
	setDefault(&o.patience, patience)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.OnCommit == nil {
		o.OnCommit = func(time.Duration, int) {}
	}
	if o.commit == nil {
		o.commit = (*bolt.Tx).Commit
	}
	if o.MaxSize < minMaxSize {
		return fmt.Errorf("store.max_size is %d bytes: give it at least %d", o.MaxSize, minMaxSize)
	}
	return nil
}

func setDefault[T ~int | ~int64](v *T, value T) {
	if *v == 0 {
		*v = value
	}
}

// Outbox keeps every scan event until it is finished, and for a while after.
// All its methods may be called from any goroutine.
type Outbox struct {
	opts Options
	dir  string
	lock *durable.Lock
	// readOnly: nothing may be written; see Reader.
	readOnly   bool
	journal    *journal
	quarantine *quarantine.Quarantine

	dedupe     *dedupe   // the committer's, as the two times are
	nextRoom   time.Time // when to look for room again
	nextRetire time.Time // when to look for segments past retain
	queue      *queue    // what waits for the committer
	room       *roomGate // whether intake may submit
	leasing    sync.Mutex
	background sync.WaitGroup // registers being written; the committer waits for them

	// mu guards what follows. It is never held during I/O.
	mu       sync.Mutex
	index    *index
	state    state
	totals   totals              // of all segments, dropped ones included
	dirtyBy  time.Time           // when the state has to be written; zero: it is
	claimed  map[uint64]struct{} // dead letters that somebody is putting back or discarding
	stuck    bool                // not even outcomes can be written
	rewound  uint64              // numbers up to here may be finished although above the watermark
	failure  error
	failed   chan struct{}
	arrived  chan struct{}
	pushable chan struct{}

	opened uint64 // the number that came next when it was opened

	// Only while opening.
	waiting   []byte   // what waited for data at a clean stop
	lastAside uint64   // number of the last segment set aside
	rollFirst bool     // the newest segment must not be written to
	damage    []string // what was found damaged

	stop     chan struct{}
	stopOnce sync.Once
	stopped  chan struct{}
	closeErr error // valid once stopped is closed
}

// Submit takes a batch for the next commit and returns at once. done is called
// exactly once, from the committer's goroutine, in the order of submission,
// after fsync or with an error; it must not block. An error from Submit means
// that the batch was not taken and done is not called: ErrFull (wait for Room),
// ErrClosed or ErrFailed.
func (o *Outbox) Submit(b scan.Batch, done func(scan.Stored, error)) error {
	ops := o.newAppend(b, done)
	if err := o.accepting(); err != nil {
		return err
	}
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

// accepting tells why intake may not submit now, nil if it may.
func (o *Outbox) accepting() error {
	if err := o.Err(); err != nil {
		return err
	}
	if !o.room.open() || o.queue.busy() {
		return event.ErrFull
	}
	return nil
}

// Failed is closed when a sync to disk failed. Nothing is taken any more; the
// process must end with exit code 1 after one clear line with Err.
func (o *Outbox) Failed() <-chan struct{} { return o.failed }

// Err returns why the outbox failed, nil if it did not.
func (o *Outbox) Err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failure
}

// Arrived receives when something new is unsynced.
func (o *Outbox) Arrived() <-chan struct{} { return o.arrived }

// Pushable receives when Lease may find more than it did before.
func (o *Outbox) Pushable() <-chan struct{} { return o.pushable }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// locked runs fn on the state in memory at this moment.
func (o *Outbox) locked(fn func(x *index)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.index.now = o.opts.Now()
	fn(o.index)
	if o.index.woken {
		o.index.woken = false
		signal(o.pushable)
	}
}

// Close stops taking batches, commits what was taken and closes the files.
// When ctx ends first it returns its error and the rest happens behind.
func (o *Outbox) Close(ctx context.Context) error {
	o.stopOnce.Do(func() {
		o.queue.close()
		close(o.stop)
	})
	select {
	case <-o.stopped:
		return o.closeErr
	case <-ctx.Done():
		return fmt.Errorf("close outbox: %w", ctx.Err())
	}
}
