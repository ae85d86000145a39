package durable

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// patience is how long a disk that says it cannot read is asked again before it
	// is believed: a card that is busy, a cable that is loose or a bus that resets
	// answers within seconds.
	patience = 8 * time.Second
	// distrust is how long it is believed at once then, of the same file.
	distrust = time.Minute
	// readTries are made in any case.
	readTries = 3
	// readBlock is what is given up at once of a file that is read whole.
	readBlock = 4 << 10
)

// Patience says how long a disk that fails is asked again. Its zero value is ready.
type Patience struct {
	mu       sync.Mutex
	believed time.Time // when the disk was believed last
}

// Begin begins with the first failure. again waits and reports whether to try
// again.
func (p *Patience) Begin() (again func() bool) {
	began, pause, tries := time.Now(), time.Duration(0), 1
	return func() bool {
		if tries++; tries > readTries && p.believe(began) {
			return false
		}
		time.Sleep(pause)
		pause = min(max(2*pause, 10*time.Millisecond), patience/32)
		return true
	}
}

// believe reports whether the disk that has failed since began is to be believed.
func (p *Patience) believe(began time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Sub(began) < patience {
		return !p.believed.IsZero() && now.Sub(p.believed) < distrust
	}
	p.believed = now
	return true
}

// File is read with patience: what a disk cannot read at once it may read then.
// Any goroutine may use it.
type File struct {
	f        *os.File
	patience Patience
}

// OpenFile opens a file for reading.
func OpenFile(path string) (*File, error) {
	f, err := Open(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err == nil && info.IsDir() { // no patience makes a file of it
		_ = f.Close()
		return nil, &os.PathError{Op: "open", Path: path, Err: syscall.EISDIR}
	}
	return &File{f: f}, nil
}

// ReadAt is as io.ReaderAt wants it. Only after seconds an error means that the
// disk cannot read.
func (p *File) ReadAt(b []byte, at int64) (n int, err error) {
	var again func() bool
	for {
		if n, err = p.readAt(b, at); err == nil || err == io.EOF || errors.Is(err, os.ErrClosed) {
			return n, err
		}
		if again == nil {
			again = p.patience.Begin()
		}
		if !again() {
			return n, err
		}
	}
}

func (p *File) readAt(b []byte, at int64) (int, error) {
	if fault := readFault.Load(); fault != nil {
		if err := (*fault)(p.f.Name(), at); err != nil {
			return 0, &os.PathError{Op: "read", Path: p.f.Name(), Err: err}
		}
	}
	return p.f.ReadAt(b, at)
}

// Size returns the file's.
func (p *File) Size() (int64, error) {
	info, err := p.f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Close closes the file.
func (p *File) Close() error { return p.f.Close() }

// ReadFile reads a small file. Of one that the disk cannot read in part it returns
// zeros in place of those blocks, and the error.
func ReadFile(path string) (content []byte, err error) {
	f, err := OpenFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.ReadAll()
}

// ReadAll is ReadFile of an open file.
func (p *File) ReadAll() (content []byte, err error) {
	size, err := p.Size()
	if err != nil {
		return nil, err
	}
	content = make([]byte, size)
	for at := int64(0); at < size; at += readBlock {
		block := content[at:min(at+readBlock, size)]
		if _, bad := p.ReadAt(block, at); bad != nil && bad != io.EOF {
			clear(block)
			err = bad
		}
	}
	return content, err
}

var readFault atomic.Pointer[func(path string, at int64) error]

// FailReads has reads fail where fault says so, until undo is called. It is for
// tests, of what no file system in memory does, and for all of the process: such a
// test cannot be parallel.
func FailReads(fault func(path string, at int64) error) (undo func()) {
	old := readFault.Swap(&fault)
	return func() { readFault.Store(old) }
}
