package journal

import (
	"fmt"
	"maps"
	"slices"

	bolt "go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/codec"
	"scanrelay/store/crypt"
	"scanrelay/store/event"
	"scanrelay/store/format"
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

// carriage is what is carried out of a segment.
type carriage struct {
	events []newEvent // to be encrypted under the key of the segment that takes them
	notes  []event.Note
	dead   uint64
	bytes  int
}

// carryFrom reads what is unfinished in s; nil if it is too much. The writer
// calls it, so no outcome can come between.
func (j *Journal) carryFrom(s *segment) (*carriage, error) {
	c := &carriage{}
	seqs := j.unfinishedIn(s)
	if len(seqs) > maxCarry {
		return nil, nil
	}
	bad, err := j.readEvents(seqs, func(seq uint64, body []byte) error {
		h, err := codec.PeekEvent(body)
		if err != nil {
			return err
		}
		c.events = append(c.events, newEvent{seq, append([]byte{codec.Version}, body...), scan.WaybillID(h.Waybill)})
		c.bytes += EventWeight(body)
		return nil
	})
	if err != nil || len(bad) > 0 || c.bytes > carryBytes {
		return nil, err // what cannot be read stays where it is
	}
	return c, j.carryNotes(c, seqs)
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
func (j *Journal) carryNotes(c *carriage, seqs []uint64) error {
	if len(seqs) == 0 {
		return nil
	}
	records, _, err := j.Records(seqs)
	if err == nil {
		records, err = j.DescribeFinished(records)
	}
	if err != nil {
		return err
	}
	later, err := j.Later(records)
	if err != nil {
		return err
	}
	for i := range records {
		n := records[i].Carried(later[records[i].ID.Seq])
		c.notes = append(c.notes, n)
		c.bytes += NoteWeight(&n)
		if records[i].State == event.Dead {
			c.dead++
		}
	}
	return nil
}

// write puts what is carried into the newest segment.
func (c *carriage) write(tx *bolt.Tx, to *segment) error {
	salt := crypt.NewSalt()
	for _, e := range c.events {
		key := codec.Key(e.seq)
		if err := tx.Bucket(format.BucketCarried).Put(key, to.cipher.Encrypt(crypt.CarriedRecord, key, salt, e.framed)); err != nil {
			return fmt.Errorf("carry event: %w", err)
		}
	}
	for i := range c.notes {
		if err := to.putNote(tx, i, &c.notes[i]); err != nil {
			return fmt.Errorf("carry note: %w", err)
		}
	}
	return nil
}

// carriedLocked takes the move into memory.
func (j *Journal) carriedLocked(c *carriage, to *segment) {
	for _, e := range c.events {
		j.carried[e.seq] = carriedEvent{to, j.hash([]byte(e.waybill))}
	}
	n := uint64(len(c.events))
	to.notes += uint64(len(c.notes))
	to.open += n
	to.totals.Received += n
	to.totals.Outcome[event.Dead] += c.dead
	for i := range c.notes {
		if c.notes[i].Kind == event.NoteOutcome && c.notes[i].At.After(to.finished) {
			to.finished = c.notes[i].At
		}
	}
}

// forgetLocked takes a segment out of the row, with what was carried into it.
func (j *Journal) forgetLocked(s *segment) {
	j.segments = slices.DeleteFunc(j.segments, func(x *segment) bool { return x == s })
	maps.DeleteFunc(j.carried, func(_ uint64, c carriedEvent) bool { return c.segment == s })
}
