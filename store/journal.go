package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"scanrelay/store/boltpage"
	"scanrelay/store/crypt"
	"scanrelay/store/durable"
	"scanrelay/store/event"
)

// errGone: the segment was unlinked meanwhile; what it held was finished.
var errGone = errors.New("segment is gone")

// maxMapped bounds how many sealed segments are mapped at once. On 32-bit
// machines the newest one makes it four (design.md section 3).
func maxMapped() int {
	if is32bit {
		return 3
	}
	return 32
}

// journal is the row of segments: it finds the one of a number, and keeps the
// files of a bounded count of them open.
type journal struct {
	dir  string
	keys *crypt.Ring
	// mu guards segments and carried; the committer alone changes them.
	mu       sync.RWMutex
	segments []*segment              // rising; the last one is written to
	carried  map[uint64]carriedEvent // events that live in a later segment than their number says

	handles sync.Mutex
	mapped  []*segment // sealed ones that are open
	uses    uint64
	slots   chan struct{} // one for each sealed segment being read
	closed  bool
}

// carriedEvent is where an event lives that was carried, and the index's key of
// its waybill.
type carriedEvent struct {
	segment *segment
	waybill uint64
}

func newJournal(dir string) *journal {
	return &journal{dir: dir, carried: map[uint64]carriedEvent{}, slots: make(chan struct{}, maxMapped())}
}

// list returns the segments at this moment, rising.
func (j *journal) list() []*segment {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return slices.Clone(j.segments)
}

// from returns the segments from s on.
func (j *journal) from(s *segment) []*segment {
	all := j.list()
	for i := range all {
		if all[i].number >= s.number {
			return all[i:]
		}
	}
	return nil
}

// after returns the first segment with a higher number, nil if there is none.
func (j *journal) after(number uint64) *segment {
	j.mu.RLock()
	defer j.mu.RUnlock()
	for _, s := range j.segments {
		if s.number > number {
			return s
		}
	}
	return nil
}

// find returns the segment that holds the event, nil if none can.
func (j *journal) find(seq uint64) *segment {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.findLocked(seq)
}

func (j *journal) findLocked(seq uint64) *segment {
	if c, ok := j.carried[seq]; ok {
		return c.segment
	}
	// The last one with first <= seq.
	i, found := slices.BinarySearchFunc(j.segments, seq, func(s *segment, seq uint64) int {
		switch {
		case s.first < seq:
			return -1
		case s.first > seq:
			return 1
		}
		return 0
	})
	if found {
		// A segment that got no events shares its first number with the next.
		for i+1 < len(j.segments) && j.segments[i+1].first == seq {
			i++
		}
	} else {
		i--
	}
	if i < 0 {
		return nil
	}
	return j.segments[i]
}

// carriedIn lists the carried events that s holds, rising.
func (j *journal) carriedIn(s *segment) (seqs []uint64) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	for seq, c := range j.carried {
		if c.segment == s {
			seqs = append(seqs, seq)
		}
	}
	slices.Sort(seqs)
	return seqs
}

// carriedFrom lists the carried events from a number on, rising.
func (j *journal) carriedFrom(from uint64) (seqs []uint64) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	for seq := range j.carried {
		if seq >= from {
			seqs = append(seqs, seq)
		}
	}
	slices.Sort(seqs)
	return seqs
}

// carriedOf lists the carried events of waybills.
func (j *journal) carriedOf(waybills map[uint64]bool) (seqs []uint64) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	for seq, c := range j.carried {
		if waybills[c.waybill] {
			seqs = append(seqs, seq)
		}
	}
	return seqs
}

// carries reports whether any of the events was carried.
func (j *journal) carries(seqs map[uint64]event.Later) bool {
	j.mu.RLock()
	defer j.mu.RUnlock()
	for seq := range seqs {
		if _, ok := j.carried[seq]; ok {
			return true
		}
	}
	return false
}

func (j *journal) append(s *segment) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.segments = append(j.segments, s)
}

func (j *journal) carry(seq uint64, c carriedEvent) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.carried[seq] = c
}

// view runs fn in a read transaction of s. What fn is given lives only as long
// as fn runs. Damage comes back as ErrDamaged, never as a panic.
func (j *journal) view(s *segment, fn func(*bolt.Tx) error) error {
	db, release, err := j.acquire(s)
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
			return fmt.Errorf("read %s: %w", filepath.Base(s.path), err)
		}
		defer func() { _ = tx.Rollback() }() // ends a read; never fails
		return fn(tx)
	})
}

