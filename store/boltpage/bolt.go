package boltpage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
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

// ErrFault: a block of a memory map could not be read. It is ErrDamaged, too.
var ErrFault = fmt.Errorf("%w: a block cannot be read", durable.ErrDamaged)

// Damaged tells whether an error means that the file is damaged, and not that
// it is newer, held or out of reach.
func Damaged(err error) bool {
	for _, damage := range []error{durable.ErrDamaged, bolterrors.ErrInvalid, bolterrors.ErrChecksum, bolterrors.ErrVersionMismatch} {
		if errors.Is(err, damage) {
			return true
		}
	}
	var path *fs.PathError
	return err != nil && !errors.As(err, &path) && strings.Contains(err.Error(), "file size too small")
}

// Recover turns a panic into ErrDamaged: bbolt panics on pages that make no
// sense. Defer it around everything that reads a file.
func Recover(err *error) {
	r := recover()
	at, ok := r.(interface{ Addr() uintptr }) // the runtime's error has it
	switch {
	case r == nil:
	case ok && at.Addr() >= PageSize: // below it is a bucket that is not there
		*err = fmt.Errorf("%w: %v", ErrFault, r)
	default:
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

// Confirm puts the transaction that a file shows on disk, whatever became of it
// before. After a failed fdatasync the kernel may show one that the disk does not
// have, and take its pages for written: neither waiting nor another sync brings it
// there. bbolt had synced all else by the time it wrote the meta page, so that
// one is written once more, as it is. It must come before anything is remembered
// of the file, or written to it.
func Confirm(path string) error {
	r, err := durable.OpenFile(path)
	if err == nil {
		var w *os.File
		if w, err = durable.Open(path, os.O_WRONLY, 0); err == nil {
			err = errors.Join(confirm(r, w), w.Close())
		}
		err = errors.Join(err, r.Close())
	}
	if err != nil {
		return fmt.Errorf("sync %s: %w", filepath.Base(path), err)
	}
	return nil
}

func confirm(r io.ReaderAt, w *os.File) error {
	meta, at, newest := make([]byte, PageSize), int64(0), uint64(0)
	for id := range uint64(2) {
		b := make([]byte, PageSize)
		if _, err := r.ReadAt(b, int64(id)*PageSize); err != nil && err != io.EOF {
			return err
		}
		if m := b[metaOffset:]; metaValid(m, id) && metaTx(m) >= newest {
			meta, at, newest = b, int64(id)*PageSize, metaTx(m)
		}
	}
	if newest == 0 {
		return nil // nothing is shown
	}
	_, err := w.WriteAt(meta, at)
	if durable.NoSpace(err) {
		return nil // no file system that overwrites in place lacks room for it
	}
	if err != nil {
		return err
	}
	return w.Sync()
}

// OpenDB opens a bbolt file of at most size bytes for writing. All of its pages
// must have been looked at: bbolt reads them in a goroutine of its own.
func OpenDB(path string, size int64) (db *bolt.DB, err error) {
	if db, err = OpenWith(path, Options(size)); err != nil {
		return nil, fmt.Errorf("open %s: %w", filepath.Base(path), err)
	}
	db.AllocSize = AllocSize
	return db, nil
}

// OpenWith opens with bbolt a file whose pages were looked at. To bbolt one of which
// it can read no meta page is none: the disk is asked again for seconds before it is
// believed.
func OpenWith(path string, o *bolt.Options) (db *bolt.DB, err error) {
	var patience durable.Patience
	again := patience.Begin()
	for {
		err = Guard(func() (err error) {
			db, err = bolt.Open(path, 0o600, o)
			return err
		})
		if !errors.Is(err, bolterrors.ErrInvalid) || !again() {
			return db, err
		}
	}
}

// Options are those of a file of at most size bytes: mapped whole from the
// start, so that no writer waits for readers to map it anew; no list of free
// pages on disk, which every commit would write.
func Options(size int64) *bolt.Options {
	return &bolt.Options{
		Timeout:         5 * time.Second,
		OpenFile:        durable.Open,
		FreelistType:    bolt.FreelistMapType,
		NoFreelistSync:  true,
		PageSize:        PageSize,
		InitialMmapSize: int(mapSize(size)),
		MaxSize:         int(size),
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
	opts := Options(size)
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
