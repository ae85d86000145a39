package journal

import (
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"scanrelay/agent/scan"
	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/crypt"
	"scanrelay/store/durable"
	"scanrelay/store/event"
	"scanrelay/store/format"
)

// ErrNoSpace: neither max_size nor the file system has room.
var ErrNoSpace = errors.New("no room for another segment")

// noSpace reports whether an error says that only room lacked.
func noSpace(err error) bool {
	return errors.Is(err, bolterrors.ErrMaxSizeReached) || errors.Is(err, ErrNoSpace) || durable.NoSpace(err)
}

// Room in bytes that bbolt's pages and the copied path to the root take in a
// commit.
const (
	recordOverhead = 8 + 16 // key and leaf element
	commitOverhead = 16 * boltpage.PageSize
)

// Batch is what one commit writes.
type Batch struct {
	State *format.State // after the commit
	Whole bool          // all of the state is written, not only its head

	events  []newEvent
	carried []newEvent // out of a segment that is going to be dropped
	notes   []event.Note
	bytes   int
	segment *segment // that takes it
	rolled  bool     // a segment was begun for it
}

type newEvent struct {
	seq     uint64
	framed  []byte // in clear
	waybill scan.WaybillID
}

// NewBatch returns an empty batch, with the state as it is now.
func (j *Journal) NewBatch() *Batch { return &Batch{State: j.State()} }

// AddEvent gives an encoded event its number and puts it into the batch.
func (b *Batch) AddEvent(framed []byte, waybill scan.WaybillID) (seq uint64) {
	seq = b.State.NextSeq
	b.State.NextSeq++
	b.events = append(b.events, newEvent{seq, framed, waybill})
	b.bytes += EventWeight(framed)
	return seq
}

// AddNote puts a note into the batch.
func (b *Batch) AddNote(n event.Note) {
	b.notes = append(b.notes, n)
	b.bytes += NoteWeight(&n)
}

// Events is how many events are in the batch, Records how many with the notes.
func (b *Batch) Events() int { return len(b.events) }

// Records is how many events and notes are in the batch.
func (b *Batch) Records() int { return len(b.events) + len(b.notes) }

// Empty reports whether nothing has to be on disk before callers are answered.
func (b *Batch) Empty() bool { return b.Records() == 0 && !b.Whole }

// EventWeight is what an encoded event takes in a segment, in bytes, about. A
// large record does not share its pages well.
func EventWeight(framed []byte) int {
	n := len(framed) + crypt.Overhead + recordOverhead
	if n > boltpage.PageSize/4 {
		n = (n/boltpage.PageSize + 2) * boltpage.PageSize
	}
	return n
}

// NoteWeight is what a note takes likewise.
func NoteWeight(n *event.Note) int {
	return 40 + crypt.ReasonSize(n) + min(len(n.Last.RID), codec.MaxReason) + recordOverhead
}

// Commit makes a batch durable; then Applied takes it into memory. before runs
// once there is room, before the commit. Where there is none a segment is begun.
// ErrNoSpace: nothing was written. After any other error nothing can be trusted.
// The writer calls it.
func (j *Journal) Commit(b *Batch, before func() error) error {
	b.segment = j.newest()
	err := j.write(b, before)
	if !errors.Is(err, ErrNoSpace) {
		return err
	}
	// The segment took more than was reckoned: the next one has room.
	if err := j.rollFor(b); err != nil {
		return err
	}
	return j.write(b, before)
}

func (j *Journal) write(b *Batch, before func() error) (err error) {
	defer boltpage.Recover(&err)
	tx, err := j.begin(b)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if err := before(); err != nil {
		return err
	}
	if err := b.write(tx); err != nil {
		return err
	}
	if err := j.commit(tx); err != nil {
		return err
	}
	for _, e := range b.events {
		b.segment.register.Append(e.waybill)
	}
	return nil
}

