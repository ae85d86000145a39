package store

import (
	"cmp"
	"errors"
	"slices"

	bolt "go.etcd.io/bbolt"

	"scanrelay/store/codec"
	"scanrelay/store/event"
)

// noteRef says where a note stands; segment 0: there is none.
type noteRef struct{ segment, key uint32 }

// lastNotes finds the last note about each of the events of a segment.
func (o *Outbox) lastNotes(s *segment, seqs []uint64) ([]noteRef, error) {
	refs := make([]noteRef, len(seqs))
	err := o.eachNote(s, func(in *segment, key uint64, n *event.Note) {
		if i, ok := slices.BinarySearch(seqs, n.Seq); ok {
			refs[i] = noteRef{uint32(in.number), uint32(key)}
		}
	})
	return refs, err
}

// eachNote gives all notes in segment s and later ones to fn, in their order.
func (o *Outbox) eachNote(s *segment, fn func(in *segment, key uint64, n *event.Note)) error {
	for _, in := range o.journal.from(s) {
		for next, more := uint64(0), true; more; {
			err := o.journal.view(in, func(tx *bolt.Tx) error {
				next, more = noteRun(tx.Bucket(bucketNotes), next, func(key uint64, n *event.Note) { fn(in, key, n) })
				return nil
			})
			if errors.Is(err, errGone) {
				break
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func noteRun(b *bolt.Bucket, from uint64, fn func(uint64, *event.Note)) (next uint64, more bool) {
	c := b.Cursor()
	i := 0
	for k, v := c.Seek(codec.Key(from)); k != nil; k, v = c.Next() {
		if i++; i > peekChunk {
			return codec.Seq(k), true
		}
		if n, err := codec.DecodeNote(k, v); err == nil {
			fn(codec.Seq(k), &n)
		}
	}
	return 0, false
}

// applyNotes completes records by their last notes. It leaves out those whose
// note is gone, since they are, too.
func (o *Outbox) applyNotes(records []event.Record, seqs []uint64, refs []noteRef) ([]event.Record, error) {
	kept := records[:0]
	for _, r := range records {
		at, _ := slices.BinarySearch(seqs, r.ID.Seq)
		if refs[at].segment != 0 {
			n, err := o.noteAt(refs[at])
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

func (o *Outbox) noteAt(ref noteRef) (n event.Note, err error) {
	all := o.journal.list()
	i, found := slices.BinarySearchFunc(all, uint64(ref.segment), func(s *segment, number uint64) int {
		return cmp.Compare(s.number, number)
	})
	if !found {
		return n, errGone
	}
	err = o.journal.view(all[i], func(tx *bolt.Tx) error {
		key := codec.Key(uint64(ref.key))
		n, err = codec.DecodeNote(key, tx.Bucket(bucketNotes).Get(key))
		return err
	})
	_ = all[i].cipher.DecryptReason(uint64(ref.key), &n) // then the reason says so
	return n, err
}

// describeFinished reads where those records stand that are not pending. It
// leaves out those that were dropped meanwhile.
func (o *Outbox) describeFinished(records []event.Record) ([]event.Record, error) {
	finished := map[uint64]*event.Record{}
	o.locked(func(x *index) {
		for i := range records {
			if seq := records[i].ID.Seq; !x.all.has(setPending, seq) {
				finished[seq] = &records[i]
			}
		}
	})
	if len(finished) == 0 {
		return records, nil
	}
	// A carried event's notes were copied along, so no note about an event
	// stands before the segment that holds it.
	from := o.journal.newest()
	for seq := range finished {
		if s := o.journal.find(seq); s != nil && s.number < from.number {
			from = s
		}
	}
	err := o.eachNote(from, func(in *segment, key uint64, n *event.Note) {
		if r := finished[n.Seq]; r != nil {
			_ = in.cipher.DecryptReason(key, n) // then the reason says so
			r.Apply(n)
		}
	})
	return slices.DeleteFunc(records, func(r event.Record) bool {
		return finished[r.ID.Seq] != nil && !r.State.Finished()
	}), err
}
