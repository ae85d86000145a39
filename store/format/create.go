package format

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/durable"
)

// Sizes in bytes. A segment is bounded so that damage and maps stay small; on
// 32-bit machines address space is what runs out first.
const (
	MinSize   = 1 << 20
	maxSize   = 128 << 20
	maxSize32 = 64 << 20
	Is32bit   = ^uint(0)>>32 == 0
)

// SizeFor returns the size of new segments of an outbox of maxOutbox bytes.
func SizeFor(maxOutbox int64) int64 {
	limit := int64(maxSize)
	if Is32bit {
		limit = maxSize32
	}
	return max(roundDown(min(limit, maxOutbox/8)), MinSize)
}

func roundDown(size int64) int64 { return size &^ (boltpage.AllocSize - 1) }

// Create makes the file of a segment, of at most m.Size bytes, and returns its
// size: it is initialised and filled in under a temporary name, preallocated,
// synced, renamed, and its folder synced, so that a power cut leaves either no
// segment or a whole one. Where the file system cannot give the size it takes
// half, and so on down to the minimum.
func Create(dir string, m codec.FileMeta, st *State) (int64, error) {
	path := filepath.Join(dir, Name(m.Number))
	temp := path + durable.TempSuffix
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("create segment: %w", err)
	}
	err := preallocate(temp, &m, st)
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		_ = os.Remove(temp) // the first error counts; a start removes leftovers
		return 0, fmt.Errorf("create segment %d: %w", m.Number, err)
	}
	return m.Size, durable.SyncDir(dir)
}

// preallocate makes the file and reserves its blocks, halving its size until the
// file system can give it.
func preallocate(temp string, m *codec.FileMeta, st *State) error {
	for {
		err := initialise(temp, m, st)
		if err == nil {
			err = reserve(temp, m.Size)
		}
		if !durable.NoSpace(err) || m.Size/2 < MinSize {
			return err
		}
		m.Size = roundDown(m.Size / 2)
		if err := os.Remove(temp); err != nil {
			return err
		}
	}
}

// initialise lets bbolt make the file and writes its buckets in one commit.
func initialise(temp string, m *codec.FileMeta, st *State) error {
	opts := boltpage.Options(m.Size, false)
	opts.InitialMmapSize = 0
	db, err := bolt.Open(temp, 0o600, opts)
	if err != nil {
		return err
	}
	db.AllocSize = boltpage.AllocSize
	err = db.Update(func(tx *bolt.Tx) error {
		if err := MakeBuckets(tx); err != nil {
			return err
		}
		return Fill(tx, m, st)
	})
	if closeErr := db.Close(); err == nil {
		err = closeErr
	}
	return err
}

// MakeBuckets makes the buckets of a segment.
func MakeBuckets(tx *bolt.Tx) error {
	for _, name := range Buckets {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	return nil
}

// Fill writes the head of a segment and its state.
func Fill(tx *bolt.Tx, m *codec.FileMeta, st *State) error {
	if err := tx.Bucket(BucketMeta).Put(codec.MetaKey, m.Encode()); err != nil {
		return err
	}
	return st.StoreAll(tx.Bucket(BucketState))
}

// reserve allocates the file's blocks, so that no other writer can take them,
// and syncs it. File systems without fallocate go without.
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
