package journal

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/durable"
	"scanrelay/store/event"
	"scanrelay/store/format"
	"scanrelay/store/handle"
	"scanrelay/store/repair"
)

// scanChunk is how many records are in memory at once while scanning.
const scanChunk = 500

// Scan gives all records to emit, some at a time, in sequence order but for those
// of long ago that were carried along. What changes meanwhile may be seen before
// or after. For each segment it first learns where the last note about each of
// its events stands: eight bytes an event. Of damage that nobody has told of yet it tells
// in the end.
func (j *Journal) Scan(emit func([]event.Record) error) (unread error) {
	given := &event.Numbers{} // what may be carried to a later segment meanwhile
	// One by one: what is carried meanwhile may go to a segment begun meanwhile.
	for s := j.after(0); s != nil; s = j.after(s.number) {
		seqs := slices.DeleteFunc(j.eventsIn(s), func(seq uint64) bool { return given.Has(seq) })
		bad, err := j.scanSegment(s, seqs, func(records []event.Record) error {
			j.remember(records, given)
			return emit(records)
		})
		if err != nil {
			return err
		}
		if bad = j.unknown(s, bad); len(bad) > 0 {
			unread = j.metDamage(s, fmt.Errorf("%w: events %s cannot be read", durable.ErrDamaged, event.Ranges(bad)))
		}
	}
	return unread
}

// unknown picks those events that a segment should hold: they are neither gone nor
// empty places, which are known.
func (j *Journal) unknown(s *segment, bad []uint64) []uint64 {
	return slices.DeleteFunc(bad, func(seq uint64) bool {
		empty := false
		_ = j.handles.View(&s.File, func(r boltpage.Reader) error { // what cannot be read says nothing
			empty = repair.Empty(r, seq)
			return nil
		})
		return empty || j.find(seq) != s
	})
}

// ScanOnly does so with some events, rising but for those that are carried
// meanwhile. Of dead letters that cannot be read it gives records without an event,
// so that they can be seen and discarded.
func (j *Journal) ScanOnly(seqs []uint64, emit func([]event.Record) error) error {
	for len(seqs) > 0 {
		moved, err := j.scanOnly(seqs, emit)
		if err != nil {
			return err
		}
		seqs = moved
	}
	return nil
}

// scanOnly returns those that may have been carried, with their notes, meanwhile.
func (j *Journal) scanOnly(seqs []uint64, emit func([]event.Record) error) (moved []uint64, err error) {
	notes, err := j.lastNotes(seqs)
	if err != nil {
		return nil, err
	}
	for part := range slices.Chunk(seqs, scanChunk) {
		records, bad, err := j.Records(part)
		if err != nil {
			return nil, err
		}
		var blank []event.Record
		for _, seq := range bad {
			if _, dead := j.live.Stands(seq); dead {
				blank = append(blank, event.Record{ID: event.ID{Seq: seq}})
			}
		}
		j.describe(blank)
		found, gone, err := j.applyNotes(append(records, blank...), seqs, notes)
		if err != nil {
			return nil, err
		}
		moved = append(moved, gone...)
		if err := emit(found); err != nil {
			return nil, err
		}
	}
	return moved, nil
}

// eventsIn lists the numbers of the events in a segment, rising. Whether they can
// be read is seen when they are.
func (j *Journal) eventsIn(s *segment) []uint64 {
	last := j.lastIn(s)
	seqs := j.carriedWhere(func(_ uint64, c carriedEvent) bool { return c.segment == s })
	for seq := s.first; seq <= last; seq++ {
		if j.find(seq) == s {
			seqs = append(seqs, seq)
		}
	}
	return seqs
}

// noteRef says where a note stands; segment 0: there is none.
type noteRef struct{ segment, key uint32 }

func (j *Journal) scanSegment(s *segment, seqs []uint64, emit func([]event.Record) error) (bad []uint64, err error) {
	notes, err := j.notesFrom(s, seqs)
	if err != nil {
		return nil, err
	}
	for part := range slices.Chunk(seqs, scanChunk) {
		records, unread, err := j.Records(part)
		if err == nil {
			records, _, err = j.applyNotes(records, seqs, notes) // what was carried comes with its segment
		}
		if err == nil {
			err = emit(records)
		}
		if err != nil {
			return nil, err
		}
		bad = append(bad, unread...)
	}
	return bad, nil
}

// notesFrom finds the last note about each of some events in s and later segments.
func (j *Journal) notesFrom(s *segment, seqs []uint64) ([]noteRef, error) {
	notes := make([]noteRef, len(seqs))
	err := j.eachNote(s, func(in *segment, key uint64, n *event.Note) {
		if i, ok := slices.BinarySearch(seqs, n.Seq); ok {
			notes[i] = noteRef{uint32(in.number), uint32(key)}
		}
	})
	return notes, err
}

// lastNotes does so for those that ended, wherever they are. A carried event's notes
// were copied along, so none about an event stands before the segment that holds it.
func (j *Journal) lastNotes(seqs []uint64) ([]noteRef, error) {
	var from *segment
	for _, seq := range seqs {
		if pending, _ := j.live.Stands(seq); pending {
			continue
		}
		if s := j.find(seq); s != nil && (from == nil || s.number < from.number) {
			from = s
		}
	}
	return j.notesFrom(from, seqs)
}

// applyNotes completes records by their last notes. It leaves out those whose
// note is gone: they are, too, or were carried with a copy of it.
func (j *Journal) applyNotes(records []event.Record, seqs []uint64, refs []noteRef) (kept []event.Record, gone []uint64, err error) {
	kept = records[:0]
	for _, r := range records {
		at, _ := slices.BinarySearch(seqs, r.ID.Seq)
		if refs[at].segment != 0 {
			n, err := j.noteAt(refs[at])
			if errors.Is(err, handle.ErrGone) {
				gone = append(gone, r.ID.Seq)
				continue
			}
			if err != nil {
				return nil, nil, err
			}
			r.Apply(&n)
		}
		if n, ok := j.foreseen[r.ID.Seq]; ok {
			r.Apply(&n)
		}
		kept = append(kept, r)
	}
	return kept, gone, nil
}

func (j *Journal) noteAt(ref noteRef) (n event.Note, err error) {
	all := j.list()
	i, found := slices.BinarySearchFunc(all, uint64(ref.segment), func(s *segment, number uint64) int {
		return cmp.Compare(s.number, number)
	})
	if !found {
		return n, handle.ErrGone
	}
	err = j.handles.View(&all[i].File, func(tx boltpage.Reader) error {
		key := codec.Key(uint64(ref.key))
		if n, err = codec.DecodeNote(key, boltpage.Seen(tx.Bucket(format.BucketNotes), key)); err != nil {
			err = fmt.Errorf("note %d of segment %d: %w", ref.key, ref.segment, err)
		}
		return err
	})
	_ = all[i].cipher.DecryptReason(uint64(ref.key), &n) // then the reason says so
	return n, err
}

// remember remembers unfinished records.
func (j *Journal) remember(records []event.Record, given *event.Numbers) {
	for i := range records {
		if r := &records[i]; !r.State.Finished() || r.State == event.Dead {
			given.Add(r.ID.Seq)
		}
	}
}
