package bolt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"scanrelay/store/durable"
	"scanrelay/store/snapshot"
)

// Options of a [Store]. The zero value has sound defaults.
type Options struct {
	// MergeEvery is how long a record stays in the log at most; 10 s.
	MergeEvery time.Duration
	// MergeRecords starts a merge earlier; 50,000.
	MergeRecords uint64
	// MaxTail is how many records may wait for the merger before batches
	// wait too; 200,000. It bounds memory.
	MaxTail uint64
	Logger  *slog.Logger     // nil: logs nothing
	Now     func() time.Time // nil: time.Now
}

func (o *Options) defaults() {
	if o.MergeEvery <= 0 {
		o.MergeEvery = 10 * time.Second
	}
	if o.MergeRecords == 0 {
		o.MergeRecords = 50_000
	}
	if o.MaxTail == 0 {
		o.MaxTail = 200_000
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Store is a [snapshot.Store] for one process.
type Store struct {
	o           Options
	id          string
	phoneSecret []byte
	lock        *durable.Lock
	log         *bbolt.DB
	waybills    *bbolt.DB

	tail   tail
	merged atomic.Uint64 // highest number in waybills.db
	count  atomic.Uint64 // waybills in it

	// life ends with ErrFailed or ErrClosed as its cause.
	life  context.Context
	end   context.CancelCauseFunc
	loops sync.WaitGroup

	requests chan *request
	merge    chan struct{} // capacity 1: the merger should look
	truncate chan struct{} // capacity 1: the log's prefix may go
	drained  chan struct{} // capacity 1: the merger made room in the tail

	// mergeMu is held by whoever writes waybills.db.
	mergeMu sync.Mutex
	round   round // guarded by mergeMu

	closeOnce sync.Once
	mu        sync.Mutex
	damage    []string // guarded by mu
}

var _ snapshot.Store = (*Store)(nil)

// Open opens the store in dir, which it makes if it is missing, and rebuilds
// the tail. The caller must Close it.
func Open(dir string, o Options) (_ *Store, err error) {
	o.defaults()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	s := &Store{
		o: o, tail: newTail(), requests: make(chan *request), merge: make(chan struct{}, 1), truncate: make(chan struct{}, 1),
		drained: make(chan struct{}, 1),
	}
	s.life, s.end = context.WithCancelCause(context.Background())
	defer func() {
		if err != nil {
			s.closeFiles()
		}
	}()
	if s.lock, err = lockFolder(dir); err != nil {
		return nil, err
	}
	if err := s.openWaybills(dir); err != nil {
		return nil, err
	}
	if err := s.openLog(dir); err != nil {
		return nil, err
	}
	if err := s.rebuild(); err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	s.loops.Go(s.commitLoop)
	s.loops.Go(s.mergeLoop)
	return s, nil
}

// usable is nil until the store has failed or was closed.
func (s *Store) usable() error { return context.Cause(s.life) }

// fail ends the store for good: after a failed sync nothing it holds can be
// trusted.
func (s *Store) fail(err error) error {
	s.end(fmt.Errorf("%w: %w", snapshot.ErrFailed, err))
	return s.usable()
}

// Health implements [snapshot.Store].
func (s *Store) Health(context.Context) error { return s.usable() }

// Wait implements [snapshot.Store].
func (s *Store) Wait(ctx context.Context) error {
	select {
	case <-s.life.Done():
		return s.usable()
	case <-ctx.Done():
		return nil
	}
}

// ID implements [snapshot.Store].
func (s *Store) ID(context.Context) (string, error) { return s.id, nil }

// Stats implements [snapshot.Store].
func (s *Store) Stats(context.Context) (snapshot.Stats, error) {
	st := snapshot.Stats{Waybills: s.count.Load(), Tail: s.tail.lastNumber() - s.merged.Load()}
	if s.usable() == nil {
		size := func(tx *bbolt.Tx) error { st.FileBytes += tx.Size(); return nil }
		_ = s.log.View(size) // a file that is just closed leaves its size out
		_ = s.waybills.View(size)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Damage = slices.Clone(s.damage)
	return st, nil
}

// damaged notes what was found broken, once.
func (s *Store) damaged(format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.damage) < 100 && !slices.Contains(s.damage, what) {
		s.damage = append(s.damage, what)
		s.o.Logger.Error("snapshot is damaged", "what", what)
	}
}

// Close implements [snapshot.Store].
func (s *Store) Close() (err error) {
	s.closeOnce.Do(func() {
		s.end(snapshot.ErrClosed)
		s.loops.Wait()
		s.mergeMu.Lock()
		defer s.mergeMu.Unlock()
		err = s.closeFiles()
	})
	return err
}

func (s *Store) closeFiles() error {
	var errs []error
	for _, db := range []*bbolt.DB{s.log, s.waybills} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if s.lock != nil {
		s.lock.Release()
	}
	return errors.Join(errs...)
}
