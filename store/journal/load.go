package journal

import (
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/codec"
	"scanrelay/store/crypt"
	"scanrelay/store/durable"
	"scanrelay/store/event"
	"scanrelay/store/format"
	"scanrelay/store/repair"
)

// Loader is what a start fills.
type Loader interface {
	Live
	// Reset forgets everything, and sets the watermark.
	Reset(watermark uint64)
	Load(f *event.Found)
	// WaitAgain has events wait as a mark says.
	WaitAgain(mark []byte)
	// Fill brings events into memory. bad is what of them cannot be read.
	Fill() (bad []uint64, err error)
}

// Load brings what is in the segments into memory, which is asked from then on.
// Segments that cannot be read are rebuilt, unless nothing may be written.
func (j *Journal) Load(into Loader) error {
	j.live = into
	if !j.readOnly {
		if err := j.mendKnown(); err != nil {
			return err
		}
	}
	for {
		err := j.load(into)
		var bad *segmentError
		if j.readOnly || !errors.As(err, &bad) || !damaged(err) || bad.s.rebuilt {
			return err
		}
		if err := j.mend(bad.s, bad.err); err != nil {
			return err
		}
		j.unload()
	}
}

// unload forgets what a load brought into memory.
func (j *Journal) unload() {
	j.totals, j.rewound = format.Totals{}, 0
	clear(j.carried)
	for _, s := range j.segments {
		s.last, s.notes, s.open, s.totals = s.first-1, 0, 0, format.Totals{}
	}
}

func (j *Journal) load(into Loader) error {
	into.Reset(j.state.Watermark)
	l := &loader{
		j: j, into: into, outcomes: map[*segment][]outcome{}, carried: map[uint64]*carriedOutcome{},
		last: event.Found{Retried: map[uint64]time.Time{}, Tried: map[uint64]event.Note{}},
	}
	if err := l.load(); err != nil {
		return err
	}
	j.state.NextSeq = max(j.state.NextSeq, j.newest().last+1, 1)
	into.WaitAgain(j.waiting)
	if err := j.openRegisters(); err != nil {
		return err
	}
	bad, err := into.Fill()
	if err != nil {
		return err
	}
	return j.findDamage(bad)
}

// findDamage looks why events cannot be read: an error names a segment with damage
// that a rebuild has not seen. Nothing is rebuilt for a reader.
func (j *Journal) findDamage(bad []uint64) error {
	if j.readOnly {
		return nil
	}
	seen := map[*segment]bool{}
	for _, seq := range bad {
		s := j.find(seq)
		if s == nil || s.rebuilt || seen[s] {
			continue
		}
		seen[s] = true
		if err := repair.Check(s.path, s.cipher); err != nil {
			return &segmentError{s, err}
		}
	}
	return nil
}

// segmentError says which segment could not be read.
type segmentError struct {
	s   *segment
	err error
}

func (e *segmentError) Error() string { return fmt.Sprintf("read segment %d: %v", e.s.number, e.err) }
func (e *segmentError) Unwrap() error { return e.err }

// loader finds out of the notes where each event stands, and counts.
type loader struct {
	j        *Journal
	into     Loader
	outcomes map[*segment][]outcome     // of the events a segment was made for
	carried  map[uint64]*carriedOutcome // events that live in a later segment
	found    event.Found                // what was counted and not handed on yet
	last     event.Found                // what is to be handed on last
}

// outcome is how an event ended; 0: it is pending.
type outcome = event.State

type carriedOutcome struct {
	segment *segment
	outcome outcome
}

// load reads the segments. Nobody else uses the journal yet.
func (l *loader) load() error {
	for _, read := range []func(*segment, *bolt.Tx) error{l.bounds, l.notes} {
		for _, s := range l.j.segments {
			if err := l.j.handles.view(s, func(tx *bolt.Tx) error { return read(s, tx) }); err != nil {
				return &segmentError{s, err}
			}
		}
	}
	l.j.totals = l.j.state.Base
	for _, s := range l.j.segments {
		for i, f := range l.outcomes[s] {
			if seq := s.first + uint64(i); l.carried[seq] == nil { // else the segment would be gone but for a crash
				l.count(s, seq, f)
			}
		}
		delete(l.outcomes, s)
		l.give()
	}
	for seq, c := range l.carried {
		l.count(c.segment, seq, c.outcome)
	}
	l.give()
	for _, s := range l.j.segments {
		l.j.totals.Add(&s.totals)
	}
	l.into.Load(&l.last)
	return nil
}

