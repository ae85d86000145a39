package handle

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"scanrelay/store/boltpage"
	"scanrelay/store/durable"
	"scanrelay/store/event"
)

// maxOpen bounds how many sealed segments' files are open at once.
const maxOpen = 32

// ErrGone: the file was unlinked meanwhile.
var ErrGone = errors.New("segment is gone")

// File is one of a Pool'f. What it was given may be changed while nobody reads it.
type File struct {
	Path string
	Size int64 // never grows

	// Guarded by Pool.mu.
	db       *bolt.DB // open for writing; of a sealed one, until nobody reads it
	tree     viewer   // open for reading
	instead  *boltpage.Gathered
	refs     int
	lastUse  uint64
	written  bool // else it is sealed: only read
	unlinked bool
}

// viewer is a file that is only read.
type viewer interface {
	View(fn func(boltpage.Reader) error) error
	Close() error
}

// Name is its name in its folder.
func (f *File) Name() string { return filepath.Base(f.Path) }

// DB is the file that is open for writing. The writer asks for it.
func (f *File) DB() *bolt.DB { return f.db }

// Pool holds files open. Its methods may be called from any goroutine.
type Pool struct {
	mu     sync.Mutex
	open   []*File // sealed ones that are
	uses   uint64
	closed bool

	patience durable.Patience // with the newest one's
}

// View runs fn on what s holds at this moment. What fn is given lives only as long
// as fn runs, which may be again from its beginning, where a block could not be
// read at once. Damage comes back as ErrDamaged, never as a panic; ErrGone: s was
// unlinked.
func (p *Pool) View(f *File, fn func(boltpage.Reader) error) error {
	db, tree, err := p.acquire(f)
	if err != nil {
		return err
	}
	defer p.release(f)
	if tree != nil {
		err = tree.View(fn)
	} else if err = boltpage.View(db, fn); errors.Is(err, boltpage.ErrFault) {
		for again := p.patience.Begin(); errors.Is(err, boltpage.ErrFault) && again(); {
			err = boltpage.View(db, fn)
		}
	}
	if errors.Is(err, os.ErrClosed) || errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return event.ErrClosed
	}
	return err
}

// acquire returns one of both: a file may be written to, or is only read.
func (p *Pool) acquire(f *File) (db *bolt.DB, tree viewer, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return nil, nil, event.ErrClosed
	case f.unlinked:
		return nil, nil, ErrGone
	case !f.written && f.tree == nil && f.instead != nil:
		f.tree = f.instead
		p.open = append(p.open, f)
	case !f.written && f.tree == nil:
		// Reading of two pages; others wait for it.
		t, err := boltpage.OpenTree(f.Path)
		if err != nil {
			return nil, nil, fmt.Errorf("open %s: %w", f.Name(), err)
		}
		f.tree = t
		p.open = append(p.open, f)
	}
	p.uses++
	f.lastUse = p.uses
	f.refs++
	if !f.written {
		return nil, f.tree, nil
	}
	return f.db, nil, nil
}

func (p *Pool) release(f *File) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f.refs--
	p.closeIdleLocked(f)
}

// closeIdleLocked closes what is not read and need not stay open: unlinked
// segments at once, of the others the least lately used ones above the bound. s is
// no longer read, and may have been sealed meanwhile.
func (p *Pool) closeIdleLocked(f *File) {
	if !f.written && f.refs == 0 && f.db != nil {
		_ = f.db.Close() // all of it is committed
		f.db = nil
	}
	if len(p.open) <= maxOpen && !f.unlinked {
		return
	}
	slices.SortFunc(p.open, func(a, b *File) int { return cmp.Compare(b.lastUse, a.lastUse) })
	kept := p.open[:0]
	for i, f := range p.open {
		if f.refs == 0 && (f.unlinked || i >= maxOpen) {
			_ = f.tree.Close() // nothing to lose
			f.tree = nil
			continue
		}
		kept = append(kept, f)
	}
	clear(p.open[len(kept):])
	p.open = kept
}

// Seal ends writing to s, which is only read from now on.
func (p *Pool) Seal(f *File) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f.written = false
	p.closeIdleLocked(f)
}

// OpenForWriting opens a segment for writing, of which all pages were looked at.
// Nobody reads it.
func (p *Pool) OpenForWriting(f *File) error {
	if err := p.Shut(f); err != nil {
		return fmt.Errorf("open %s: %w", f.Name(), err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	db, err := boltpage.OpenDB(f.Path, f.Size)
	if err != nil {
		return err
	}
	f.db, f.written = db, true
	return nil
}

// ReadInstead has a sealed segment, which is damaged, read by what is good in its
// file; nil: there is another file, which is whole.
func (p *Pool) ReadInstead(f *File, g *boltpage.Gathered) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = slices.DeleteFunc(p.open, func(x *File) bool { return x == f })
	f.tree, f.instead = nil, g // who reads goes on with what was there
}

// Shut closes a segment's file, which nobody reads.
func (p *Pool) Shut(f *File) (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = slices.DeleteFunc(p.open, func(x *File) bool { return x == f })
	f.written = false
	return f.close()
}

// close closes what is open of a segment's file.
func (f *File) close() (err error) {
	if f.db != nil {
		err = f.db.Close() // waits for readers
	}
	if f.tree != nil {
		err = errors.Join(err, f.tree.Close())
	}
	f.db, f.tree = nil, nil
	return err
}

// Unlink removes a segment's file. Who reads it may end.
func (p *Pool) Unlink(f *File) error {
	p.mu.Lock()
	f.unlinked = true
	p.closeIdleLocked(f)
	p.mu.Unlock()
	if err := os.Remove(f.Path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("unlink %s: %w", f.Name(), err)
	}
	return nil
}

// Close closes all files; reads that run end first, or with an error.
func (p *Pool) Close(all []*File) (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed, p.open = true, nil
	for _, f := range all {
		err = errors.Join(err, f.close())
	}
	return err
}
