package boltpage

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"scanrelay/store/durable"
)

// Sizes of all bbolt files.
const (
	PageSize  = 4096
	AllocSize = 64 << 10 // by which a file grows
)

// Retryable says what a commit's error means: true if it only lacked room, was
// rolled back and may be tried again with the same handle, false if nothing can
// be trusted any more. A bare errno is a failed fdatasync, also where it says
// ENOSPC: only a write wraps its errno in a PathError.
func Retryable(err error) bool {
	if errors.Is(err, bolterrors.ErrMaxSizeReached) {
		return true
	}
	var path *fs.PathError
	return errors.As(err, &path) && path.Op == "write" && durable.NoSpace(path.Err)
}

// Recover turns a panic into ErrDamaged: bbolt panics on pages that make no
// sense. Defer it around everything that reads a file.
func Recover(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w: %v", durable.ErrDamaged, r)
	}
}

// Guard runs fn, which reads a file through bbolt. Its panics come back as
// ErrDamaged, and so does the fault of a memory map whose block cannot be read.
func Guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer Recover(&err)
	return fn()
}

// OpenDB opens a bbolt file of at most size bytes.
func OpenDB(path string, size int64, readOnly bool) (db *bolt.DB, err error) {
	err = Guard(func() error {
		db, err = bolt.Open(path, 0o600, Options(size, readOnly))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", filepath.Base(path), err)
	}
	db.AllocSize = AllocSize
	return db, nil
}

// Options are those of a file of at most size bytes: mapped whole from the
// start, so that no writer waits for readers to map it anew; no list of free
// pages on disk, which every commit would write.
func Options(size int64, readOnly bool) *bolt.Options {
	return &bolt.Options{
		Timeout:         5 * time.Second,
		FreelistType:    bolt.FreelistMapType,
		NoFreelistSync:  true,
		PageSize:        PageSize,
		InitialMmapSize: int(mapSize(size)),
		MaxSize:         int(size),
		ReadOnly:        readOnly,
		NoStatistics:    true,
	}
}

// mapSize is the power of two that holds size: the map is then never remapped.
func mapSize(size int64) int64 {
	m := int64(1 << 20)
	for m < size {
		m *= 2
	}
	return m
}

// Make makes a bbolt file of at most size bytes with what fill puts into it, in
// one commit.
func Make(path string, size int64, fill func(*bolt.Tx) error) error {
	opts := Options(size, false)
	opts.InitialMmapSize = 0 // address space is scarce on 32-bit machines
	db, err := bolt.Open(path, 0o600, opts)
	if err != nil {
		return err
	}
	db.AllocSize = AllocSize
	return errors.Join(db.Update(fill), db.Close())
}

// MakeBuckets makes buckets that are not there yet.
func MakeBuckets(tx *bolt.Tx, names ...[]byte) error {
	for _, name := range names {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	return nil
}

// Value returns what stands under a key; nil: nothing, or there is no bucket.
func Value(tx *bolt.Tx, bucket, key []byte) []byte {
	if b := tx.Bucket(bucket); b != nil {
		return b.Get(key)
	}
	return nil
}
