package store

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"scanrelay/agent/scan"
	"scanrelay/store/event"
)

// Filter chooses records; its zero value is all of them.
type Filter struct {
	State   *event.State
	Waybill scan.WaybillID
}

// scanChunk is how many records are in memory at once while scanning.
const scanChunk = 500

// Scan gives every record that matches to fn, in sequence order but for those
// of long ago that were carried along. It is for people: it may read the whole
// store, and what changes meanwhile may be seen before or after. It ends with
// fn's or ctx's error.
func (o *Outbox) Scan(ctx context.Context, f Filter, fn func(event.Record) error) error {
	emit := func(records []event.Record) error {
		for _, r := range records {
			if f.matches(&r) {
				if err := fn(r); err != nil {
					return err
				}
			}
		}
		return ctx.Err()
	}
	switch {
	case f.Waybill != "":
		records, err := o.OfWaybills([]scan.WaybillID{f.Waybill}, 1<<30)
		if err == nil {
			records, err = o.describeFinished(records)
		}
		if err != nil {
			return err
		}
		return emit(records)
	case f.State != nil && *f.State == event.Dead:
		return o.scanSeqs(o.deadSeqs(), emit)
	case f.State != nil && !f.State.Finished():
		return o.scanPending(emit)
	}
	return o.scanAll(emit)
}

func (f *Filter) matches(r *event.Record) bool {
	return (f.State == nil || r.State == *f.State) && (f.Waybill == "" || r.Event.Waybill == f.Waybill)
}

func (o *Outbox) deadSeqs() []uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Sorted(maps.Keys(o.index.dead))
}

func (o *Outbox) scanSeqs(seqs []uint64, emit func([]event.Record) error) error {
	for part := range slices.Chunk(seqs, scanChunk) {
		records, bad, err := o.records(part)
		if err == nil {
			records = append(records, o.unreadable(bad)...)
			records, err = o.describeFinished(records)
		}
		if err == nil {
			err = emit(records)
		}
		if err != nil {
			return fmt.Errorf("scan: %w", err)
		}
	}
	return nil
}

// unreadable makes records without an event of dead letters that cannot be
// read, so that they can be seen and discarded.
func (o *Outbox) unreadable(seqs []uint64) (records []event.Record) {
	o.locked(func(x *index) {
		for _, seq := range seqs {
			if _, dead := x.dead[seq]; dead {
				records = append(records, event.Record{ID: event.ID{Seq: seq}})
			}
		}
	})
	o.describe(records)
	return records
}

func (o *Outbox) scanPending(emit func([]event.Record) error) error {
	for next := uint64(0); ; {
		var seqs []uint64
		o.locked(func(x *index) {
			for seq, ok := x.all.next(anyPending, next); ok && len(seqs) < scanChunk; seq, ok = x.all.next(anyPending, seq+1) {
				seqs = append(seqs, seq)
			}
		})
		if len(seqs) == 0 {
			return nil
		}
		if err := o.scanSeqs(seqs, emit); err != nil {
			return err
		}
		next = seqs[len(seqs)-1] + 1
	}
}

// scanAll goes through the segments. For each it first learns where the last
// note about each of its events stands: eight bytes an event.
func (o *Outbox) scanAll(emit func([]event.Record) error) error {
	given := map[uint64]bool{} // what may be carried to a later segment meanwhile
	// One by one: what is carried meanwhile may go to a segment begun meanwhile.
	for s := o.journal.after(0); s != nil; s = o.journal.after(s.number) {
		seqs := slices.DeleteFunc(o.eventsIn(s), func(seq uint64) bool { return given[seq] })
		err := o.scanSegment(s, seqs, func(records []event.Record) error {
			o.noteGiven(s, records, given)
			return emit(records)
		})
		if err != nil {
			return fmt.Errorf("scan: %w", err)
		}
	}
	return nil
}

func (o *Outbox) scanSegment(s *segment, seqs []uint64, emit func([]event.Record) error) error {
	notes, err := o.lastNotes(s, seqs)
	if err != nil {
		return err
	}
	for part := range slices.Chunk(seqs, scanChunk) {
		records, _, err := o.records(part)
		if err == nil {
			records, err = o.applyNotes(records, seqs, notes)
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

// noteGiven remembers unfinished records of a segment that is near its end.
func (o *Outbox) noteGiven(s *segment, records []event.Record, given map[uint64]bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s.open > 4*maxCarry {
		return
	}
	for i := range records {
		if r := &records[i]; !r.State.Finished() || r.State == event.Dead {
			given[r.ID.Seq] = true
		}
	}
}

// eventsIn lists the numbers of the events in a segment, rising. Whether they can
// be read is seen when they are.
func (o *Outbox) eventsIn(s *segment) []uint64 {
	last := o.lastIn(s)
	seqs := o.journal.carriedIn(s)
	for seq := s.first; seq <= last; seq++ {
		if o.journal.find(seq) == s {
			seqs = append(seqs, seq)
		}
	}
	return seqs
}
