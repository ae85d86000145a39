package journal

import (
	"maps"
	"slices"

	"scanrelay/agent/scan"
	"scanrelay/store/codec"
)

const (
	// maxCarry bounds how many unfinished events a segment may hold to be
	// dropped all the same: they are carried, with their numbers, into the newest
	// one. Dead letters never vanish by age, and must not pin a segment for ever
	// either.
	maxCarry = 512
	// carryBytes bounds what they take.
	carryBytes = 1 << 20
)

// carryFrom makes a batch of what is unfinished in s; nil if it is too much. The
// writer calls it, so no outcome can come between.
func (j *Journal) carryFrom(s *segment) (*Batch, error) {
	seqs := j.unfinishedIn(s)
	if len(seqs) > maxCarry {
		return nil, nil
	}
	b := j.NewBatch()
	bad, err := j.readEvents(seqs, func(seq uint64, body []byte) error {
		h, err := codec.PeekEvent(body)
		if err != nil {
			return err
		}
		b.carried = append(b.carried, newEvent{seq, append([]byte{codec.Version}, body...), scan.WaybillID(h.Waybill)})
		b.bytes += EventWeight(body)
		return nil
	})
	if err != nil || len(bad) > 0 || b.bytes > carryBytes {
		return nil, err // what cannot be read stays where it is
	}
	return b, j.carryNotes(b, seqs)
}

// unfinishedIn lists the events of s that are pending or dead.
func (j *Journal) unfinishedIn(s *segment) (seqs []uint64) {
	for _, seq := range j.live.Unfinished(j.lastIn(s)) {
		if j.find(seq) == s {
			seqs = append(seqs, seq)
		}
	}
	return seqs
}

// carryNotes copies where the events stand, as far as it is on disk: how a dead
// letter died, when one was put back, and what was stored after each for its
// waybill. What came later is in segments not yet dropped, or was copied the
// last time.
func (j *Journal) carryNotes(b *Batch, seqs []uint64) error {
	records, _, err := j.Records(seqs)
	if err == nil {
		records, err = j.DescribeFinished(records)
	}
	if err != nil {
		return err
	}
	later, err := j.Later(records)
	for i := range records {
		b.AddNote(records[i].Carried(later[records[i].ID.Seq]))
	}
	return err
}

// forgetLocked takes a segment out of the row, with what was carried into it.
func (j *Journal) forgetLocked(s *segment) {
	j.segments = slices.DeleteFunc(j.segments, func(x *segment) bool { return x == s })
	maps.DeleteFunc(j.carried, func(_ uint64, c carriedEvent) bool { return c.segment == s })
}
