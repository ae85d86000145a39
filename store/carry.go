package store

import (
	"fmt"

	bolt "go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/codec"
	"scanrelay/store/crypt"
	"scanrelay/store/event"
)

// maxCarry bounds how many unfinished events a segment may hold to be dropped
// all the same: they are carried, with their numbers, into the newest one. Dead
// letters never vanish by age, and must not pin a segment for ever either.
const maxCarry = 512

// cargo is what is carried out of a segment.
type cargo struct {
	events []stagedEvent // to be sealed under the key of the segment that takes them
	notes  []event.Note
	dead   uint64
	bytes  int
}

// cargoOf reads what is unfinished in s. It is the committer's, so no outcome can
// come between. ok is false if it is too much.
func (o *Outbox) cargoOf(s *segment) (c *cargo, ok bool, err error) {
	c = &cargo{}
	seqs := o.openIn(s)
	if len(seqs) > maxCarry {
		return nil, false, nil
	}
	bad, err := o.readEvents(seqs, func(seq uint64, body []byte) error {
		h, err := codec.PeekEvent(body)
		if err != nil {
			return err
		}
		framed := append([]byte{codec.Version}, body...)
		c.events = append(c.events, stagedEvent{seq, framed, scan.WaybillID(h.Waybill)})
		c.bytes += eventWeight(body)
		return nil
	})
	if err != nil || len(bad) > 0 || c.bytes > groupBytes {
		return nil, false, err // what cannot be read stays where it is
	}
	return c, true, o.noteCargo(c, seqs)
}

// openIn lists the events of s that are pending or dead; at most one more than
// can be carried.
func (o *Outbox) openIn(s *segment) (seqs []uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s.open > maxCarry {
		return make([]uint64, maxCarry+1)
	}
	x := o.index
	for seq := range x.dead {
		if o.journal.find(seq) == s {
			seqs = append(seqs, seq)
		}
	}
	for seq, ok := x.all.next(anyPending, 0); ok && seq <= s.last; seq, ok = x.all.next(anyPending, seq+1) {
		if o.journal.find(seq) == s {
			seqs = append(seqs, seq)
		}
	}
	return seqs
}

// noteCargo copies where the events stand, as far as it is on disk: how a dead
// letter died, when one was put back, and what was stored after each for its
// waybill. What came later is in segments not yet dropped, or was copied the
// last time.
func (o *Outbox) noteCargo(c *cargo, seqs []uint64) error {
	if len(seqs) == 0 {
		return nil
	}
	records, _, err := o.records(seqs)
	if err == nil {
		records, err = o.describeFinished(records)
	}
	if err != nil {
		return err
	}
	later, err := o.laterTimes(records)
	if err != nil {
		return err
	}
	for _, r := range records {
		n := r.Carried(later[r.ID.Seq])
		c.notes = append(c.notes, n)
		c.bytes += noteWeight(&n)
		if r.State == event.Dead {
			c.dead++
		}
	}
	return nil
}

// write puts the cargo into the newest segment.
func (c *cargo) write(tx *bolt.Tx, to *segment) error {
	salt := crypt.NewSalt()
	for _, e := range c.events {
		key := codec.Key(e.seq)
		if err := tx.Bucket(bucketCarried).Put(key, to.cipher.Encrypt(crypt.CarriedRecord, key, salt, e.framed)); err != nil {
			return fmt.Errorf("carry event: %w", err)
		}
	}
	for i := range c.notes {
		key := codec.Key(to.notes + uint64(i) + 1)
		if err := tx.Bucket(bucketNotes).Put(key, to.cipher.EncodeNote(key, &c.notes[i])); err != nil {
			return fmt.Errorf("carry note: %w", err)
		}
	}
	return nil
}

// carriedTo takes the move into memory.
func (o *Outbox) carriedTo(c *cargo, to *segment) {
	for _, e := range c.events {
		o.journal.carry(e.seq, carriedEvent{to, o.index.hash(e.waybill)})
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	n := uint64(len(c.events))
	to.notes += uint64(len(c.notes))
	to.open += n
	to.totals.received += n
	to.totals.outcome[event.Dead] += c.dead
	for i := range c.notes {
		if c.notes[i].Kind == event.NoteOutcome && c.notes[i].At.After(to.finished) {
			to.finished = c.notes[i].At
		}
	}
}
