package journal

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	bolt "go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/codec"
	"scanrelay/store/event"
	"scanrelay/store/format"
)

// eachNote gives all notes in segment s and later ones to fn, in their order.
// Encrypted reasons stay so.
func (j *Journal) eachNote(s *segment, fn func(in *segment, key uint64, n *event.Note)) error {
	for in := s; in != nil; in = j.after(in.number) {
		for next, more := uint64(0), true; more; {
			err := j.handles.view(in, func(tx *bolt.Tx) error {
				next, more = noteRun(tx.Bucket(format.BucketNotes), next, func(key uint64, n *event.Note) { fn(in, key, n) })
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

// DescribeFinished reads where those records stand that are not pending. It
// leaves out those that were dropped meanwhile.
func (j *Journal) DescribeFinished(records []event.Record) ([]event.Record, error) {
	finished := map[uint64]*event.Record{}
	for i := range records {
		if pending, _ := j.live.Stands(records[i].ID.Seq); !pending {
			finished[records[i].ID.Seq] = &records[i]
		}
	}
	if len(finished) == 0 {
		return records, nil
	}
	// A carried event's notes were copied along, so no note about an event
	// stands before the segment that holds it.
	from := j.newest()
	for seq := range finished {
		if s := j.find(seq); s != nil && s.number < from.number {
			from = s
		}
	}
	err := j.eachNote(from, func(in *segment, key uint64, n *event.Note) {
		if r := finished[n.Seq]; r != nil {
			_ = in.cipher.DecryptReason(key, n) // then the reason says so
			r.Apply(n)
		}
	})
	return slices.DeleteFunc(records, func(r event.Record) bool {
		return finished[r.ID.Seq] != nil && !r.State.Finished()
	}), err
}

// Later finds what was stored after each record for its waybill: an event that
// is put back may be late, too.
func (j *Journal) Later(records []event.Record) (map[uint64]event.Later, error) {
	later := make(map[uint64]event.Later, len(records))
	byWaybill := map[scan.WaybillID][]uint64{}
	from := uint64(maxSeq)
	for i := range records {
		seq, id := records[i].ID.Seq, records[i].Event.Waybill
		byWaybill[id] = append(byWaybill[id], seq)
		later[seq] = event.Later{}
		from = min(from, seq)
	}
	seqs, err := j.Find(slices.Collect(maps.Keys(byWaybill)), from, maxSeq, anywhere)
	if err != nil {
		return nil, err
	}
	_, err = j.Heads(seqs, func(seq uint64, h *codec.Head) error {
		for _, early := range byWaybill[scan.WaybillID(h.Waybill)] {
			if t := later[early]; seq > early {
				t.Add(h.Time)
				later[early] = t
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	// Last, so that a segment dropped meanwhile is found in its copied notes.
	return later, j.copiedLater(later)
}

// copiedLater adds what was stored after carried events in segments that are
// gone.
func (j *Journal) copiedLater(later map[uint64]event.Later) error {
	carried := j.carriedWhere(func(seq uint64, _ carriedEvent) bool {
		_, ok := later[seq]
		return ok
	})
	if len(carried) == 0 {
		return nil
	}
	err := j.eachNote(j.oldest(), func(_ *segment, _ uint64, n *event.Note) {
		if t, ok := later[n.Seq]; ok && n.Later.Known {
			t.Add(n.Later.Action)
			later[n.Seq] = t
		}
	})
	if err != nil {
		return fmt.Errorf("read notes: %w", err)
	}
	return nil
}
