package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// shortage is what is known of waits for a descriptor, in all of the process.
var shortage struct {
	waits   atomic.Uint64
	waiting atomic.Int64
	since   atomic.Pointer[time.Time] // when the first of those that wait began
	told    atomic.Int64              // unix seconds
	tell    atomic.Pointer[func(err error)]
}

// OnShortage is for a process that runs until it is stopped: its files wait for a
// descriptor as long as it takes, and tell is called, at most once a minute.
func OnShortage(tell func(err error)) { shortage.tell.Store(&tell) }

// Shortages is how many files had to wait for a descriptor, and for how long by now some
// do all the time; 0: none does.
func Shortages() (waits uint64, lasts time.Duration) {
	if since := shortage.since.Load(); since != nil && shortage.waiting.Load() > 0 {
		lasts = max(1, time.Since(*since))
	}
	return shortage.waits.Load(), lasts
}

// NoDescriptor reports whether an error says that the process or the machine may open
// no further file.
func NoDescriptor(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// commandWaits is how long a command waits for a descriptor; a test shortens it.
var commandWaits = patience

// Open is os.OpenFile, which waits where no descriptor is to be had: nothing is wrong
// with the file then, and nothing of ours with the disk. What is begun goes on, as
// after a read that takes long, once somebody has given one back. A command, for which
// somebody waits, gives up as it does with a disk that cannot read.
func Open(path string, flag int, mode fs.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path, flag, mode)
	if !NoDescriptor(err) {
		return f, err
	}
	shortage.waits.Add(1)
	if shortage.waiting.Add(1) == 1 {
		now := time.Now()
		shortage.since.Store(&now)
	}
	defer shortage.waiting.Add(-1)
	began := time.Now()
	for pause := 5 * time.Millisecond; NoDescriptor(err); pause = min(2*pause, 250*time.Millisecond) {
		tell, now, told := shortage.tell.Load(), time.Now(), shortage.told.Load()
		if tell == nil && now.Sub(began) >= commandWaits {
			break
		}
		if tell != nil && now.Unix()-told >= 60 && shortage.told.CompareAndSwap(told, now.Unix()) {
			(*tell)(err)
		}
		time.Sleep(pause)
		f, err = os.OpenFile(path, flag, mode)
	}
	return f, err
}

// ReadDir is os.ReadDir, which waits as Open does.
func ReadDir(dir string) ([]fs.DirEntry, error) {
	d, err := Open(dir, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	entries, err := d.ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, errors.Join(err, d.Close())
}

// Glob lists the paths in dir whose names match the pattern, by name. A folder that
// cannot be read is an error, other than to filepath.Glob; one that is not there has
// none.
func Glob(dir, pattern string) (paths []string, err error) {
	entries, err := ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	for _, e := range entries {
		if match, bad := filepath.Match(pattern, e.Name()); bad != nil {
			return nil, bad
		} else if match {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, err
}
