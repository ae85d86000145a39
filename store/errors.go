package store

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"syscall"

	bolterrors "go.etcd.io/bbolt/errors"
)

// errNoSpace: neither max_size nor the file system has room.
var errNoSpace = errors.New("no room for another segment")

// isNoSpace reports whether a failed commit only lacked room: it was rolled
// back and the same handle can go on (deps.md A6).
func isNoSpace(err error) bool {
	if errors.Is(err, bolterrors.ErrMaxSizeReached) || errors.Is(err, errNoSpace) {
		return true
	}
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// commitFailure says what a commit's error means (deps.md section 0, item 4):
// true if it only lacked room and may be tried again, false if nothing can be
// trusted any more. A bare errno is a failed fdatasync, also where it says
// ENOSPC: only a write wraps its errno in a PathError.
func commitFailure(err error) (retry bool) {
	if errors.Is(err, bolterrors.ErrMaxSizeReached) || errors.Is(err, errNoSpace) {
		return true
	}
	var path *fs.PathError
	return errors.As(err, &path) && path.Op == "write" &&
		(errors.Is(path.Err, syscall.ENOSPC) || errors.Is(path.Err, syscall.EDQUOT))
}

// guard turns a panic into ErrDamaged: bbolt panics on pages that make no
// sense, and a block that cannot be read faults the memory map (deps.md A7).
// Defer it around everything that reads a segment.
func guard(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w: %v", ErrDamaged, r)
	}
}

// guarded runs fn, which reads a memory map, with faults as panics.
func guarded(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer guard(&err)
	return fn()
}
