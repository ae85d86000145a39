package journal

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"

	"scanrelay/store/codec"
	"scanrelay/store/event"
	"scanrelay/store/format"
)

// scanChunk is how many records are in memory at once while scanning.
const scanChunk = 500

// Scan gives all records to emit, some at a time, in sequence order but for those
// of long ago that were carried along. What changes meanwhile may be seen before
// or after. For each segment it first learns where the last note about each of
// its events stands: eight bytes an event.
func (j *Journal) Scan(emit func([]event.Record) error) error {
	given := map[uint64]bool{} // what may be carried to a later segment meanwhile
	// One by one: what is carried meanwhile may go to a segment begun meanwhile.
	for s := j.after(0); s != nil; s = j.after(s.number) {
		seqs := slices.DeleteFunc(j.eventsIn(s), func(seq uint64) bool { return given[seq] })
		err := j.scanSegment(s, seqs, func(records []event.Record) error {
			j.remember(s, records, given)
			return emit(records)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ScanOnly does so with some events. Of dead letters that cannot be read it
// gives records without an event, so that they can be seen and discarded.
func (j *Journal) ScanOnly(seqs []uint64, emit func([]event.Record) error) error {
	for part := range slices.Chunk(seqs, scanChunk) {
		records, bad, err := j.Records(part)
		if err != nil {
			return err
		}
		var blank []event.Record
		for _, seq := range bad {
			if _, dead := j.live.Stands(seq); dead {
				blank = append(blank, event.Record{ID: event.ID{Seq: seq}})
			}
		}
		j.describe(blank)
		if records, err = j.DescribeFinished(append(records, blank...)); err != nil {
			return err
		}
		if err := emit(records); err != nil {
			return err
		}
	}
	return nil
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

func (j *Journal) scanSegment(s *segment, seqs []uint64, emit func([]event.Record) error) error {
	notes := make([]noteRef, len(seqs)) // the last one about each
	err := j.eachNote(s, func(in *segment, key uint64, n *event.Note) {
		if i, ok := slices.BinarySearch(seqs, n.Seq); ok {
			notes[i] = noteRef{uint32(in.number), uint32(key)}
		}
	})
	if err != nil {
		return err
	}
	for part := range slices.Chunk(seqs, scanChunk) {
		records, _, err := j.Records(part)
		if err == nil {
			records, err = j.applyNotes(records, seqs, notes)
		}
		if err == nil {
			err = emit(records)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// applyNotes completes records by their last notes. It leaves out those whose
// note is gone, since they are, too.
func (j *Journal) applyNotes(records []event.Record, seqs []uint64, refs []noteRef) ([]event.Record, error) {
	kept := records[:0]
	for _, r := range records {
		at, _ := slices.BinarySearch(seqs, r.ID.Seq)
		if refs[at].segment != 0 {
			n, err := j.noteAt(refs[at])
			if errors.Is(err, errGone) {
				continue
			}
			if err != nil {
				return nil, err
			}
			r.Apply(&n)
		}
		kept = append(kept, r)
	}
	return kept, nil
}

func (j *Journal) noteAt(ref noteRef) (n event.Note, err error) {
	all := j.list()
	i, found := slices.BinarySearchFunc(all, uint64(ref.segment), func(s *segment, number uint64) int {
		return cmp.Compare(s.number, number)
	})
	if !found {
		return n, errGone
	}
	err = j.handles.view(all[i], func(tx *bolt.Tx) error {
		key := codec.Key(uint64(ref.key))
		if n, err = codec.DecodeNote(key, valueAt(tx.Bucket(format.BucketNotes), key)); err != nil {
			err = fmt.Errorf("note %d of segment %d: %w", ref.key, ref.segment, err)
		}
		return err
	})
	_ = all[i].cipher.DecryptReason(uint64(ref.key), &n) // then the reason says so
	return n, err
}

// valueAt returns what stands under a key that was seen in a bucket. Where damage
// misleads a search for it, it is looked for one by one.
func valueAt(b *bolt.Bucket, key []byte) []byte {
	if v := b.Get(key); v != nil {
		return v
	}
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if bytes.Equal(k, key) {
			return v
		}
	}
	return nil
}

// remember remembers unfinished records of a segment that is near its end.
func (j *Journal) remember(s *segment, records []event.Record, given map[uint64]bool) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	if s.open > 4*maxCarry {
		return
	}
	for i := range records {
		if r := &records[i]; !r.State.Finished() || r.State == event.Dead {
			given[r.ID.Seq] = true
		}
	}
}
