package journal

import (
	"errors"
	"maps"
	"slices"

	"scanrelay/agent/scan"
	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/durable"
	"scanrelay/store/event"
	"scanrelay/store/format"
	"scanrelay/store/handle"
)

// eachNote gives all notes in segment s and later ones to fn, in their order.
// Encrypted reasons stay so. One that is damaged is passed over, and told of at the
// end; the next start mends what can be mended.
func (j *Journal) eachNote(s *segment, fn func(in *segment, key uint64, n *event.Note)) (bad error) {
	for in := s; in != nil; in = j.after(in.number) {
		give := func(key uint64, n *event.Note) { fn(in, key, n) }
		for next, more := uint64(0), true; more; {
			var unread error
			err := j.handles.View(&in.File, func(tx boltpage.Reader) error {
				next, more, unread = format.Notes(tx, next, give)
				return nil
			})
			if errors.Is(err, handle.ErrGone) {
				break
			}
			if errors.Is(err, durable.ErrDamaged) {
				return j.metDamage(in, err)
			}
			if err != nil {
				return err
			}
			if unread != nil {
				bad = j.metDamage(in, unread)
			}
		}
	}
	return bad
}

// Later finds what was stored after each event for its waybill: one that is put
// back may be late, too.
func (j *Journal) Later(seqs []uint64) (map[uint64]event.Later, error) {
	later := make(map[uint64]event.Later, len(seqs))
	for part := range slices.Chunk(seqs, scanChunk) {
		records := make([]event.Record, 0, len(part))
		_, err := j.Heads(part, func(seq uint64, h *codec.Head) error {
			records = append(records, event.Record{ID: event.ID{Seq: seq}, Event: scan.Event{Waybill: scan.WaybillID(h.Waybill)}})
			return nil
		})
		if err != nil {
			return nil, err
		}
		some, err := j.stillLater(records)
		if err != nil {
			return nil, err
		}
		maps.Copy(later, some)
	}
	for seq, t := range later { // last, so that it has what a segment held that was dropped meanwhile
		if copied := j.copiedLater(seq); copied.Known {
			t.Add(copied.Action)
			later[seq] = t
		}
	}
	return later, nil
}

// stillLater does so with what is stored now.
func (j *Journal) stillLater(records []event.Record) (map[uint64]event.Later, error) {
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
	return later, err
}

// copiedLater is what was stored after a carried event in segments that are gone.
func (j *Journal) copiedLater(seq uint64) event.Later {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.carried[seq].later
}
