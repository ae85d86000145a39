package store

import (
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"scanrelay/store/codec"
	"scanrelay/store/crypt"
	"scanrelay/store/event"
)

// loader rebuilds what lives in memory from the segments: where each event
// stands, the counts, the latest identities.
type loader struct {
	o        *Outbox
	segments []*segment
	fates    map[*segment][]fate    // of the events a segment was made for
	carried  map[uint64]*carriedOne // events that live in a later segment
	retried  map[uint64]time.Time   // dead letters that were put back
	tried    map[uint64]event.Note  // attempts made for what is pending
}

// fate is how an event ended; 0: it is pending.
type fate = event.State

type carriedOne struct {
	segment *segment
	fate    fate
}

// load fills the index, the totals and the duplicate memory. Nobody else uses
// the outbox yet.
func (o *Outbox) load() error {
	l := &loader{
		o: o, segments: o.journal.list(), fates: map[*segment][]fate{},
		carried: map[uint64]*carriedOne{}, retried: map[uint64]time.Time{}, tried: map[uint64]event.Note{},
	}
	for _, s := range l.segments {
		if err := o.journal.view(s, func(tx *bolt.Tx) error { return l.bounds(s, tx) }); err != nil {
			return &segmentError{s, err}
		}
	}
	for _, s := range l.segments {
		if err := o.journal.view(s, func(tx *bolt.Tx) error { return l.notes(s, tx) }); err != nil {
			return &segmentError{s, err}
		}
	}
	l.count()
	l.pend()
	return nil
}

// bounds learns which events and notes a segment holds.
func (l *loader) bounds(s *segment, tx *bolt.Tx) error {
	s.usedBytes = tx.Size()
	events := tx.Bucket(bucketEvents).Cursor()
	if k, _ := events.First(); k != nil {
		if first := codec.Seq(k); first != s.first {
			return fmt.Errorf("%w: begins at %d, not %d", ErrDamaged, first, s.first)
		}
		k, _ = events.Last()
		s.last = codec.Seq(k)
	}
	if k, _ := tx.Bucket(bucketNotes).Cursor().Last(); k != nil {
		s.notes = codec.Seq(k)
	}
	l.fates[s] = make([]fate, s.last+1-s.first)
	c := tx.Bucket(bucketCarried).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		seq := codec.Seq(k)
		l.carried[seq] = &carriedOne{segment: s}
		l.o.journal.carried[seq] = carriedEvent{segment: s, waybill: l.waybillOf(s, k, v)}
	}
	return nil
}

// waybillOf returns the index's key of a carried event's waybill; one of its own
// where it cannot be read.
func (l *loader) waybillOf(s *segment, key, value []byte) uint64 {
	body, err := s.cipher.Decrypt(crypt.CarriedRecord, key, value, nil)
	if err == nil {
		var h codec.Head
		if h, err = codec.PeekEvent(body); err == nil {
			return l.o.index.hashBytes(h.Waybill)
		}
	}
	return ^codec.Seq(key)
}

// fateOf returns where the fate of an event is kept and which segment holds
// it; nil if the event is gone.
func (l *loader) fateOf(seq uint64) (*fate, *segment) {
	if c := l.carried[seq]; c != nil {
		return &c.fate, c.segment
	}
	s := l.o.journal.find(seq)
	if s == nil || seq > s.last {
		return nil, nil
	}
	return &l.fates[s][seq-s.first], s
}

func (l *loader) notes(s *segment, tx *bolt.Tx) error {
	c := tx.Bucket(bucketNotes).Cursor()
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
			l.tried[n.Seq] = *n
		}
		return
	}
	delete(l.tried, n.Seq)
	f, holder := l.fateOf(n.Seq)
	if n.Kind == event.NoteRequeue {
		if !n.Copied {
			s.totals.requeued++
		}
		if f != nil {
			*f = 0
			l.retried[n.Seq] = n.At
			if n.Attempts > 0 {
				l.tried[n.Seq] = *n
			}
		}
		return
	}
	if !n.Copied {
		s.totals.settled[n.Outcome]++
	}
	if f != nil {
		*f = n.Outcome
		if n.At.After(holder.finished) {
			holder.finished = n.At
		}
	}
}

// count makes the totals from the fates.
func (l *loader) count() {
	o := l.o
	o.totals = o.state.base
	for _, s := range l.segments {
		for i, f := range l.fates[s] {
			l.countOne(s, s.first+uint64(i), f)
		}
	}
	for seq, c := range l.carried {
		l.countOne(c.segment, seq, c.fate)
	}
	for _, s := range l.segments {
		o.totals.add(&s.totals)
	}
}

