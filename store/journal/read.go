package journal

import (
	"errors"
	"fmt"
	"slices"

	"scanrelay/agent/scan"
	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/durable"
	"scanrelay/store/event"
	"scanrelay/store/format"
	"scanrelay/store/handle"
)

const maxSeq = 1<<64 - 1

// errEnough ends a reading early.
var errEnough = errors.New("enough")

// readEvents gives each of the events, in the order of seqs, decrypted, to fn;
// body is good only within it. What is gone, damaged, or refused by fn with
// ErrDamaged comes back as bad; errEnough from fn ends it.
func (j *Journal) readEvents(seqs []uint64, fn func(seq uint64, body []byte) error) (bad []uint64, err error) {
	for len(seqs) > 0 && err == nil {
		s := j.find(seqs[0])
		n := 1
		for n < len(seqs) && j.find(seqs[n]) == s {
			n++
		}
		read := 0
		if s != nil {
			read, err = j.readRun(s, seqs[:n], fn)
		}
		switch {
		case err == nil && read == n:
		case errors.Is(err, handle.ErrGone) && j.find(seqs[read]) != s:
			n, err = read, nil // it was carried; look again
		case err == nil, errors.Is(err, handle.ErrGone), errors.Is(err, durable.ErrDamaged):
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
func (j *Journal) readRun(s *segment, seqs []uint64, fn func(uint64, []byte) error) (read int, err error) {
	err = j.handles.View(&s.File, func(tx boltpage.Reader) error {
		scratch := make([]byte, 0, boltpage.PageSize/4)
		for ; read < len(seqs); read++ {
			body, err := s.event(tx, seqs[read], scratch)
			if err == nil {
				err = fn(seqs[read], body)
			}
			if err != nil {
				return err
			}
			if cap(body) > cap(scratch) {
				scratch = body
			}
		}
		return nil
	})
	return read, err
}

// Heads gives the head of each of the events, in the order of seqs, to fn, its
// times by the clocks that are known now; h is good only within fn. bad is what
// cannot be read, or is gone.
func (j *Journal) Heads(seqs []uint64, fn func(seq uint64, h *codec.Head) error) (bad []uint64, err error) {
	return j.readEvents(seqs, func(seq uint64, body []byte) error {
		h, err := codec.PeekEvent(body)
		if err != nil {
			return err
		}
		if h.IsClockless() {
			j.mu.RLock()
			j.state.ResolveHead(&h, seq)
			j.mu.RUnlock()
		}
		return fn(seq, &h)
	})
}

// Records reads events with where they stand, in the order given. Where a
// finished one stands DescribeFinished says. bad is what cannot be read, or is
// gone.
func (j *Journal) Records(seqs []uint64) (records []event.Record, bad []uint64, err error) {
	bad, err = j.readEvents(seqs, func(seq uint64, body []byte) error {
		e, err := codec.DecodeEvent(body)
		if err == nil {
			records = append(records, event.Record{ID: event.ID{Seq: seq}, Event: e})
		}
		return err
	})
	if err != nil {
		return nil, bad, fmt.Errorf("read events: %w", err)
	}
	j.describe(records)
	return records, bad, nil
}

// describe completes records by what is in memory.
func (j *Journal) describe(records []event.Record) {
	j.mu.RLock()
	for i := range records {
		r := &records[i]
		r.ID.Epoch = j.state.EpochOf(r.ID.Seq)
		j.state.Resolve(&r.Event, r.ID.Seq)
	}
	j.mu.RUnlock()
	j.live.Describe(records)
}

// Unsynced returns the records after the watermark and below the number `to` in
// sequence order: at most max, and of at most maxBytes on disk, but always one. A
// record whose clock is not resolved ends the list before it, wherever it stands.
// Ended ones are among them only after the watermark fell. bad is what cannot be
// read before the last of them.
func (j *Journal) Unsynced(to uint64, max, maxBytes int) (records []event.Record, bad []uint64, err error) {
	from := j.live.Watermark() + 1
	for ended := false; !ended && len(records) == 0; {
		seqs := j.held(from, to, max)
		if len(seqs) == 0 {
			break
		}
		var some []uint64
		records, some, ended, err = j.unsynced(seqs, maxBytes)
		bad = append(bad, some...)
		if err != nil {
			return nil, bad, err
		}
		from = seqs[len(seqs)-1] + 1
	}
	return records, bad, nil
}

// held lists up to max numbers from one on, and below another, of which there may
// be events: what is below the oldest segment's is gone, but for what was carried.
func (j *Journal) held(from, to uint64, max int) (seqs []uint64) {
	if first := j.oldest().first; from < first {
		seqs = j.carriedWhere(func(seq uint64, _ carriedEvent) bool { return seq >= from && seq < min(first, to) })
		seqs, from = seqs[:min(len(seqs), max)], first
	}
	if n := max - len(seqs); n > 0 && from < to {
		seqs = append(seqs, event.Run(from, min(uint64(n), to-from))...)
	}
	return seqs
}

// unsynced reads some of them; ended: what follows may not go before one of these.
func (j *Journal) unsynced(seqs []uint64, maxBytes int) (records []event.Record, bad []uint64, ended bool, err error) {
	bytes := 0
	bad, err = j.readEvents(seqs, func(seq uint64, body []byte) error {
		e, err := codec.DecodeEvent(body)
		if err != nil {
			return err
		}
		r := []event.Record{{ID: event.ID{Seq: seq}, Event: e}}
		j.describe(r)
		bytes += len(body)
		if ended = r[0].Event.Clockless != nil || bytes > maxBytes && len(records) > 0; ended {
			return errEnough
		}
		records = append(records, r[0])
		return nil
	})
	if err != nil {
		return nil, bad, false, fmt.Errorf("read unsynced: %w", err)
	}
	return records, bad, ended, nil
}

// OfWaybills returns all records of the waybills, synced or not, finished or
// not, in sequence order; of more than max the latest. Of a finished one it does
// not say how it ended.
func (j *Journal) OfWaybills(ids []scan.WaybillID, max int) ([]event.Record, error) {
	seqs, err := j.Find(ids, 0, maxSeq, func(uint64, uint64) bool { return true })
	if err != nil {
		return nil, err
	}
	const strangers = 100 // far more than could share a tag by chance
	seqs = seqs[len(seqs)-min(len(seqs), max+strangers):]
	records, _, err := j.Records(seqs)
	if err != nil {
		return nil, err
	}
	records = slices.DeleteFunc(records, func(r event.Record) bool { return !slices.Contains(ids, r.Event.Waybill) })
	return records[len(records)-min(len(records), max):], nil
}

// Identities gives the heads of the readable events from a number on to fn, the
// carried ones last.
func (j *Journal) Identities(from uint64, fn func(seq uint64, h *codec.Head)) error {
	remember := func(seq uint64, h *codec.Head) error {
		fn(seq, h)
		return nil
	}
	for _, s := range j.list() {
		if j.lastIn(s) < from {
			continue
		}
		if err := j.peekEvents(s, max(from, s.first), remember); err != nil {
			return fmt.Errorf("read identities: %w", err)
		}
	}
	carried := j.carriedWhere(func(seq uint64, _ carriedEvent) bool { return seq >= from })
	_, err := j.readEvents(carried, peeking(remember))
	if err != nil {
		return fmt.Errorf("read identities of carried events: %w", err)
	}
	return nil
}

// peeking gives the head of an event to fn.
func peeking(fn func(uint64, *codec.Head) error) func(uint64, []byte) error {
	return func(seq uint64, body []byte) error {
		h, err := codec.PeekEvent(body)
		if err == nil {
			err = fn(seq, &h)
		}
		return err
	}
}

// peekEvents gives the head of every readable event of a segment at or above
// `from` to fn, but for carried ones.
func (j *Journal) peekEvents(s *segment, from uint64, fn func(seq uint64, h *codec.Head) error) error {
	next, more := from, true
	var enough error // what fn ended it with
	seen := func(seq uint64, h *codec.Head) {
		if enough == nil {
			enough = fn(seq, h)
			next = seq + 1
		}
	}
	for more {
		err := j.handles.View(&s.File, func(tx boltpage.Reader) error {
			next, more = format.Heads(tx, s.cipher, next, seen)
			return nil
		})
		switch {
		case enough != nil:
			return enough
		case errors.Is(err, durable.ErrDamaged):
			return j.peekSingly(s, next, fn)
		case err != nil:
			return err
		}
	}
	return nil
}

// peekSingly does so with a search for each number: what comes after a page that
// cannot be read is not hidden by it.
func (j *Journal) peekSingly(s *segment, from uint64, fn func(seq uint64, h *codec.Head) error) error {
	for last := j.lastIn(s); from <= last; from += scanChunk {
		if _, err := j.readEvents(event.Run(from, min(scanChunk, last+1-from)), peeking(fn)); err != nil {
			return err
		}
	}
	return nil
}
