package format

import (
	"errors"
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
// size: initialised, filled in and preallocated. Where the file system cannot
// give the size it takes half, and so on down to the minimum.
func Create(dir string, m codec.FileMeta, st *State) (int64, error) {
	err := durable.Build(filepath.Join(dir, Name(m.Number)), func(temp string) error { return preallocate(temp, &m, st) })
	return m.Size, err
}

// preallocate makes the file and reserves its blocks, halving its size until the
// file system can give it.
func preallocate(temp string, m *codec.FileMeta, st *State) error {
	for {
		err := boltpage.Make(temp, m.Size, func(tx *bolt.Tx) error {
			if err := boltpage.MakeBuckets(tx, Buckets...); err != nil {
				return err
			}
			return Fill(tx, m, st)
		})
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

// Fill writes the head of a segment and its state.
func Fill(tx *bolt.Tx, m *codec.FileMeta, st *State) error {
	if err := tx.Bucket(BucketMeta).Put(codec.MetaKey, m.Encode()); err != nil {
		return err
	}
	return st.StoreAll(tx.Bucket(BucketState))
}

// reserve allocates the file's blocks, so that no other writer can take them.
func reserve(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(durable.Allocate(f, 0, size), f.Close())
}
