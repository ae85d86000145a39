package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"time"

	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/crypt"
	"scanrelay/store/durable"
	"scanrelay/store/event"
	"scanrelay/store/format"
)

// ErrStale: an account does not fit the segments. They must be read from the
// first one on.
var ErrStale = errors.New("checkpoint does not fit the segments")

// Account is what a row of segments comes to.
type Account struct {
	Segments []*Segment           // rising
	Retried  map[uint64]time.Time // when an event was put back as a dead letter
	Tried    map[uint64]Ref       // the last note of attempts; Prune leaves only pending ones in both
	changed  bool                 // something was read since it was made or loaded

	carried  map[uint64]*Segment // where those events live that were carried
	unsaid   map[uint64]bool     // of these, of which no note was met yet that says how they stand
	hash     func(waybill []byte) uint64
	believed func(time.Time) bool
}

// Segment is what is known of one segment.
type Segment struct {
	Number      uint64
	First, Last uint64 // numbers of its own events; First-1: it has none
	Notes       uint64 // key of its last note
	Used        int64  // bytes of its file, when it was looked at
	Open        uint64 // its events that are pending or dead
	Totals      format.Totals
	format.Age  // but for when it began
	Weights     Weights
	Arrived     map[uint64]*Arrived // events that were carried into it

	lastSum, noteSum uint32        // of the last event and of the last note
	stands           []event.State // its own events
	seen             bool          // it was read to its end, once
}

// Arrived is an event that was carried.
type Arrived struct {
	Waybill uint64      // keyed hash
	Later   event.Later // what was stored after it for its waybill in segments that are gone
	stands  event.State
}

// Ref says where a note stands.
type Ref struct{ Segment, Key uint64 }

// elsewhere is how an event stands that was carried away.
const elsewhere = event.NumStates

// newAccount returns the account of no segments. hash is a keyed hash of a
// waybill's number; believed reports whether a clock that was right can have said a
// time.
func newAccount(hash func(waybill []byte) uint64, believed func(time.Time) bool) *Account {
	return &Account{
		Retried: map[uint64]time.Time{}, Tried: map[uint64]Ref{}, carried: map[uint64]*Segment{}, unsaid: map[uint64]bool{},
		hash: hash, believed: believed,
	}
}

// forget takes out the segments up to a number, which were unlinked.
func (a *Account) forget(dropped uint64) {
	for len(a.Segments) > 0 && a.Segments[0].Number <= dropped {
		s := a.Segments[0]
		a.Segments = a.Segments[1:]
		for seq := range s.Arrived {
			if a.carried[seq] == s {
				delete(a.carried, seq)
			}
		}
	}
}

// Source is a segment to be read.
type Source struct {
	Number, First uint64
	Cipher        *crypt.Cipher
	View          func(func(boltpage.Reader) error) error // may begin anew
	Stop          <-chan struct{}                         // closed: reading ends with [event.ErrClosed]
}

// ReadAll reads a row of segments from the first one on, in their order.
func (a *Account) ReadAll(list []Source) error {
	for i, src := range list {
		if err := src.View(func(r boltpage.Reader) error { return a.read(src, r) }); err != nil {
			return err
		}
		if a.Segments[i].Number != src.Number {
			return fmt.Errorf("%w: segment %d is missing", ErrStale, a.Segments[i].Number)
		}
		if len(a.unsaid) > 0 {
			if err := a.recall(list[:i+1]); err != nil {
				return err
			}
		}
	}
	return nil
}

