package journal

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/checkpoint"
	"scanrelay/store/codec"
	"scanrelay/store/crypt"
	"scanrelay/store/event"
	"scanrelay/store/format"
	"scanrelay/store/handle"
	"scanrelay/store/register"
	"scanrelay/store/repair"
)

// segment is one file of the journal: a run of events in sequence order, and the
// notes that were written while it was the newest. Its file is never changed
// after the next segment was begun.
type segment struct {
	handle.File
	number uint64
	first  uint64        // number of its first event, once it has one
	format uint64        // version of the file
	cipher *crypt.Cipher // of its events; nil: it is gone
	// register finds its events by waybill; nil: they must be read for that.
	register *register.Register
	rebuilt  bool // at this start: it was damaged
	// lacks is what a rebuild could not read; nil: it is as it was written.
	lacks *format.Rebuilt
	// waits is how it is to be rebuilt, once there is room; nil: it need not be. The
	// writer's.
	waits *repair.Segment

	onDisk atomic.Int64 // what its file takes of the disk; 0: it may change still

	// Guarded by Journal.mu.
	format.Age
	last      uint64        // number of its last event; first-1: none yet
	notes     uint64        // key of its last note
	open      uint64        // its events that are pending or dead: they pin it
	totals    format.Totals // of its events and its notes
	usedBytes int64
	arrived   []uint64 // which events were carried into it
	weights   checkpoint.Weights
}

func (j *Journal) segmentAt(number uint64) *segment {
	return &segment{number: number, File: handle.File{Path: filepath.Join(j.dir, format.Name(number))}}
}

// lostLocked reports whether a rebuild could not read an event.
func (s *segment) lostLocked(seq uint64) bool {
	return s.lacks != nil && slices.ContainsFunc(s.lacks.Lost, func(l format.Span) bool { return l.From <= seq && seq <= l.To })
}

// meta is the head of its file.
func (s *segment) meta() codec.FileMeta {
	return codec.FileMeta{Format: s.format, Number: s.number, First: s.first, Size: s.Size, Begun: s.Begun}
}

// event returns an event's record, decrypted, wherever in the segment it is. It
// may lie in scratch.
func (s *segment) event(r boltpage.Reader, seq uint64, scratch []byte) ([]byte, error) {
	key := codec.Key(seq)
	if v := r.Bucket(format.BucketEvents).Get(key); v != nil {
		return s.cipher.Decrypt(crypt.EventRecord, key, v, scratch)
	}
	return s.cipher.Decrypt(crypt.CarriedRecord, key, r.Bucket(format.BucketCarried).Get(key), scratch)
}

// putEvents encrypts events into a bucket.
func (s *segment) putEvents(b *bolt.Bucket, kind crypt.RecordKind, events []newEvent) error {
	b.FillPercent = 1 // keys only rise; bbolt does not remember it
	salt := crypt.NewSalt()
	for _, e := range events {
		key, value := codec.Key(e.seq), []byte(nil) // the place of one that cannot be read
		if e.framed != nil {
			value = s.cipher.Encrypt(kind, key, salt, e.framed)
		}
		if err := b.Put(key, value); err != nil {
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

// finishedAt notes that one of its events ended. mu is held.
func (j *Journal) finishedAt(s *segment, n *event.Note) {
	s.End(n, j.clock().Believes(n.At))
}
