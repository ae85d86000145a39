package journal

import (
	"fmt"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/crypt"
	"scanrelay/store/event"
	"scanrelay/store/format"
	"scanrelay/store/register"
)

// segment is one file of the journal: a run of events in sequence order, and the
// notes that were written while it was the newest. Its file is never changed
// after the next segment was begun.
type segment struct {
	number uint64
	path   string
	first  uint64        // number of its first event, once it has one
	format uint64        // version of the file
	cipher *crypt.Cipher // of its events; nil: it is gone
	// register finds its events by waybill; nil: they must be read for that.
	register *register.Register
	size     int64 // of the file; it never grows
	rebuilt  bool  // at this start: it was damaged

	// Guarded by Journal.mu.
	begun     time.Time
	last      uint64        // number of its last event; first-1: none yet
	notes     uint64        // key of its last note
	open      uint64        // its events that are pending or dead: they pin it
	totals    format.Totals // of its events and its notes
	finished  time.Time     // when the last of its events ended
	usedBytes int64

	// Guarded by handles.mu.
	db       *bolt.DB
	refs     int
	lastUse  uint64
	sealed   bool // no longer the newest
	stale    bool // db is a handle for writing, to be closed when idle
	unlinked bool
}

func (j *Journal) segmentAt(number uint64) *segment {
	return &segment{number: number, path: filepath.Join(j.dir, format.Name(number)), sealed: true}
}

func (s *segment) name() string { return filepath.Base(s.path) }

// limit is up to where a segment is filled, in bytes: by intake to nine tenths,
// so that outcomes find room in the last one; by outcomes as far as bbolt goes.
func (s *segment) limit(intake bool) int64 {
	if intake {
		return min(s.size/10*9, s.size-5*boltpage.AllocSize)
	}
	return s.size - boltpage.AllocSize - 4*boltpage.PageSize
}

// fits reports whether a commit of so many bytes fits behind what is used.
func (s *segment) fits(used int64, bytes int, intake bool) bool {
	return used+int64(bytes)*11/10+commitOverhead <= s.limit(intake)
}

// event returns an event's record, decrypted, wherever in the segment it is. It
// may lie in scratch.
func (s *segment) event(tx *bolt.Tx, seq uint64, scratch []byte) ([]byte, error) {
	key := codec.Key(seq)
	if v := tx.Bucket(format.BucketEvents).Get(key); v != nil {
		return s.cipher.Decrypt(crypt.EventRecord, key, v, scratch)
	}
	return s.cipher.Decrypt(crypt.CarriedRecord, key, tx.Bucket(format.BucketCarried).Get(key), scratch)
}

// putEvents encrypts events into a bucket.
func (s *segment) putEvents(b *bolt.Bucket, kind crypt.RecordKind, events []newEvent) error {
	b.FillPercent = 1 // keys only rise; bbolt does not remember it
	salt := crypt.NewSalt()
	for _, e := range events {
		key := codec.Key(e.seq)
		if err := b.Put(key, s.cipher.Encrypt(kind, key, salt, e.framed)); err != nil {
			return fmt.Errorf("put event: %w", err)
		}
	}
	return nil
}

// putNotes writes notes under the next keys.
func (s *segment) putNotes(b *bolt.Bucket, notes []event.Note) error {
	b.FillPercent = 1
	for i := range notes {
		key := codec.Key(s.notes + uint64(i) + 1)
		if err := b.Put(key, s.cipher.EncodeNote(key, &notes[i])); err != nil {
			return fmt.Errorf("put note: %w", err)
		}
	}
	return nil
}

// finishedAt notes that one of its events ended.
func (s *segment) finishedAt(t time.Time) {
	if t.After(s.finished) {
		s.finished = t
	}
}