func (l *loader) countOne(s *segment, seq uint64, f fate) {
	if _, carried := l.carried[seq]; carried && s != l.carried[seq].segment {
		return // its first copy; the segment would be gone but for a crash
	}
	s.totals.received++
	if f == 0 || f == event.Dead {
		s.open++
	}
	if f == event.Dead {
		l.o.index.dead[seq] = struct{}{}
	}
	if f != 0 {
		s.totals.outcome[f]++
		if seq > l.o.state.watermark {
			l.o.rewound = max(l.o.rewound, seq)
		}
	}
}

// pend makes what has no outcome pending.
func (l *loader) pend() {
	x := l.o.index
	for seq, c := range l.carried {
		if c.fate == 0 {
			x.pend(seq)
		}
	}
	for _, s := range l.segments {
		for i, f := range l.fates[s] {
			seq := s.first + uint64(i)
			if _, carried := l.carried[seq]; f == 0 && !carried {
				x.pend(seq)
			}
		}
	}
	for seq, at := range l.retried {
		if x.all.has(setPending, seq) {
			x.note(seq, func(a *attempt) { a.retriedAt = at })
		}
	}
	for seq, n := range l.tried {
		if x.all.has(setPending, seq) {
			x.tried(&n)
		}
	}
}

// fillYoung brings the latest of what is to be pushed into memory, and all of it
// where it is not much.
func (o *Outbox) fillYoung() error {
	x := o.index
	var seqs []uint64
	for seq, ok := x.all.prev(shelved, 1<<64-1); ok && len(seqs) < x.size; seq, ok = x.all.prev(shelved, seq-1) {
		seqs = append(seqs, seq)
	}
	slices.Reverse(seqs)
	list, bad, err := o.readEntries(seqs)
	if err != nil {
		return err
	}
	if err := o.blame(bad); err != nil {
		return err
	}
	for _, seq := range bad {
		list = append(list, o.unreadableEntry(seq))
	}
	if len(seqs) > 0 {
		x.high = seqs[0]
	}
	x.holdAll(list)
	return nil
}

// blame looks why events cannot be read: an error names a segment with damage
// that a rebuild has not seen. Nothing is rebuilt for a reader.
func (o *Outbox) blame(bad []uint64) error {
	if o.readOnly {
		return nil
	}
	seen := map[*segment]bool{}
	for _, seq := range bad {
		s := o.journal.find(seq)
		if s == nil || s.rebuilt || seen[s] {
			continue
		}
		seen[s] = true
		if err := o.checkSegment(s); err != nil {
			return &segmentError{s, err}
		}
	}
	return nil
}

// recall fills the duplicate memory with the latest identities.
func (o *Outbox) recall() error {
	from := uint64(1)
	if next := o.state.nextSeq; next > rememberIdentities {
		from = next - rememberIdentities
	}
	now := o.opts.Now()
	remember := func(_ uint64, h *codec.Head) error {
		o.dedupe.remember(h, now)
		return nil
	}
	for _, s := range o.journal.list() {
		if o.lastIn(s) < from {
			continue
		}
		if err := o.peekEvents(s, max(from, s.first), remember); err != nil {
			return fmt.Errorf("read identities: %w", err)
		}
	}
	return o.recallCarried(from, remember)
}

func (o *Outbox) recallCarried(from uint64, remember func(uint64, *codec.Head) error) error {
	_, err := o.readEvents(o.journal.carriedFrom(from), func(seq uint64, body []byte) error {
		h, err := codec.PeekEvent(body)
		if err == nil {
			err = remember(seq, &h)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("read identities of carried events: %w", err)
	}
	return nil
}

// recallLater finds again what was stored after dead letters that were put back.
func (o *Outbox) recallLater() error {
	var seqs []uint64
	for seq, a := range o.index.notes {
		if !a.retriedAt.IsZero() {
			seqs = append(seqs, seq)
		}
	}
	if len(seqs) == 0 {
		return nil
	}
	slices.Sort(seqs)
	records, _, err := o.records(seqs)
	if err != nil {
		return err
	}
	later, err := o.laterTimes(records)
	if err != nil {
		return err
	}
	for seq, t := range later {
		o.index.note(seq, func(a *attempt) { a.later = t })
	}
	return nil
}

// remember takes a stored event into the memory at a start.
func (d *dedupe) remember(h *codec.Head, now time.Time) {
	if !h.IsWeak() {
		d.add(d.identify(h.Waybill, h.EventID))
		return
	}
	// An unknown clock may have been any time: rather a duplicate found.
	if h.IsClockless() || now.Sub(h.Received) <= weakWindow {
		d.addWeak(h.Weak, now)
	}
}