// recall has those events stand as any note says that is left, of which damage took
// the one that came along: the last that says so may be in a segment before, and the
// segment gone from which the event came.
func (a *Account) recall(list []Source) error {
	for i, src := range list {
		err := src.View(func(r boltpage.Reader) error {
			c := r.Bucket(format.BucketNotes).Cursor()
			for k, v := c.First(); k != nil; k, v = c.Next() {
				n, err := codec.DecodeNote(k, v)
				if err == nil && a.unsaid[n.Seq] {
					n.Copied = true // it was counted
					err = a.note(a.Segments[i], codec.Seq(k), &n)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	clear(a.unsaid)
	return nil
}

// read takes in what a segment holds that was not read before. What was read of one
// that has another behind it must be all of it.
func (a *Account) read(src Source, r boltpage.Reader) error {
	s, err := a.segment(src)
	if err != nil {
		return err
	}
	s.Used = r.Size()
	events, notes := r.Bucket(format.BucketEvents), r.Bucket(format.BucketNotes)
	if !holds(events, s.Last, s.First, s.lastSum) || !holds(notes, s.Notes, 1, s.noteSum) {
		return fmt.Errorf("%w: what it knows last of segment %d is not there", ErrStale, s.Number)
	}
	lastEvent, lastSum := last(events, s.First-1)
	lastNote, _ := last(notes, 0)
	switch {
	case s.seen && lastEvent == s.Last && lastNote == s.Notes: // what is carried comes with notes
		return nil
	case s != a.Segments[len(a.Segments)-1]:
		return fmt.Errorf("%w: segment %d has more", ErrStale, s.Number)
	}
	a.changed = true
	if k, _ := events.Cursor().First(); k != nil && codec.Seq(k) != s.First {
		return fmt.Errorf("%w: begins at %d, not %d", durable.ErrDamaged, codec.Seq(k), s.First)
	}
	s.grow(lastEvent, lastSum)
	coming, err := a.coming(s, src.Cipher, r)
	if err != nil {
		return err
	}
	err = a.notes(s, notes, coming, src.Stop)
	s.seen = err == nil
	return err
}

// segment returns what is known of a segment; nothing yet of one that comes next.
func (a *Account) segment(src Source) (*Segment, error) {
	i, found := slices.BinarySearchFunc(a.Segments, src.Number, func(s *Segment, number uint64) int { return int(s.Number) - int(number) })
	switch {
	case found && a.Segments[i].First != src.First:
		return nil, fmt.Errorf("%w: segment %d begins at %d, not %d", ErrStale, src.Number, src.First, a.Segments[i].First)
	case !found && i < len(a.Segments):
		return nil, fmt.Errorf("%w: it does not know segment %d", ErrStale, src.Number)
	case !found:
		a.Segments = append(a.Segments, &Segment{Number: src.Number, First: src.First, Last: src.First - 1, Arrived: map[uint64]*Arrived{}})
		a.changed = true
	}
	return a.Segments[i], nil
}

// holds reports whether a bucket has a record with a checksum; below first: none is
// asked for.
func holds(b boltpage.Bucket, number, first uint64, sum uint32) bool {
	if number < first {
		return true
	}
	v := b.Get(codec.Key(number))
	return v != nil && sumOf(v) == sum
}

// last returns the number of a bucket's last record, and its checksum.
func last(b boltpage.Bucket, none uint64) (number uint64, sum uint32) {
	k, v := b.Cursor().Last()
	if k == nil {
		return none, 0
	}
	return codec.Seq(k), sumOf(v)
}

// sumOf returns the checksum at the end of a record; 0: it is an empty place.
func sumOf(v []byte) uint32 {
	if len(v) < codec.CRCSize {
		return 0
	}
	return binary.BigEndian.Uint32(v[len(v)-codec.CRCSize:])
}

// grow takes in new events up to a last one. They are pending.
func (s *Segment) grow(last uint64, sum uint32) {
	if last <= s.Last {
		return
	}
	n := last - s.Last
	s.stands = append(s.stands, make([]event.State, n)...)
	s.Totals.Received += n
	s.Open += n
	s.Last, s.lastSum = last, sum
}

// arrival is an event that is in a segment to which it was carried, and of which
// the note was not met yet that came with it.
type arrival struct {
	Arrived
	weight int
}

func (a *Account) coming(s *Segment, cipher *crypt.Cipher, r boltpage.Reader) (map[uint64]arrival, error) {
	coming := map[uint64]arrival{}
	c := r.Bucket(format.BucketCarried).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		seq := codec.Seq(k)
		if seq == 0 || seq >= s.First {
			return nil, fmt.Errorf("%w: event %d is carried into a segment that begins at %d", durable.ErrDamaged, seq, s.First)
		}
		if s.Arrived[seq] == nil {
			coming[seq] = arrival{Arrived{Waybill: a.waybillOf(cipher, k, v)}, format.EventWeight(v)}
		}
	}
	return coming, nil
}

// waybillOf returns the hash of a carried event's waybill; one of its own where
// it cannot be read.
func (a *Account) waybillOf(cipher *crypt.Cipher, key, value []byte) uint64 {
	body, err := cipher.Decrypt(crypt.CarriedRecord, key, value, nil)
	if err == nil {
		var h codec.Head
		if h, err = codec.PeekEvent(body); err == nil {
			return a.hash(h.Waybill)
		}
	}
	return ^codec.Seq(key)
}

// notes takes in the notes after the last one that is known. An event moves with
// the note that was carried along with it. Where that one is lost it stands as it
// did, or, where the segment is gone that it came from, as recall finds.
func (a *Account) notes(s *Segment, b boltpage.Bucket, coming map[uint64]arrival, stop <-chan struct{}) error {
	c := b.Cursor()
	for k, v := c.Seek(codec.Key(s.Notes + 1)); k != nil; k, v = c.Next() {
		select {
		case <-stop:
			return event.ErrClosed
		default:
		}
		n, err := codec.DecodeNote(k, v)
		if err != nil {
			return err
		}
		if e, comes := coming[n.Seq]; comes && n.Copied {
			delete(coming, n.Seq)
			delete(a.Tried, n.Seq) // this note says all
			delete(a.Retried, n.Seq)
			if err := a.arrive(s, n.Seq, e); err != nil {
				return err
			}
		}
		s.Weights.Noted(len(v))
		if err := a.note(s, codec.Seq(k), &n); err != nil {
			return err
		}
		s.Notes, s.noteSum = codec.Seq(k), sumOf(v)
	}
	for _, seq := range slices.Sorted(maps.Keys(coming)) { // their notes are lost
		_, known := a.find(seq)
		if err := a.arrive(s, seq, coming[seq]); err != nil {
			return err
		}
		if !known {
			a.unsaid[seq] = true
		}
	}
	return nil
}

// place is where an event's state is kept, and which segment holds it.
type place struct {
	s  *Segment
	at *event.State
}

// find returns it; nothing if the event is gone.
func (a *Account) find(seq uint64) (p place, ok bool) {
	if s := a.carried[seq]; s != nil {
		return place{s, &s.Arrived[seq].stands}, true
	}
	i := sort.Search(len(a.Segments), func(i int) bool { return a.Segments[i].First > seq })
	if i == 0 || seq > a.Segments[i-1].Last {
		return p, false
	}
	s := a.Segments[i-1]
	return place{s, &s.stands[seq-s.First]}, true
}

// count takes an event into its segment's counts, or out of them, as it stands.
func (p *place) count(by uint64) {
	st := *p.at
	if !st.Finished() || st == event.Dead {
		p.s.Open += by
	}
	if st.Finished() {
		p.s.Totals.Outcome[st] += by
	}
}

// set has an event stand otherwise.
func (p *place) set(seq uint64, to event.State) error {
	if *p.at == elsewhere {
		return fmt.Errorf("%w: event %d ended twice", ErrStale, seq)
	}
	p.count(^uint64(0))
	*p.at = to
	p.count(1)
	return nil
}

// arrive moves an event to a segment that it was carried to.
func (a *Account) arrive(s *Segment, seq uint64, e arrival) error {
	if from, ok := a.find(seq); ok {
		if e.stands = *from.at; e.stands == elsewhere {
			return fmt.Errorf("%w: event %d was carried after its end", ErrStale, seq)
		}
		from.count(^uint64(0))
		from.s.Totals.Received--
		*from.at = elsewhere
	}
	s.Arrived[seq], a.carried[seq] = &e.Arrived, s
	to := place{s, &e.Arrived.stands}
	to.count(1)
	s.Totals.Received++
	s.Weights.Took(e.weight)
	return nil
}

// note takes in a note that stands in a segment. Of several about one event the
// last holds.
func (a *Account) note(s *Segment, key uint64, n *event.Note) error {
	tried := n.Attempts > 0
	if n.Kind == event.NoteCarried || n.Kind == event.NoteAttempt {
		tried = tried || n.Delay > 0
	} else {
		delete(a.Tried, n.Seq)
	}
	p, held := a.find(n.Seq)
	if held && n.Copied && n.Later.Known && p.s.Arrived[n.Seq] != nil {
		p.s.Arrived[n.Seq].Later.Add(n.Later.Action)
	}
	if n.Kind != event.NoteOutcome && tried {
		a.Tried[n.Seq] = Ref{s.Number, key}
	}
	switch n.Kind {
	case event.NoteRequeue:
		if !n.Copied {
			s.Totals.Requeued++
		}
		if held {
			a.Retried[n.Seq] = n.At
			return p.set(n.Seq, event.Unsynced)
		}
	case event.NoteOutcome:
		if !n.Copied {
			s.Totals.Settled[n.Outcome]++
		}
		if held {
			p.s.ended(n, a.believed(n.At))
			return p.set(n.Seq, n.Outcome)
		}
	}
	return nil
}

// ended takes the end of one of the segment's events into account.
func (s *Segment) ended(n *event.Note, believed bool) {
	s.End(n, believed)
	if n.Outcome == event.Dead {
		s.Weights.Died(format.NoteWeight(n))
	}
}

// Unfinished lists the events that a segment holds that are pending, and those that
// are dead letters: its own, rising, and then the carried ones.
func (s *Segment) Unfinished() (pending, dead []uint64) {
	add := func(seq uint64, st event.State) {
		switch st {
		case event.Unsynced:
			pending = append(pending, seq)
		case event.Dead:
			dead = append(dead, seq)
		}
	}
	for i, st := range s.stands {
		add(s.First+uint64(i), st)
	}
	for _, seq := range slices.Sorted(maps.Keys(s.Arrived)) {
		add(seq, s.Arrived[seq].stands)
	}
	return pending, dead
}

// At returns where an event lives that was carried; nil: it was not.
func (a *Account) At(seq uint64) *Segment { return a.carried[seq] }

// pending reports whether an event is.
func (a *Account) pending(seq uint64) bool {
	p, ok := a.find(seq)
	return ok && *p.at == event.Unsynced
}

// Prune forgets what was learned of events that are finished by now.
func (a *Account) Prune() {
	maps.DeleteFunc(a.Retried, func(seq uint64, _ time.Time) bool { return !a.pending(seq) })
	maps.DeleteFunc(a.Tried, func(seq uint64, _ Ref) bool { return !a.pending(seq) })
}

// TriedNotes reads the last notes of attempts.
func (a *Account) TriedNotes(list []Source) (map[uint64]event.Note, error) {
	a.Prune()
	tried, in := make(map[uint64]event.Note, len(a.Tried)), map[uint64][]uint64{}
	for seq, ref := range a.Tried {
		in[ref.Segment] = append(in[ref.Segment], seq)
	}
	for _, src := range list {
		seqs := in[src.Number]
		if len(seqs) == 0 {
			continue
		}
		err := src.View(func(r boltpage.Reader) error {
			b := r.Bucket(format.BucketNotes)
			for _, seq := range seqs {
				key := a.Tried[seq].Key
				n, err := codec.DecodeNote(codec.Key(key), b.Get(codec.Key(key)))
				if err != nil {
					return err
				}
				_ = src.Cipher.DecryptReason(key, &n) // then the reason says so
				tried[seq] = n
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return tried, nil
}

// Sealed are the numbers of the segments that had others behind them, and so are
// known wholly; those in which something is unfinished only if asked for.
func (a *Account) Sealed(unfinished bool) map[uint64]bool {
	known := map[uint64]bool{}
	for i, s := range a.Segments {
		known[s.Number] = i < len(a.Segments)-1 && (unfinished || s.Open == 0)
	}
	return known
}

// differs says what first of an account another one of the same files says
// otherwise; "": they are the same, but for when events ended, which depends on
// what the clock was believed to be.
func (a *Account) differs(b *Account) string {
	if len(a.Segments) != len(b.Segments) {
		return fmt.Sprintf("%d segments, not %d", len(a.Segments), len(b.Segments))
	}
	for i, s := range a.Segments {
		t := b.Segments[i]
		x, y := *s, *t
		x.Finished, x.Unclear = y.Finished, y.Unclear
		if !bytes.Equal(x.encode(), y.encode()) {
			return fmt.Sprintf("of segment %d: %s", s.Number, s.differs(t))
		}
	}
	a.Prune()
	b.Prune()
	switch {
	case !maps.Equal(a.Tried, b.Tried):
		return "which events were tried"
	case !maps.EqualFunc(a.Retried, b.Retried, time.Time.Equal):
		return "which events were put back"
	}
	return ""
}

func (s *Segment) differs(t *Segment) string {
	pending, dead := s.Unfinished()
	pending2, dead2 := t.Unfinished()
	return fmt.Sprintf("%d events, %d pending, %d dead letters, %d notes, totals %v; not %d, %d, %d, %d, %v",
		s.Totals.Received, len(pending), len(dead), s.Notes, s.Totals, t.Totals.Received, len(pending2), len(dead2), t.Notes, t.Totals)
}
