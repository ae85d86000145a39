package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/crypt"
	"scanrelay/store/durable"
)

// segment is one bbolt file of the journal: a run of events in sequence order,
// and the notes that were written while it was the newest. Its file is never
// changed after the next segment was begun.
type segment struct {
	number uint64
	path   string
	first  uint64 // number of its first event, once it has one
	begun  time.Time
	format uint64        // version of the file
	cipher *crypt.Cipher // of its events; nil: their key is gone
	// register finds its events by waybill; nil: they must be read for that.
	register *register
	size     int64  // of the file; it never grows
	notes    uint64 // key of its last note; the committer's

	// Guarded by Outbox.mu.
	last      uint64    // number of its last event; first-1: none yet
	open      uint64    // its events that are pending or dead: they pin it
	totals    totals    // of its events and its notes
	finished  time.Time // when the last of its events ended
	usedBytes int64
	rebuilt   bool // at this start: it was damaged

	// Guarded by journal.handles.
	db       *bolt.DB
	refs     int
	lastUse  uint64
	sealed   bool // no longer the newest
	stale    bool // db is a handle for writing, to be closed when idle
	unlinked bool
}

// createSegment makes the file of a segment, of at most m.size bytes, and returns
// its size: it is initialised and filled in under a temporary name,
// preallocated, synced, renamed, and its folder synced, so that a power cut
// leaves either no segment or a whole one (deps.md A1). Where the file system
// cannot give the size it takes half, and so on down to the minimum.
func createSegment(dir string, m codec.FileMeta, st *state) (int64, error) {
	path := filepath.Join(dir, segmentName(m.Number))
	temp := path + durable.TempSuffix
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("create segment: %w", err)
	}
	size, err := preallocated(temp, m.Size, func(size int64) error {
		m.Size = size
		return initSegment(temp, &m, st)
	})
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		_ = os.Remove(temp) // the first error counts; Open removes leftovers
		return 0, fmt.Errorf("create segment %d: %w", m.Number, err)
	}
	return size, durable.SyncDir(dir)
}

// preallocated makes the file with build and reserves its blocks, halving size
// until the file system can give it.
func preallocated(temp string, size int64, build func(size int64) error) (int64, error) {
	for {
		err := build(size)
		if err == nil {
			err = reserve(temp, size)
		}
		if !isNoSpace(err) || size/2 < minSegmentSize {
			return size, err
		}
		size = size / 2 &^ (boltpage.AllocSize - 1)
		if err := os.Remove(temp); err != nil {
			return 0, err
		}
	}
}

// initSegment lets bbolt make the file and writes its buckets in one commit.
func initSegment(temp string, m *codec.FileMeta, st *state) error {
	opts := boltpage.Options(m.Size, false)
	opts.InitialMmapSize = 0
	db, err := bolt.Open(temp, 0o600, opts)
	if err != nil {
		return err
	}
	db.AllocSize = boltpage.AllocSize
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{codec.MetaBucket, bucketState, bucketEvents, bucketNotes, bucketCarried} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		if err := tx.Bucket(codec.MetaBucket).Put(codec.MetaKey, m.Encode()); err != nil {
			return err
		}
		return st.storeAll(tx.Bucket(bucketState))
	})
	if closeErr := db.Close(); err == nil {
		err = closeErr
	}
	return err
}

// reserve allocates the file's blocks, so that no other writer can take them
// (deps.md A6), and syncs it. File systems without fallocate go without.
func reserve(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err = durable.Allocate(f, 0, size); err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}
