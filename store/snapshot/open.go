package snapshot

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Options of a [Bolt]. The zero value has sound defaults.
type Options struct {
	// MergeEvery is how long a record stays in the log at most; 10 s.
	MergeEvery time.Duration
	// MergeRecords starts a merge earlier; 50,000.
	MergeRecords uint64
	// MaxTail is how many records may wait for the merger before batches
	// wait too; 200,000. It bounds memory.
	MaxTail uint64
	Logger  *slog.Logger
	Now     func() time.Time
	// OnCommit is told of each commit of the log, OnMerge of each merge.
	OnCommit func(took time.Duration, records int)
	OnMerge  func(took time.Duration, waybills int)
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
	if o.OnCommit == nil {
		o.OnCommit = func(time.Duration, int) {}
	}
	if o.OnMerge == nil {
		o.OnMerge = func(time.Duration, int) {}
	}
}

// Bolt is the [Store] for one process, in two bbolt files; see the package
// comment.
type Bolt struct {
	o           Options
	id          string
	phoneSecret []byte
	lock        *os.File
	log         *bolt.DB
	waybills    *bolt.DB

	tail   tail
	merged atomic.Uint64 // highest number in waybills.db
	count  atomic.Uint64 // waybills in it

	requests chan *request
	merge    chan struct{} // capacity 1: the merger should look
	truncate chan struct{} // capacity 1: the log's prefix may go
	drained  chan struct{} // capacity 1: the merger made room in the tail
	closing  chan struct{}
	closeOne sync.Once
	loops    sync.WaitGroup

	// mergeMu is held by whoever writes waybills.db.
	mergeMu sync.Mutex
	sweep   sweep // guarded by mergeMu

	failOnce sync.Once
	failed   chan struct{}
	mu       sync.Mutex
	failErr  error    // guarded by mu
	damage   []string // guarded by mu
}

var _ Store = (*Bolt)(nil)

// Open opens the store in dir, which it makes if it is missing, and rebuilds
// the tail. The caller must Close it.
func Open(dir string, o Options) (_ *Bolt, err error) {
	o.defaults()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	b := &Bolt{
		o: o, tail: newTail(), requests: make(chan *request), merge: make(chan struct{}, 1), truncate: make(chan struct{}, 1),
		drained: make(chan struct{}, 1), closing: make(chan struct{}), failed: make(chan struct{}),
	}
	defer func() {
		if err != nil {
			b.closeFiles()
		}
	}()
	if b.lock, err = lockFolder(dir); err != nil {
		return nil, err
	}
	if err := b.openWaybills(dir); err != nil {
		return nil, err
	}
	if err := b.openLog(dir); err != nil {
		return nil, err
	}
	if err := b.rebuild(); err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	b.loops.Add(2)
	go b.commitLoop()
	go b.mergeLoop()
	return b, nil
}

func (b *Bolt) openWaybills(dir string) error {
	if exists, err := present(dir, waybillsName); err != nil {
		return err
	} else if !exists {
		if err := refuseOrphan(dir); err != nil {
			return err
		}
		if err := createWaybills(dir); err != nil {
			return err
		}
	}
	db, err := openFile(dir, waybillsName)
	if err != nil {
		return err
	}
	b.waybills = db
	if err := checkMeta(db, waybillsName, ""); err != nil {
		return err
	}
	return db.View(b.readWaybills)
}

// refuseOrphan keeps us from starting afresh beside a log of something.
func refuseOrphan(dir string) error {
	if exists, err := present(dir, logName); err != nil {
		return err
	} else if exists {
		return fmt.Errorf("%s lacks %s but has %s: put back both from one backup, or move %s away to start with nothing",
			dir, waybillsName, logName, logName)
	}
	return nil
}

