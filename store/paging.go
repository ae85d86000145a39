package store

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"scanrelay/agent/scan"
	"scanrelay/store/codec"
)

// found is a pending event as it was read from disk for the index.
type found struct {
	seq uint64
	entry
}

// readEntries reads what the index holds of events. What comes back as bad cannot
// be read, or is gone, since it was finished meanwhile.
func (o *Outbox) readEntries(seqs []uint64) (list []found, bad []uint64, err error) {
	list = make([]found, 0, len(seqs))
	bad, err = o.readEvents(seqs, func(seq uint64, body []byte) error {
		h, err := codec.PeekEvent(body)
		if err == nil {
			list = append(list, found{seq, o.entryOf(seq, &h)})
		}
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read pending events: %w", err)
	}
	return list, bad, nil
}

// unreadableEntry is the entry of an event that cannot be read: alone in a waybill of
// its own, it becomes a dead letter once it is leased.
func (o *Outbox) unreadableEntry(seq uint64) found {
	e := entry{waybill: ^seq}
	if s := o.journal.find(seq); s != nil {
		e.received = unix32(s.begun)
	}
	return found{seq, e}
}

// entryOf makes an event's entry of its record.
func (o *Outbox) entryOf(seq uint64, h *codec.Head) entry {
	e := entry{waybill: o.index.hashBytes(h.Waybill), action: h.Time, received: unix32(h.Received)}
	if !h.IsClockless() {
		return e
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if clock, ok := o.state.clockOf(string(h.Boot), seq); ok {
		received, action, _ := clock.resolve(h.BootSince, h.Time, h.Marks)
		e.action, e.received = action, unix32(received)
	} else {
		e.flags |= entryClockless
	}
	return e
}

// bring takes events that the index wants into memory.
func (o *Outbox) bring(seqs []uint64) error {
	list, bad, err := o.readEntries(seqs)
	for _, seq := range bad {
		list = append(list, o.unreadableEntry(seq))
	}
	o.locked(func(x *index) {
		if err != nil {
			x.unwanted(seqs)
			return
		}
		x.holdAll(slices.DeleteFunc(list, func(f found) bool {
			return !x.all.has(setPending, f.seq) || x.all.has(setWaiting, f.seq)
		}))
	})
	return err
}

// maxEarlier is how many events of a waybill that come before its head are brought
// in at once: the first one is enough for the order, and there may be very many.
const maxEarlier = 64

// settleDoubts looks for pending events on disk that come before the heads of
// waybills, and brings the first of them in.
func (o *Outbox) settleDoubts(doubts []doubt) error {
	if len(doubts) == 0 {
		return nil
	}
	earlier, err := o.earlier(doubts)
	o.locked(func(x *index) {
		// What was found says nothing of a waybill that has another head by now.
		doubts = slices.DeleteFunc(doubts, func(d doubt) bool { return !x.doubted(d) })
		x.holdAll(slices.DeleteFunc(earlier, func(f found) bool { return !x.all.has(setPending, f.seq) }))
		for _, d := range doubts {
			x.checked(d.waybill, err == nil)
		}
	})
	return err
}

// earlier reads the pending events, on disk only, that come before the heads in
// their waybills.
func (o *Outbox) earlier(doubts []doubt) ([]found, error) {
	heads := make(map[uint64]uint64, len(doubts))
	seqs := make([]uint64, len(doubts))
	for i, d := range doubts {
		heads[d.waybill], seqs[i] = d.head, d.head
	}
	slices.Sort(seqs)
	ids, err := o.waybillsOf(seqs)
	if err != nil {
		return nil, err
	}
	// One by one, since what comes after a head, as of an old one most do, would be
	// read for nothing.
	var earlier []uint64
	for head, id := range ids {
		some, err := o.inSegments([]scan.WaybillID{id}, 0, head-1, absent)
		if err != nil {
			return nil, err
		}
		earlier = append(earlier, some...)
	}
	all := slices.Collect(maps.Values(ids))
	earlier = append(earlier, o.journal.carriedOf(o.hashes(all))...)
	slices.Sort(earlier)
	earlier = slices.Compact(earlier)
	o.locked(func(x *index) { earlier = slices.DeleteFunc(earlier, x.here) })
	list, _, err := o.readEntries(earlier) // what cannot be read is in nobody's way
	count := map[uint64]int{}
	return slices.DeleteFunc(list, func(f found) bool {
		count[f.waybill]++
		return f.seq >= heads[f.waybill] || count[f.waybill] > maxEarlier
	}), err
}

// waybillsOf reads of which waybills events are. What cannot be read is left out.
func (o *Outbox) waybillsOf(seqs []uint64) (ids map[uint64]scan.WaybillID, err error) {
	ids = make(map[uint64]scan.WaybillID, len(seqs))
	_, err = o.readEvents(seqs, func(seq uint64, body []byte) error {
		h, err := codec.PeekEvent(body)
		if err == nil {
			ids[seq] = scan.WaybillID(h.Waybill)
		}
		return err
	})
	return ids, err
}

// sightings lists the numbers of the events of waybills, rising, in all segments
// that have something of a kind between two numbers. Some may be of other
// waybills, and some may be gone.
func (o *Outbox) sightings(ids []scan.WaybillID, from, to uint64, k kind) (seqs []uint64, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	seqs, err = o.inSegments(ids, from, to, k)
	if err != nil {
		return nil, err
	}
	// Last, since what is in a segment may be carried away meanwhile.
	seqs = append(seqs, o.journal.carriedOf(o.hashes(ids))...)
	slices.Sort(seqs)
	seqs = slices.Compact(seqs)
	return slices.DeleteFunc(seqs, func(seq uint64) bool { return seq < from || seq > to }), nil
}

// inSegments does so but for what was carried, in no order.
func (o *Outbox) inSegments(ids []scan.WaybillID, from, to uint64, k kind) (seqs []uint64, err error) {
	for _, s := range o.holding(from, to, k) {
		some, err := o.registered(s, ids)
		if err != nil && !errors.Is(err, errGone) {
			return nil, fmt.Errorf("look for waybills: %w", err)
		}
		for _, seq := range some {
			if seq >= from && seq <= to {
				seqs = append(seqs, seq)
			}
		}
	}
	return seqs, nil
}

// holding lists the segments that have something of a kind between two numbers.
func (o *Outbox) holding(from, to uint64, k kind) []*segment {
	all := o.journal.list()
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.DeleteFunc(all, func(s *segment) bool {
		first, last := max(from, s.first), min(to, s.last)
		if last < first {
			return true
		}
		if k == anyEvent {
			return false
		}
		_, ok := o.index.all.nextIn(k, first, last)
		return !ok
	})
}

func (o *Outbox) hashes(ids []scan.WaybillID) map[uint64]bool {
	set := make(map[uint64]bool, len(ids))
	for _, id := range ids {
		set[o.index.hash(id)] = true
	}
	return set
}
