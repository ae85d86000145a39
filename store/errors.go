package store

import (
	"errors"

	bolterrors "go.etcd.io/bbolt/errors"

	"scanrelay/store/durable"
)

// errNoSpace: neither max_size nor the file system has room.
var errNoSpace = errors.New("no room for another segment")

// isNoSpace reports whether a failed commit only lacked room: it was rolled
// back and the same handle can go on.
func isNoSpace(err error) bool {
	return errors.Is(err, bolterrors.ErrMaxSizeReached) || errors.Is(err, errNoSpace) || durable.NoSpace(err)
}