func createWaybills(dir string) error {
	id, secret := make([]byte, 16), make([]byte, 32)
	rand.Read(id) // never fails
	rand.Read(secret)
	return createFile(dir, waybillsName, func(tx *bolt.Tx) error {
		for _, name := range [][]byte{bucketMeta, bucketWaybills, bucketAnswers, bucketDepots, bucketBindings, bucketDamaged} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		meta := tx.Bucket(bucketMeta)
		return errors.Join(putNumber(meta, metaFormat, format), putNumber(meta, metaMerged, 0), putNumber(meta, metaCount, 0),
			meta.Put(metaStoreID, []byte(hex.EncodeToString(id))), meta.Put(metaPhoneKey, secret))
	})
}

// readWaybills reads what is kept in memory of waybills.db.
func (b *Bolt) readWaybills(tx *bolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	b.id = string(meta.Get(metaStoreID))
	b.phoneSecret = append([]byte(nil), meta.Get(metaPhoneKey)...)
	if b.id == "" || len(b.phoneSecret) == 0 {
		return fmt.Errorf("%s has no store id or key: put a backup in its place", waybillsName)
	}
	b.merged.Store(getNumber(meta, metaMerged))
	b.count.Store(getNumber(meta, metaCount))
	return tx.Bucket(bucketDepots).ForEach(func(k, v []byte) error {
		depot, epoch, ok := parseEpochKey(k)
		if !ok {
			b.damaged("a depot's numbering is filed under a broken key")
			return nil
		}
		e, err := decodeEpoch(epoch, v)
		if err != nil {
			b.damaged(fmt.Sprintf("the numbering of depot %s, epoch %016x is unreadable: it sends again", depot, epoch))
			return nil
		}
		d := b.tail.depots[depot].clone()
		d.epochs = append(d.epochs, e)
		b.tail.depots[depot] = d
		return nil
	})
}

// openLog opens log.db, or makes one where there is none: then what was in it
// is lost, which the depots make good.
func (b *Bolt) openLog(dir string) error {
	exists, err := present(dir, logName)
	if err != nil {
		return err
	}
	if !exists {
		if err := b.createLog(dir); err != nil {
			return err
		}
	}
	if b.log, err = openFile(dir, logName); err != nil {
		return err
	}
	return checkMeta(b.log, logName, b.id)
}

func (b *Bolt) createLog(dir string) error {
	start := b.merged.Load()
	if start > 0 || b.count.Load() > 0 {
		b.damaged(logName + " is missing: what had not been merged is lost; depots send theirs again, import waybill data again")
		start += logJump
	}
	return createFile(dir, logName, func(tx *bolt.Tx) error {
		for _, name := range [][]byte{bucketMeta, bucketLog} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		meta := tx.Bucket(bucketMeta)
		return errors.Join(putNumber(meta, metaFormat, format), meta.Put(metaStoreID, []byte(b.id)),
			putNumber(meta, metaTruncated, start))
	})
}

// damaged notes what was found broken, once.
func (b *Bolt) damaged(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range b.damage {
		if d == what {
			return
		}
	}
	if len(b.damage) < 100 {
		b.damage = append(b.damage, what)
		b.o.Logger.Error("snapshot is damaged", "what", what)
	}
}

// fail ends the store for good: after a failed sync nothing it holds can be
// trusted.
func (b *Bolt) fail(err error) {
	b.failOnce.Do(func() {
		b.mu.Lock()
		b.failErr = fmt.Errorf("%w: %w", ErrFailed, err)
		b.mu.Unlock()
		close(b.failed)
	})
}

// Failed implements [Store].
func (b *Bolt) Failed() <-chan struct{} { return b.failed }

// Err implements [Store].
func (b *Bolt) Err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failErr
}

// ID implements [Store].
func (b *Bolt) ID() string { return b.id }

// Close implements [Store].
func (b *Bolt) Close() error {
	var err error
	b.closeOne.Do(func() {
		close(b.closing)
		b.loops.Wait()
		b.mergeMu.Lock()
		defer b.mergeMu.Unlock()
		err = b.closeFiles()
	})
	return err
}

func (b *Bolt) closeFiles() error {
	var errs []error
	for _, db := range []*bolt.DB{b.log, b.waybills} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if b.lock != nil {
		errs = append(errs, b.lock.Close())
	}
	return errors.Join(errs...)
}

func present(dir, name string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
