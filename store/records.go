package store

import (
	"errors"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/crypt"
	"scanrelay/store/event"
)

// event returns an event's record, decrypted, wherever in the segment it is. It
// may lie in scratch.
func (s *segment) event(tx *bolt.Tx, seq uint64, scratch []byte) ([]byte, error) {
	key := codec.Key(seq)
	if v := tx.Bucket(bucketEvents).Get(key); v != nil {
		return s.cipher.Decrypt(crypt.EventRecord, key, v, scratch)
	}
	return s.cipher.Decrypt(crypt.CarriedRecord, key, tx.Bucket(bucketCarried).Get(key), scratch)
}

// keepScratch returns the larger of two buffers, to be used again.
func keepScratch(scratch, used []byte) []byte {
	if cap(used) > cap(scratch) {
		return used
	}
	return scratch
}

// errEnough ends a reading early.
var errEnough = errors.New("enough")

// readEvents gives each of the events, in the order of seqs, decrypted, to fn;
// body is good only within it. What is gone, damaged, or refused by fn with
// ErrDamaged comes back as bad; errEnough from fn ends it.
func (o *Outbox) readEvents(seqs []uint64, fn func(seq uint64, body []byte) error) (bad []uint64, err error) {
	for len(seqs) > 0 && err == nil {
		s := o.journal.find(seqs[0])
		n := 1
		for n < len(seqs) && o.journal.find(seqs[n]) == s {
			n++
		}
		read := 0
		if s != nil {
			read, err = o.readRun(s, seqs[:n], fn)
		}
		switch {
		case err == nil && read == n:
		case errors.Is(err, errGone) && o.journal.find(seqs[read]) != s:
			n, err = read, nil // it was carried; look again
		case err == nil, errors.Is(err, errGone), errors.Is(err, ErrDamaged):
			bad = append(bad, seqs[read])
			n, err = read+1, nil
		}
		seqs = seqs[n:]
	}
	if errors.Is(err, errEnough) {
		err = nil
	}
	return bad, err
}

// readRun reads events of one segment and returns how many it has read.
func (o *Outbox) readRun(s *segment, seqs []uint64, fn func(uint64, []byte) error) (read int, err error) {
	err = o.journal.view(s, func(tx *bolt.Tx) error {
		scratch := make([]byte, 0, boltpage.PageSize/4)
		for ; read < len(seqs); read++ {
			body, err := s.event(tx, seqs[read], scratch)
			if err == nil {
				err = fn(seqs[read], body)
			}
			if err != nil {
				return err
			}
			scratch = keepScratch(scratch, body)
		}
		return nil
	})
	return read, err
}

// records reads events with where they stand, in the order given.
func (o *Outbox) records(seqs []uint64) (records []event.Record, bad []uint64, err error) {
	bad, err = o.readEvents(seqs, func(seq uint64, body []byte) error {
		e, err := codec.DecodeEvent(body)
		if err == nil {
			records = append(records, event.Record{ID: event.ID{Seq: seq}, Event: e})
		}
		return err
	})
	if err != nil {
		return nil, bad, fmt.Errorf("read events: %w", err)
	}
	o.describe(records)
	return records, bad, nil
}

// describe completes records by what is in memory. Where a finished one stands
// is left to describeFinished: it is on disk.
func (o *Outbox) describe(records []event.Record) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range records {
		r := &records[i]
		r.ID.Epoch = o.state.epochOf(r.ID.Seq)
		o.state.resolve(&r.Event, r.ID.Seq)
		r.State = o.index.state(r.ID.Seq)
		if a, ok := o.index.notes[r.ID.Seq]; ok {
			r.Attempts, r.Last, r.RetriedAt = a.attempts, a.last, a.retriedAt
		}
	}
}

// Unsynced returns the records after the watermark in sequence order: at most
// max, and of at most maxBytes on disk, but always one. A record whose clock is
// not resolved ends the list before it. Finished records are among them only
// after Rewind; then their State is their outcome.
func (o *Outbox) Unsynced(max, maxBytes int) ([]event.Record, error) {
	o.mu.Lock()
	from, to, rewound := o.index.watermark+1, o.state.nextSeq, o.rewound
	o.mu.Unlock()
	for ; from < to; from += uint64(max) {
		seqs := make([]uint64, min(uint64(max), to-from))
		for i := range seqs {
			seqs[i] = from + uint64(i)
		}
		records, err := o.unsynced(seqs, maxBytes)
		if err == nil && from <= rewound {
			records, err = o.describeFinished(records)
		}
		if err != nil || len(records) > 0 {
			return records, err
		}
		// Nothing of these could be read; the centre will see the gap.
	}
	return nil, nil
}

func (o *Outbox) unsynced(seqs []uint64, maxBytes int) (records []event.Record, err error) {
	bytes := 0
	bad, err := o.readEvents(seqs, func(seq uint64, body []byte) error {
		e, err := codec.DecodeEvent(body)
		if err != nil {
			return err
		}
		if bytes += len(body); bytes > maxBytes && len(records) > 0 {
			return errEnough
		}
		r := []event.Record{{ID: event.ID{Seq: seq}, Event: e}}
		if o.describe(r); r[0].Event.Clockless != nil {
			return errEnough
		}
		records = append(records, r[0])
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read unsynced: %w", err)
	}
	if len(bad) > 0 {
		o.opts.Logger.Error("events cannot be read and are not synced", "seqs", bad)
	}
	return records, nil
}

// OfWaybills returns all records of the waybills, synced or not, finished or
// not, in sequence order; of more than max the latest. Of a finished one it does
// not say how it ended: that takes reading the notes, as Scan does.
func (o *Outbox) OfWaybills(ids []scan.WaybillID, max int) ([]event.Record, error) {
	seqs, err := o.sightings(ids, 0, 1<<64-1, anyEvent)
	if err != nil {
		return nil, err
	}
	const strangers = 100 // far more than could share a tag by chance
	seqs = seqs[len(seqs)-min(len(seqs), max+strangers):]
	records, _, err := o.records(seqs)
	if err != nil {
		return nil, err
	}
	records = slices.DeleteFunc(records, func(r event.Record) bool { return !slices.Contains(ids, r.Event.Waybill) })
	return records[len(records)-min(len(records), max):], nil
}

// peekChunk is how many events one read transaction looks at: a long one would
// keep the newest segment from reusing its pages (deps.md A8).
const peekChunk = 1000

// lastIn returns the number of a segment's last event.
func (o *Outbox) lastIn(s *segment) uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return s.last
}

// peekRun gives the heads of up to peekChunk events at or above `from` to fn.
func (s *segment) peekRun(tx *bolt.Tx, from uint64, fn func(uint64, *codec.Head)) (next uint64, more bool) {
	c := tx.Bucket(bucketEvents).Cursor()
	n := 0
	scratch := make([]byte, 0, boltpage.PageSize/4)
	for k, v := c.Seek(codec.Key(from)); k != nil; k, v = c.Next() {
		if n++; n > peekChunk {
			return codec.Seq(k), true
		}
		body, err := s.cipher.Decrypt(crypt.EventRecord, k, v, scratch)
		if err != nil {
			continue
		}
		if h, err := codec.PeekEvent(body); err == nil {
			fn(codec.Seq(k), &h)
		}
		scratch = keepScratch(scratch, body)
	}
	return 0, false
}
