package journal

import (
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"scanrelay/agent/scan"
	"scanrelay/store/boltpage"
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

// Batch is what one commit writes.
type Batch struct {
	State *format.State // after the commit
	Whole bool          // all of the state is written, not only its head
	// Inside: it may take the room that is kept for outcomes. Then notes are brief.
	Inside bool

	events  []newEvent
	carried []newEvent // out of a segment that is going to be dropped
	notes   []event.Note
	bytes   int
	ends    int      // notes that end an event for good
	segment *segment // that takes it
	rolled  bool     // a segment was begun for it
	moving  bool     // it moves what is unfinished in the oldest segment
}

type newEvent struct {
	seq     uint64
	framed  []byte // in clear
	waybill scan.WaybillID
	hash    uint64 // of a carried one: of its waybill
	dead    bool   // of a carried one: it is a dead letter
}

// NewBatch returns an empty batch, with the state as it is now.
func (j *Journal) NewBatch() *Batch { return &Batch{State: j.State()} }

// AddEvent gives an encoded event its number and puts it into the batch.
func (b *Batch) AddEvent(framed []byte, waybill scan.WaybillID) (seq uint64) {
	seq = b.State.NextSeq
	b.State.NextSeq++
	b.events = append(b.events, newEvent{seq: seq, framed: framed, waybill: waybill})
	b.bytes += format.EventWeight(framed)
	return seq
}

// AddNote puts a note into the batch.
func (b *Batch) AddNote(n event.Note) {
	if b.Inside {
		n = n.Brief()
	}
	if n.Ends() {
		b.ends++
	}
	b.notes = append(b.notes, n)
	b.bytes += format.NoteWeight(&n)
}

// Events is how many events are in the batch, Records how many with the notes.
func (b *Batch) Events() int { return len(b.events) }

// Records is how many events and notes are in the batch.
func (b *Batch) Records() int { return len(b.events) + len(b.notes) }

// Empty reports whether nothing has to be on disk before callers are answered.
func (b *Batch) Empty() bool { return b.Records() == 0 && !b.Whole }

// Commit makes a batch durable; then Applied takes it into memory. before runs
// once there is room, before the commit. Where there is none a segment is begun.
// ErrNoSpace: nothing was written. After any other error nothing can be trusted.
// The writer calls it.
func (j *Journal) Commit(b *Batch, before func() error) error {
	err := j.write(b, before)
	if j.full(b.segment, err) { // the next one has room
		err = j.write(b, before)
	}
	return err
}

// writeAlone commits a batch of the writer's own with all of the state, and takes
// it into memory.
func (j *Journal) writeAlone(b *Batch) error {
	b.Whole = true
	err := j.write(b, func() error { return nil })
	if err == nil {
		j.Applied(b)
	}
	return err
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
	j.measure(b.segment)
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
func (j *Journal) begin(b *Batch) (tx *bolt.Tx, err error) {
	if b.bytes > 0 { // a state finds room
		if err := j.makeRoom(b); err != nil {
			return nil, err
		}
		if !b.moving { // a segment may have been dropped
			b.State.Base, b.State.Dropped = j.state.Base, j.state.Dropped
		}
	}
	if j.newest().DB() == nil { // a start had no room for a segment
		if len(j.spares.Sizes()) == 0 {
			err = j.makeSpare()
		}
		if err == nil {
			err = j.beginSpare()
		}
		if err != nil {
			return nil, err
		}
	}
	if b.segment = j.newest(); j.epochDue {
		b.State.Relabel(b.State.Watermark+1, format.RandomEpoch())
		b.Whole = true
	}
	if tx, err = b.segment.DB().Begin(true); err != nil {
		return nil, fmt.Errorf("begin commit: %w", err)
	}
	return tx, nil
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
	j.epochDue = false // it is on disk
	s.notes += uint64(len(b.notes))
	for _, e := range b.events {
		s.last = e.seq
		s.open++
		s.totals.Received++
		j.totals.Received++
		s.weights.Took(format.EventWeight(e.framed))
	}
	for i := range b.carried {
		j.carryLocked(&b.carried[i], s)
	}
	for i := range b.notes {
		j.countLocked(s, &b.notes[i])
	}
}

// carryLocked moves an event to segment s.
func (j *Journal) carryLocked(e *newEvent, s *segment) {
	from := j.findLocked(e.seq)
	from.open--
	from.totals.Received--
	if e.dead { // its note counts it there
		from.totals.Outcome[event.Dead]--
		j.totals.Outcome[event.Dead]--
	}
	j.carried[e.seq] = carriedEvent{segment: s, waybill: e.hash}
	s.open++
	s.totals.Received++
	s.arrived = append(s.arrived, e.seq)
	s.weights.Took(format.EventWeight(e.framed))
}

// countLocked counts a note that stands in segment s.
func (j *Journal) countLocked(s *segment, n *event.Note) {
	if c, carried := j.carried[n.Seq]; carried && n.Copied && n.Later.Known {
		c.later.Add(n.Later.Action)
		j.carried[n.Seq] = c
	}
	if n.Kind != event.NoteOutcome && n.Kind != event.NoteRequeue {
		return
	}
	holder := j.findLocked(n.Seq)
	if n.Outcome == event.Dead {
		holder.weights.Died(format.NoteWeight(n))
	}
	if n.Copied { // it was counted when it was new
		if n.Outcome == event.Dead {
			j.totals.Outcome[event.Dead]++
			holder.totals.Outcome[event.Dead]++
			j.finishedAt(holder, n)
		}
		return
	}
	if j.clearing.Load() && holder == j.segments[0] && (n.Kind == event.NoteRequeue || n.Outcome == event.Dead) {
		j.stirred[n.Seq] = true
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
	j.finishedAt(holder, n)
	if n.Outcome != event.Dead { // a dead letter pins its segment
		holder.open--
	}
}