// write puts everything into the transaction.
func (b *Batch) write(tx *bolt.Tx) error {
	s := b.segment
	err := s.putEvents(tx.Bucket(format.BucketEvents), crypt.EventRecord, b.events)
	if err == nil {
		err = s.putEvents(tx.Bucket(format.BucketCarried), crypt.CarriedRecord, b.carried)
	}
	if err == nil {
		err = s.putNotes(tx.Bucket(format.BucketNotes), b.notes)
	}
	if err != nil {
		return err
	}
	st := tx.Bucket(format.BucketState)
	if b.Whole {
		return b.State.StoreAll(st)
	}
	return b.State.StoreHead(st)
}

// commit commits; an error is ErrNoSpace if it may be tried again.
func (j *Journal) commit(tx *bolt.Tx) (err error) {
	defer boltpage.Recover(&err)
	if err = j.opts.Commit(tx); err != nil && (boltpage.Retryable(err) || errors.Is(err, ErrNoSpace)) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

// begin returns a transaction on a segment that has room for the batch.
func (j *Journal) begin(b *Batch) (*bolt.Tx, error) {
	for {
		tx, err := b.segment.db.Begin(true)
		if err != nil {
			return nil, fmt.Errorf("begin commit: %w", err)
		}
		used := tx.Size()
		if b.bytes == 0 || b.segment.fits(used, b.bytes, len(b.events) > 0) { // a state finds room
			j.mu.Lock()
			b.segment.usedBytes = used
			j.mu.Unlock()
			return tx, nil
		}
		if err := tx.Rollback(); err != nil {
			return nil, fmt.Errorf("begin commit: %w", err)
		}
		if err := j.rollFor(b); err != nil {
			return nil, err
		}
	}
}

// rollFor begins a segment for the batch, once.
func (j *Journal) rollFor(b *Batch) error {
	if b.rolled {
		return fmt.Errorf("%w: a commit of %d bytes fits into none", ErrNoSpace, b.bytes)
	}
	b.rolled = true
	if err := j.roll(len(b.events) > 0); err != nil {
		return err
	}
	b.segment = j.newest()
	b.State.Base, b.State.Dropped = j.state.Base, j.state.Dropped // a segment may have been dropped
	return nil
}

// Applied takes into memory what Commit wrote. The writer calls it.
func (j *Journal) Applied(b *Batch) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.state = *b.State
	s := b.segment
	if s == nil {
		return // only counters
	}
	s.notes += uint64(len(b.notes))
	for _, e := range b.events {
		s.last = e.seq
		s.open++
		s.totals.Received++
		j.totals.Received++
	}
	for _, e := range b.carried {
		j.carried[e.seq] = carriedEvent{s, j.hash(e.waybill)}
		s.open++
		s.totals.Received++
	}
	for i := range b.notes {
		j.countLocked(s, &b.notes[i])
	}
}

// countLocked counts a note that stands in segment s.
func (j *Journal) countLocked(s *segment, n *event.Note) {
	if n.Kind != event.NoteOutcome && n.Kind != event.NoteRequeue {
		return
	}
	holder := j.findLocked(n.Seq)
	if n.Copied { // it was counted when it was new
		if n.Outcome == event.Dead {
			holder.totals.Outcome[event.Dead]++
			holder.finishedAt(n.At)
		}
		return
	}
	if n.Kind == event.NoteRequeue || n.Outcome == event.Discarded { // it was a dead letter
		j.totals.Outcome[event.Dead]--
		holder.totals.Outcome[event.Dead]--
	}
	if n.Kind == event.NoteRequeue {
		s.totals.Requeued++
		j.totals.Requeued++
		return
	}
	s.totals.Settled[n.Outcome]++
	j.totals.Settled[n.Outcome]++
	j.totals.Outcome[n.Outcome]++
	holder.totals.Outcome[n.Outcome]++
	holder.finishedAt(n.At)
	if n.Outcome != event.Dead { // a dead letter pins its segment
		holder.open--
	}
}