func (j *journal) acquire(s *segment) (*bolt.DB, func(), error) {
	j.handles.Lock()
	sealed := s.sealed
	j.handles.Unlock()
	if sealed {
		j.slots <- struct{}{} // given back as soon as a read ends
	}
	db, err := j.hold(s)
	if err != nil && sealed {
		<-j.slots
	}
	return db, func() { j.release(s, sealed) }, err
}

func (j *journal) hold(s *segment) (*bolt.DB, error) {
	j.handles.Lock()
	defer j.handles.Unlock()
	switch {
	case j.closed:
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
		j.mapped = append(j.mapped, s)
	}
	j.uses++
	s.lastUse = j.uses
	s.refs++
	return s.db, nil
}

func (j *journal) release(s *segment, slot bool) {
	if slot {
		defer func() { <-j.slots }()
	}
	j.handles.Lock()
	defer j.handles.Unlock()
	s.refs--
	j.closeIdleLocked()
}

// closeIdleLocked closes what is not read and need not stay open: unlinked
// segments at once, of the others the least lately used ones above the bound.
func (j *journal) closeIdleLocked() {
	slices.SortFunc(j.mapped, func(a, b *segment) int { return int(int64(b.lastUse) - int64(a.lastUse)) })
	kept := j.mapped[:0]
	for i, s := range j.mapped {
		if s.refs == 0 && (s.unlinked || s.stale || i >= maxMapped()) {
			_ = s.db.Close() // read only: nothing to lose
			s.db, s.stale = nil, false
			continue
		}
		kept = append(kept, s)
	}
	clear(j.mapped[len(kept):])
	j.mapped = kept
}

// newest returns the segment that is written to, oldest the first one.
func (j *journal) newest() *segment {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.segments[len(j.segments)-1]
}

func (j *journal) oldest() *segment {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.segments[0]
}

// bytes is what all segments take, with their registers.
func (j *journal) bytes() (n int64) {
	for _, s := range j.list() {
		n += s.size + s.register.bytes()
	}
	return n
}

// sealNewest ends writing to the newest segment: its handle for writing becomes
// one of those that are closed when idle.
func (j *journal) sealNewest() {
	s := j.newest()
	j.handles.Lock()
	defer j.handles.Unlock()
	s.sealed = true
	s.stale = true // its handle holds a list of free pages for nothing
	j.mapped = append(j.mapped, s)
	j.closeIdleLocked()
}

// reopenForWriting opens the newest segment, which was only read so far, for
// writing.
func (j *journal) reopenForWriting(s *segment) error {
	j.handles.Lock()
	defer j.handles.Unlock()
	if s.db != nil {
		j.mapped = slices.DeleteFunc(j.mapped, func(x *segment) bool { return x == s })
		if err := s.db.Close(); err != nil {
			return fmt.Errorf("reopen segment %d: %w", s.number, err)
		}
	}
	db, err := boltpage.OpenDB(s.path, s.size, false)
	if err != nil {
		return err
	}
	s.db, s.sealed = db, false
	return nil
}

// shut closes a segment's file, which nobody reads.
func (j *journal) shut(s *segment) error {
	j.handles.Lock()
	defer j.handles.Unlock()
	db := s.db
	if db == nil {
		return nil
	}
	j.mapped = slices.DeleteFunc(j.mapped, func(x *segment) bool { return x == s })
	s.db, s.sealed = nil, true
	return db.Close()
}

// drop unlinks the oldest segment. Its totals must be committed before.
func (j *journal) drop(s *segment) error {
	j.mu.Lock()
	j.segments = slices.DeleteFunc(j.segments, func(x *segment) bool { return x == s })
	for seq, c := range j.carried {
		if c.segment == s {
			delete(j.carried, seq)
		}
	}
	j.mu.Unlock()
	j.handles.Lock()
	s.unlinked = true
	j.closeIdleLocked()
	j.handles.Unlock()
	if err := os.Remove(s.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("unlink segment %d: %w", s.number, err)
	}
	s.register.close()
	if err := removeRegister(registerPath(s.path)); err != nil {
		return err
	}
	if err := durable.SyncDir(j.dir); err != nil {
		return err
	}
	return j.keys.Keep(func(n uint64) bool { return n != s.number })
}

// close closes all files; reads that run end first.
func (j *journal) close() error {
	j.handles.Lock()
	j.closed = true
	j.mapped = nil
	j.handles.Unlock()
	var err error
	for _, s := range j.list() {
		j.handles.Lock()
		db := s.db
		s.db = nil
		j.handles.Unlock()
		if db != nil {
			err = errors.Join(err, db.Close()) // waits for read transactions
		}
		s.register.close()
	}
	return err
}
