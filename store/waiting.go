package store

import (
	"fmt"
	"slices"

	"scanrelay/agent/scan"
	"scanrelay/store/event"
)

// Waiting returns up to max events that wait for waybill data, in sequence order
// after the number given, with where they stand; none: there are no more.
func (o *Outbox) Waiting(max int, after uint64) ([]event.Record, error) {
	for {
		var seqs []uint64
		o.locked(func(x *index) {
			for seq, ok := x.all.next(anyWaiting, after+1); ok && len(seqs) < max; seq, ok = x.all.next(anyWaiting, seq+1) {
				seqs = append(seqs, seq)
			}
		})
		records, bad, err := o.records(seqs)
		if err != nil {
			return nil, fmt.Errorf("list waiting events: %w", err)
		}
		o.WakeEvents(bad...) // a lease finds that they cannot be read, and ends them
		if len(records) > 0 || len(seqs) == 0 {
			return records, nil
		}
		after = seqs[len(seqs)-1]
	}
}

// Wake gives the events of waybills that waited for data to the push relay.
func (o *Outbox) Wake(ids ...scan.WaybillID) error {
	seqs, err := o.sightings(ids, 0, 1<<64-1, anyWaiting)
	if err != nil {
		return fmt.Errorf("wake waybills: %w", err)
	}
	o.WakeEvents(seqs...)
	return nil
}

// WakeEvents gives those of the events that wait for data to the push relay,
// whatever else of their waybill waits.
func (o *Outbox) WakeEvents(seqs ...uint64) {
	o.locked(func(x *index) {
		for _, seq := range seqs {
			x.wake(seq)
		}
	})
}

// Park lets the waybills of leased events wait for data, with all of their
// events that are synced. Events whose lease ran out are named in an error that
// is ErrNotLeased.
func (o *Outbox) Park(records ...event.Record) error {
	var missing []uint64
	var parked []scan.WaybillID
	shelved := false
	o.locked(func(x *index) {
		for i := range records {
			seq := records[i].ID.Seq
			if !x.leased(seq, records[i].Lease) {
				missing = append(missing, seq)
				continue
			}
			x.park(seq)
			parked = append(parked, records[i].Event.Waybill)
		}
		shelved = x.shelved() > 0
	})
	if shelved {
		if err := o.parkShelved(parked); err != nil {
			return fmt.Errorf("park: %w", err)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("park %v: %w", missing, event.ErrNotLeased)
	}
	return nil
}

// parkShelved lets those events of waybills wait that are on disk only.
func (o *Outbox) parkShelved(ids []scan.WaybillID) error {
	seqs, err := o.sightings(ids, 0, 1<<64-1, shelved)
	if err != nil {
		return err
	}
	mine := o.hashes(ids)
	list, _, err := o.readEntries(seqs)
	o.locked(func(x *index) {
		for _, f := range list {
			if mine[f.waybill] && f.seq <= x.watermark && !x.all.has(setHeld, f.seq) {
				x.wait(f.seq)
			}
		}
	})
	return err
}

// Newer returns the newest action_time among the events of the waybill that
// this depot stored after seq: the pending ones, and for a dead letter that was
// put back also those that were finished by then.
func (o *Outbox) Newer(id scan.WaybillID, seq uint64) (newest int64, ok bool, err error) {
	var t event.Later
	var seqs []uint64
	elsewhere := false
	h := o.index.hash(id)
	look := func(x *index) {
		t = x.newer(h, seq)
		if a := x.notes[seq]; a.later.Known {
			t.Add(a.later.Action)
		}
		seqs = slices.DeleteFunc(seqs, x.here)
		elsewhere = x.absent() > 0
	}
	if o.locked(look); !elsewhere {
		return t.Action, t.Known, nil
	}
	seqs, err = o.sightings([]scan.WaybillID{id}, seq+1, 1<<64-1, anyPending)
	if err != nil {
		return 0, false, fmt.Errorf("look for newer events: %w", err)
	}
	o.locked(look) // at one moment each is either held or to be read
	list, _, err := o.readEntries(seqs)
	if err != nil {
		return 0, false, fmt.Errorf("look for newer events: %w", err)
	}
	for _, f := range list {
		if f.waybill == h {
			t.Add(f.action)
		}
	}
	return t.Action, t.Known, nil
}