// bounds learns which events and notes a segment holds.
func (l *loader) bounds(s *segment, tx *bolt.Tx) error {
	s.usedBytes = tx.Size()
	events := tx.Bucket(format.BucketEvents).Cursor()
	if k, _ := events.First(); k != nil {
		if first := codec.Seq(k); first != s.first {
			return fmt.Errorf("%w: begins at %d, not %d", durable.ErrDamaged, first, s.first)
		}
		k, _ = events.Last()
		s.last = codec.Seq(k)
	}
	if k, _ := tx.Bucket(format.BucketNotes).Cursor().Last(); k != nil {
		s.notes = codec.Seq(k)
	}
	l.outcomes[s] = make([]outcome, s.last+1-s.first)
	c := tx.Bucket(format.BucketCarried).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		seq := codec.Seq(k)
		l.carried[seq] = &carriedOutcome{segment: s}
		l.j.carried[seq] = carriedEvent{segment: s, waybill: l.waybillOf(s, k, v)}
	}
	return nil
}

// waybillOf returns the hash of a carried event's waybill; one of its own where
// it cannot be read.
func (l *loader) waybillOf(s *segment, key, value []byte) uint64 {
	body, err := s.cipher.Decrypt(crypt.CarriedRecord, key, value, nil)
	if err == nil {
		var h codec.Head
		if h, err = codec.PeekEvent(body); err == nil {
			return l.j.hash(scan.WaybillID(h.Waybill))
		}
	}
	return ^codec.Seq(key)
}

// outcomeOf returns where the outcome of an event is kept and which segment holds
// it; nil if the event is gone.
func (l *loader) outcomeOf(seq uint64) (*outcome, *segment) {
	if c := l.carried[seq]; c != nil {
		return &c.outcome, c.segment
	}
	s := l.j.find(seq)
	if s == nil || seq > s.last {
		return nil, nil
	}
	return &l.outcomes[s][seq-s.first], s
}

func (l *loader) notes(s *segment, tx *bolt.Tx) error {
	c := tx.Bucket(format.BucketNotes).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		n, err := codec.DecodeNote(k, v)
		if err != nil {
			return err
		}
		if n.Kind != event.NoteOutcome {
			_ = s.cipher.DecryptReason(codec.Seq(k), &n) // then the reason says so
		}
		l.note(s, &n)
	}
	return nil
}

func (l *loader) note(s *segment, n *event.Note) {
	if n.Kind == event.NoteCarried || n.Kind == event.NoteAttempt {
		if n.Attempts > 0 || n.Delay > 0 {
			l.last.Tried[n.Seq] = *n
		}
		return
	}
	delete(l.last.Tried, n.Seq)
	f, holder := l.outcomeOf(n.Seq)
	if n.Kind == event.NoteRequeue {
		if !n.Copied {
			s.totals.Requeued++
		}
		if f != nil {
			*f = 0
			l.last.Retried[n.Seq] = n.At
			if n.Attempts > 0 {
				l.last.Tried[n.Seq] = *n
			}
		}
		return
	}
	if !n.Copied {
		s.totals.Settled[n.Outcome]++
	}
	if f != nil {
		*f = n.Outcome
		holder.finishedAt(n.At)
	}
}

// count counts an event that segment s holds.
func (l *loader) count(s *segment, seq uint64, f outcome) {
	s.totals.Received++
	if f == 0 || f == event.Dead {
		s.open++
	}
	switch f {
	case 0:
		l.found.Pending = append(l.found.Pending, seq)
		return
	case event.Dead:
		l.found.Dead = append(l.found.Dead, seq)
	}
	s.totals.Outcome[f]++
	if seq > l.j.state.Watermark {
		l.j.rewound = max(l.j.rewound, seq)
	}
}

// give hands on what was counted.
func (l *loader) give() {
	l.into.Load(&l.found)
	l.found.Pending, l.found.Dead = l.found.Pending[:0], l.found.Dead[:0]
}
