package store

import (
	"errors"
	"slices"

	"scanrelay/agent/scan"
)

// Waiting lists up to max waybills that wait for data, beginning after the one
// given ("": from the start); the order is arbitrary but lasts as long as the
// process.
func (o *Outbox) Waiting(max int, after scan.WaybillID) []scan.WaybillID {
	heads := o.waitingHeads(max, after)
	ids := make([]scan.WaybillID, 0, len(heads))
	for _, seq := range heads {
		records, _, err := o.records([]uint64{seq})
		if err != nil && !errors.Is(err, ErrClosed) {
			o.opts.Logger.Error("waiting waybill cannot be read", "seq", seq, "error", err)
		}
		if len(records) == 1 {
			ids = append(ids, records[0].Event.Waybill)
		}
	}
	return ids
}

// waitingHeads returns the first pending event of each, in order of hash.
func (o *Outbox) waitingHeads(max int, after scan.WaybillID) (heads []uint64) {
	o.locked(func(x *index) {
		above := uint64(0)
		if after != "" {
			above = x.hash(after)
		}
		hashes := make([]uint64, 0, len(x.parked))
		for h := range x.parked {
			if after == "" || h > above {
				hashes = append(hashes, h)
			}
		}
		slices.Sort(hashes)
		for _, h := range hashes[:min(max, len(hashes))] {
			heads = append(heads, x.waybills[h].head)
		}
	})
	return heads
}

// Wake gives the events of waybills that waited for data to the push relay.
func (o *Outbox) Wake(ids ...scan.WaybillID) {
	o.locked(func(x *index) {
		for _, id := range ids {
			h := x.hash(id)
			if _, ok := x.parked[h]; ok {
				x.edit(h, func(w *waybill) { w.set(waybillParked, false) })
			}
		}
	})
}

// Newer returns the newest action_time among the events of the waybill that
// this depot stored after seq: the pending ones, and for a dead letter that was
// put back also those that were finished by then.
func (o *Outbox) Newer(id scan.WaybillID, seq uint64) (newest int64, ok bool) {
	o.locked(func(x *index) {
		newest, ok = x.newer(x.hash(id), seq)
		if a := x.notes[seq]; a.later.known && (!ok || a.later.action > newest) {
			newest, ok = a.later.action, true
		}
	})
	return newest, ok
}
