package journal

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"scanrelay/store/boltpage"
	"scanrelay/store/event"
	"scanrelay/store/format"
)

// maxMapped bounds how many sealed segments are mapped at once. On 32-bit
// machines, which have little address space, the newest one makes it four.
func maxMapped() int {
	if format.Is32bit {
		return 3
	}
	return 32
}

// handles keeps the files of a bounded count of sealed segments open.
type handles struct {
	slots chan struct{} // one for each sealed segment being read

	mu     sync.Mutex
	mapped []*segment // sealed ones that are open
	uses   uint64
	closed bool
}

// view runs fn in a read transaction of s. What fn is given lives only as long
// as fn runs. Damage comes back as ErrDamaged, never as a panic; errGone: s was
// unlinked.
func (h *handles) view(s *segment, fn func(*bolt.Tx) error) error {
	db, release, err := h.acquire(s)
	if err != nil {
		return err
	}
	defer release()
	return boltpage.Guard(func() error {
		tx, err := db.Begin(false)
		if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
			return event.ErrClosed
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", s.name(), err)
		}
		defer func() { _ = tx.Rollback() }() // ends a read; never fails
		return fn(tx)
	})
}

func (h *handles) acquire(s *segment) (*bolt.DB, func(), error) {
	h.mu.Lock()
	sealed := s.sealed
	h.mu.Unlock()
	if sealed {
		h.slots <- struct{}{} // given back as soon as a read ends
	}
	db, err := h.hold(s)
	if err != nil && sealed {
		<-h.slots
	}
	return db, func() { h.release(s, sealed) }, err
}

func (h *handles) hold(s *segment) (*bolt.DB, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return nil, event.ErrClosed
	case s.unlinked:
		return nil, errGone
	}
	if s.db == nil {
		db, err := boltpage.OpenDB(s.path, s.size, true)
		if err != nil {
			return nil, err
		}
		s.db = db
		h.mapped = append(h.mapped, s)
	}
	h.uses++
	s.lastUse = h.uses
	s.refs++
	return s.db, nil
}

func (h *handles) release(s *segment, slot bool) {
	if slot {
		defer func() { <-h.slots }()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s.refs--
	h.closeIdleLocked()
}

// closeIdleLocked closes what is not read and need not stay open: unlinked
// segments at once, of the others the least lately used ones above the bound.
func (h *handles) closeIdleLocked() {
	slices.SortFunc(h.mapped, func(a, b *segment) int { return cmp.Compare(b.lastUse, a.lastUse) })
	kept := h.mapped[:0]
	for i, s := range h.mapped {
		if s.refs == 0 && (s.unlinked || s.stale || i >= maxMapped()) {
			_ = s.db.Close() // read only: nothing to lose
			s.db, s.stale = nil, false
			continue
		}
		kept = append(kept, s)
	}
	clear(h.mapped[len(kept):])
	h.mapped = kept
}

// seal ends writing to s: its handle for writing becomes one of those that are
// closed when idle.
func (h *handles) seal(s *segment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.sealed {
		return
	}
	s.sealed = true
	s.stale = true // its handle holds a list of free pages for nothing
	h.mapped = append(h.mapped, s)
	h.closeIdleLocked()
}

// reopenForWriting opens a segment for writing that was only read so far.
func (h *handles) reopenForWriting(s *segment) error {
	if err := h.shut(s); err != nil {
		return fmt.Errorf("reopen segment %d: %w", s.number, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	db, err := boltpage.OpenDB(s.path, s.size, false)
	if err != nil {
		return err
	}
	s.db, s.sealed = db, false
	return nil
}

// shut closes a segment's file, which nobody reads.
func (h *handles) shut(s *segment) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	db := s.db
	if db == nil {
		return nil
	}
	h.mapped = slices.DeleteFunc(h.mapped, func(x *segment) bool { return x == s })
	s.db, s.sealed = nil, true
	return db.Close()
}

// unlink removes a segment's file. Who reads it may end.
func (h *handles) unlink(s *segment) error {
	h.mu.Lock()
	s.unlinked = true
	h.closeIdleLocked()
	h.mu.Unlock()
	if err := os.Remove(s.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("unlink segment %d: %w", s.number, err)
	}
	return nil
}

// close closes all files; reads that run end first.
func (h *handles) close(all []*segment) (err error) {
	h.mu.Lock()
	h.closed = true
	h.mapped = nil
	h.mu.Unlock()
	for _, s := range all {
		h.mu.Lock()
		db := s.db
		s.db = nil
		h.mu.Unlock()
		if db != nil {
			err = errors.Join(err, db.Close()) // waits for read transactions
		}
	}
	return err
}
