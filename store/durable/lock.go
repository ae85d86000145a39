package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lockTimeout is how long Open waits for a lock that only readers hold.
const lockTimeout = 5 * time.Second

// Lock is a folder's lock: one writer, or any number of readers. It is a
// file of its own because bbolt's lock goes with the inode: after an unlink a
// second process would lock the next file happily.
type Lock struct{ f *os.File }

// LockExclusive takes the writer's lock. It waits up to lockTimeout for
// readers, which are short commands, and not at all for another writer.
func LockExclusive(path string) (*Lock, error) {
	f, err := Open(path, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, unix.EROFS) { // what is there can be locked, and read
		f, err = Open(path, os.O_RDONLY, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	l := &Lock{f}
	for end := time.Now().Add(lockTimeout); ; time.Sleep(10 * time.Millisecond) {
		err = l.try(unix.LOCK_EX)
		if err == nil && l.removed() { // by who had it: another may have the next one
			l.Release()
			return LockExclusive(path)
		}
		if err == nil {
			return l, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || !l.onlyReaders() {
			return nil, l.refuse(err, writes)
		}
		if time.Now().After(end) {
			return nil, l.refuse(err, "a command that reads it: end that")
		}
	}
}

// LockShared takes a reader's lock; the file must be there.
func LockShared(path string) (*Lock, error) {
	f, err := Open(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	l := &Lock{f}
	if err := l.try(unix.LOCK_SH); err != nil {
		return nil, l.refuse(err, writes)
	}
	return l, nil
}

// writes is who has it where nobody reads.
const writes = "another process that writes to it"

func (l *Lock) try(how int) error { return unix.Flock(int(l.f.Fd()), how|unix.LOCK_NB) }

// onlyReaders reports whether no writer holds the lock.
func (l *Lock) onlyReaders() bool {
	if l.try(unix.LOCK_SH) != nil {
		return false
	}
	_ = unix.Flock(int(l.f.Fd()), unix.LOCK_UN) // the next try decides
	return true
}

// removed reports whether the file is not under its name any more.
func (l *Lock) removed() bool {
	own, err := l.f.Stat()
	there, err2 := os.Stat(l.f.Name())
	return err == nil && (errors.Is(err2, fs.ErrNotExist) || err2 == nil && !os.SameFile(own, there))
}

// Remove gives the lock back and removes its file.
func (l *Lock) Remove() error {
	err := os.Remove(l.f.Name())
	l.Release()
	return err
}

func (l *Lock) refuse(err error, holder string) error {
	l.Release()
	dir := filepath.Dir(l.f.Name())
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("lock %s: %w by %s", dir, ErrInUse, holder)
	}
	return fmt.Errorf("lock %s: %w", dir, err)
}

// Release gives the lock back. Closing the file does so, too, but for a program
// that is being started at that moment and still has a copy of it.
func (l *Lock) Release() {
	_ = unix.Flock(int(l.f.Fd()), unix.LOCK_UN)
	_ = l.f.Close()
}
