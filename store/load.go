package store

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// loader rebuilds what lives in memory from the segments: where each event
// stands, the counts, the latest identities.
type loader struct {
	o        *Outbox
	segments []*segment
	fates    map[*segment][]fate    // of the events a segment was made for
	carried  map[uint64]*carriedOne // events that live in a later segment
	retried  map[uint64]time.Time   // dead letters that were put back
	received uint32                 // when the event before was received
	scratch  []byte
}

// fate is how an event ended; 0: it is pending.
type fate = State

type carriedOne struct {
	segment *segment
	fate    fate
}

// load fills the index, the totals and the duplicate memory. Nobody else uses
// the outbox yet.
func (o *Outbox) load() error {
	l := &loader{
		o: o, segments: o.journal.list(), fates: map[*segment][]fate{},
		carried: map[uint64]*carriedOne{}, retried: map[uint64]time.Time{},
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
	for _, s := range l.segments {
		if err := o.journal.view(s, func(tx *bolt.Tx) error { return l.pending(s, tx) }); err != nil {
			return &segmentError{s, err}
		}
	}
	return nil
}

// bounds learns which events and notes a segment holds.
func (l *loader) bounds(s *segment, tx *bolt.Tx) error {
	s.usedBytes = tx.Size()
	events := tx.Bucket(bucketEvents).Cursor()
	if k, _ := events.First(); k != nil {
		if first := keySeq(k); first != s.first {
			return fmt.Errorf("%w: begins at %d, not %d", ErrDamaged, first, s.first)
		}
		k, _ = events.Last()
		s.last = keySeq(k)
	}
	if k, _ := tx.Bucket(bucketNotes).Cursor().Last(); k != nil {
		s.notes = keySeq(k)
	}
	l.fates[s] = make([]fate, s.last+1-s.first)
	c := tx.Bucket(bucketCarried).Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		seq := keySeq(k)
		s.carries = true
		l.carried[seq] = &carriedOne{segment: s}
		l.o.journal.carried[seq] = s
	}
	return nil
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
		n, err := decodeNote(k, v)
		if err != nil {
			return err
		}
		l.note(s, &n)
	}
	return nil
}

func (l *loader) note(s *segment, n *note) {
	if n.kind == noteCarried {
		return
	}
	f, holder := l.fateOf(n.seq)
	if n.kind == noteRequeue {
		if !n.copied {
			s.totals.requeued++
		}
		if f != nil {
			*f = 0
			l.retried[n.seq] = n.at
		}
		return
	}
	if !n.copied {
		s.totals.settled[n.outcome]++
	}
	if f != nil {
		*f = n.outcome
		if n.at.After(holder.finished) {
			holder.finished = n.at
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
	if f == 0 || f == Dead {
		s.open++
	}
	if f == Dead {
		l.o.index.dead[seq] = struct{}{}
	}
	if f != 0 {
		s.totals.outcome[f]++
		if seq > l.o.state.watermark {
			l.o.rewound = max(l.o.rewound, seq)
		}
	}
}

// pending reads the events of a segment that have no outcome.
func (l *loader) pending(s *segment, tx *bolt.Tx) error {
	if err := l.pendingCarried(s, tx); err != nil {
		return err
	}
	c := tx.Bucket(bucketEvents).Cursor()
	at := uint64(0) // where the cursor stands
	var k, v []byte
	for i, f := range l.fates[s] {
		seq := s.first + uint64(i)
		if _, carried := l.carried[seq]; f != 0 || carried {
			continue
		}
		if at == 0 || at+1 != seq {
			k, v = c.Seek(seqKey(seq))
		} else {
			k, v = c.Next()
		}
		if at = seq; k == nil || keySeq(k) != seq {
			v, at = nil, 0
		}
		l.add(s, kindEvent, seq, v)
	}
	return nil
}

func (l *loader) pendingCarried(s *segment, tx *bolt.Tx) error {
	c := tx.Bucket(bucketCarried).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if seq := keySeq(k); l.carried[seq].segment == s && l.carried[seq].fate == 0 {
			l.add(s, kindCarried, seq, v)
		}
	}
	return nil
}

// add makes a pending event known again. One that cannot be read stays in its
// place, alone in a waybill of its own, and becomes a dead letter once leased.
func (l *loader) add(s *segment, kind byte, seq uint64, value []byte) {
	x := l.o.index
	body, err := s.sealer.open(kind, seqKey(seq), value, l.scratch)
	l.scratch = keepScratch(l.scratch, body)
	var h head
	if err == nil {
		h, err = peekEvent(body)
	}
	if err != nil {
		l.o.opts.Logger.Error("event cannot be read", "seq", seq, "file", filepath.Base(s.path), "error", err)
		x.add(seq, entry{waybill: ^seq, received: cmp.Or(l.received, unix32(s.begun))})
		return
	}
	e := entry{waybill: x.hashBytes(h.waybill), action: h.time, received: unix32(h.received)}
	if h.parts&hasClockless != 0 {
		boot := string(h.boot)
		if clock, ok := l.o.state.clockOf(boot, seq); ok {
			received, action, _ := clock.resolve(h.bootSince, h.time, h.marks)
			e.action, e.received = action, unix32(received)
		} else {
			e.flags |= entryClockless
			l.o.clockless(boot, seq)
		}
	}
	l.received = e.received
	x.add(seq, e)
	if at, ok := l.retried[seq]; ok {
		x.note(seq, func(a *attempt) { a.retriedAt = at })
	}
}

// recall fills the duplicate memory with the latest identities.
func (o *Outbox) recall() error {
	next := o.state.nextSeq
	from := uint64(1)
	if next > rememberIdentities {
		from = next - rememberIdentities
	}
	now := o.opts.Now()
	if err := o.peekAll(from, func(_ uint64, h *head) { o.dedupe.remember(h, now) }); err != nil {
		return fmt.Errorf("read identities: %w", err)
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
func (d *dedupe) remember(h *head, now time.Time) {
	if h.parts&hasWeak == 0 {
		d.add(d.identify(h.waybill, h.eventID))
		return
	}
	// An unknown clock may have been any time: rather a duplicate found.
	if h.parts&hasClockless != 0 || now.Sub(h.received) <= weakWindow {
		d.addWeak(h.weak, now)
	}
}
