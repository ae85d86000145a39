package bolt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"scanrelay/configs/secret"
	"scanrelay/configs/wait"
	"scanrelay/store/durable"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/boltfile"
	"scanrelay/store/snapshot/datakey"
	"scanrelay/store/snapshot/judge"
	"scanrelay/store/snapshot/queue"
	"scanrelay/store/snapshot/values"
)

// Options of a [Store]. The zero value has sound defaults.
type Options struct {
	// MergeEvery is how often the log is looked at for what is worth a merge, after sixty times all is; 10 s.
	MergeEvery time.Duration
	// MergeRecords starts a merge earlier; 50,000.
	MergeRecords uint64
	// MaxTail is how many records may wait for the merger before batches wait too, which bounds memory; 200,000.
	MaxTail uint64
	// LogSize is how big the log grows before it is made anew of what is not merged; 64 MiB.
	LogSize int64
	Key     secret.Text      // master keys: 64 hex digits each, the first to wrap with; "": see datakey.Masters
	Logger  *slog.Logger     // nil: logs nothing
	Now     func() time.Time // nil: time.Now

	encryptKeys, encryptPages int // of tests: smaller steps
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
	if o.LogSize == 0 {
		o.LogSize = 64 << 20
	}
	o.encryptKeys, o.encryptPages = cmp.Or(o.encryptKeys, encryptKeys), cmp.Or(o.encryptPages, encryptPages)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// tellEvery is how often the log tells of what goes on to fail.
const tellEvery = 10 * time.Minute

// Store is a [snapshot.Store] for one process.
type Store struct {
	o           Options
	id          string
	damage      snapshot.Damage
	phoneSecret []byte
	ring        *datakey.Ring
	keysMu      sync.Mutex // of who makes keys
	lockMu      sync.Mutex
	lock        *durable.Lock // guarded by lockMu; nil: see boltfile.LockFolder
	dir         string
	log         *file                                   // log.db; the committer's once the store is open
	logUpdate   func(fn func(tx *bbolt.Tx) error) error // the log's update; tests let it fail
	spoiled     bool                                    // log.db is damaged, and is to be made anew
	keepLog     bool                                    // it has what cannot be decrypted: it is made anew, and kept; the committer's once the store is open

	tail   tail
	merged atomic.Uint64 // highest number in waybills.db
	count  atomic.Uint64 // waybills in it

	// life ends with ErrFailed or ErrClosed as its cause.
	life  context.Context
	end   context.CancelCauseFunc
	loops sync.WaitGroup

	queue    *queue.Queue
	cuts     chan *cut     // copies that begin
	merge    chan struct{} // capacity 1: the merger should look
	renew    chan struct{} // capacity 1: the log may be made anew
	suspects chan struct{} // capacity 1: a read met damage
	askAgain chan struct{} // capacity 1: depots must send again
	reading  chan struct{} // a place for each read of waybills.db
	again    atomic.Uint64 // number of the record by which they were asked; 0: none in the log
	holes    atomic.Pointer[[]values.Hole]
	readOnly atomic.Bool                  // the log can only be read, as its file system could at the start
	lost     judge.Lost                   // the committer's once the store is open
	unkept   bool                         // that is not in the log yet; the committer's
	lives    bool                         // this one is among the tail's; the committer's once the store is open
	restored atomic.Pointer[judge.Period] // what is missing; nil: nothing is
	drained  chan struct{}                // capacity 1: the merger made room in the tail
	// Lines of the log about what fails again and again.
	unmerged, unasked, untrimmed, unencrypted wait.Rarely

	// mergeMu is held by whoever writes waybills.db.
	mergeMu sync.Mutex
	round   round         // guarded by mergeMu
	waited  int           // ticks since a merge was worth it; guarded by mergeMu
	horizon judge.Horizon // guarded by mergeMu
	states  *uint64       // what an older release did not count of waybills.db; guarded by mergeMu
	// The last mending, guarded by mergeMu.
	tried    time.Time
	unmended error
	// Whether all in waybills.db has an entry in the index of ages, and if not
	// where the making of it goes on; guarded by mergeMu.
	indexed   bool
	unindexed []byte
	older     atomic.Bool // waybills.db has answers of formats before 3
	// What a format before 4 has in clear; guarded by mergeMu.
	isClear, encryptWaits bool
	clearing              boltfile.Clearing
	logClear              atomic.Bool // log.db may have in clear what is personal

	closeOnce sync.Once
	mu        sync.Mutex
	file      *file  // waybills.db; guarded by mu, changed by the merger
	held      string // guarded by mu: see snapshot.Stats
	blocked   string // guarded by mu: see snapshot.Stats
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
		o: o, dir: dir, ring: datakey.New(), tail: newTail(), cuts: make(chan *cut), merge: make(chan struct{}, 1), renew: make(chan struct{}, 1),
		drained: make(chan struct{}, 1), suspects: make(chan struct{}, 1), askAgain: make(chan struct{}, 1),
		reading: make(chan struct{}, readers), unmerged: wait.Rarely{Every: tellEvery}, unasked: wait.Rarely{Every: tellEvery}, untrimmed: wait.Rarely{Every: tellEvery}, unencrypted: wait.Rarely{Every: tellEvery},
	}
	s.life, s.end = context.WithCancelCause(context.Background())
	s.queue = queue.New(s.life, groupEvents)
	s.clearing = s.newClearing()
	defer func() {
		if err != nil {
			s.closeFiles()
		}
	}()
	if s.lock, err = boltfile.LockFolder(dir); err != nil {
		return nil, err
	}
	if err := s.openKeys(); err != nil {
		return nil, err
	}
	if err := s.openWaybills(); err != nil {
		return nil, err
	}
	if err := s.openLog(); err != nil {
		return nil, err
	}
	if err = s.rebuild(); isDamage(err) { // mended, there is nothing left that cannot be read
		s.damaged("%s: %v", waybillsName, err)
		if err = s.remend(); err == nil {
			err = s.rebuild()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	if s.readOnly.Load() {
		s.block(fmt.Errorf("open %s: %w", logName, errReadOnly))
	}
	s.noteLost()
	s.loops.Go(s.commitLoop)
	s.loops.Go(s.mergeLoop)
	return s, nil
}

// usable is nil until the store has failed or was closed.
func (s *Store) usable() error { return context.Cause(s.life) }

// fail ends the store for good: after a failed sync nothing it holds can be trusted.
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
	for _, name := range []string{logName, waybillsName} {
		if info, err := os.Stat(filepath.Join(s.dir, name)); err == nil {
			st.FileBytes += info.Size()
		}
	}
	if r := s.restored.Load(); r != nil {
		st.Missing = time.Duration(r.To-r.From) * time.Second
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Damage, st.Held, st.Blocked = s.damage.List(), s.held, s.blocked
	return st, nil
}

// damaged notes what was found broken, once.
func (s *Store) damaged(format string, args ...any) { s.damage.Note(s.o.Logger, format, args...) }

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
	if s.log != nil {
		errs = append(errs, s.log.close())
	}
	if s.file != nil {
		errs = append(errs, s.file.close())
	}
	if s.lock != nil {
		s.lock.Release()
	}
	return errors.Join(errs...)
}
