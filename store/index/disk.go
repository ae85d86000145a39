package index

import (
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
	"scanrelay/store/codec"
)

// Disk is how the index reads what it does not hold.
type Disk interface {
	Events
	Waybills
}

// Events reads events by number.
type Events interface {
	// Heads gives the head of each event to fn, in the order of seqs, with its
	// times by the clocks that are known now; h is good only within fn. bad is
	// what cannot be read, or is gone.
	Heads(seqs []uint64, fn func(seq uint64, h *codec.Head) error) (bad []uint64, err error)
	// Begun returns a moment before an event was stored.
	Begun(seq uint64) time.Time
}

// Waybills finds events by waybill.
type Waybills interface {
	// Find lists the numbers of the waybills' events from one number to
	// another, rising. It looks only where holds says that there is something
	// between two numbers, and at what was carried. Some may be of other
	// waybills, and some may be gone.
	Find(ids []scan.WaybillID, from, to uint64, holds func(first, last uint64) bool) ([]uint64, error)
}

// found is a pending event as it was read from disk.
type found struct {
	seq uint64
	entry
}

// read reads entries. What comes back as bad cannot be read, or is gone, since
// it was finished meanwhile.
func (x *Index) read(seqs []uint64) (list []found, bad []uint64, err error) {
	list = make([]found, 0, len(seqs))
	bad, err = x.disk.Heads(seqs, func(seq uint64, h *codec.Head) error {
		list = append(list, found{seq, x.memory.entryOfHead(h)})
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read pending events: %w", err)
	}
	return list, bad, nil
}

// readAll gives events that cannot be read an entry, too.
func (x *Index) readAll(seqs []uint64) (list []found, bad []uint64, err error) {
	list, bad, err = x.read(seqs)
	for _, seq := range bad {
		list = append(list, x.unreadable(seq))
	}
	return list, bad, err
}

// unreadable is the entry of an event that cannot be read: alone in a waybill of
// its own, it becomes a dead letter once it is leased.
func (x *Index) unreadable(seq uint64) found {
	return found{seq, entry{waybill: ^seq, received: unix32(x.disk.Begun(seq))}}
}

// entryOf makes an event's entry, entryOfHead that of one on disk. They look at
// nothing that is guarded.
func (m *memory) entryOf(a *Added) entry {
	e := a.Event
	return entry{
		waybill: m.hash(e.Waybill), action: e.ActionTime, received: unix32(e.ReceivedAt),
		client: e.Client, size: sizeOf(a.Size), clockless: e.Clockless != nil,
	}
}

func (m *memory) entryOfHead(h *codec.Head) entry {
	return entry{
		waybill: maphash.Bytes(m.seed, h.Waybill), action: h.Time, received: unix32(h.Received),
		client: h.Client, size: sizeOf(h.Size), clockless: h.IsClockless(),
	}
}

// unix32 is t in unix seconds; what lies outside of 1970 to 2106 is cut.
func unix32(t time.Time) uint32 { return uint32(min(max(t.Unix(), 0), 1<<32-1)) }

// bring takes events that are wanted into memory.
func (x *Index) bring(seqs []uint64) error {
	list, _, err := x.readAll(seqs)
	x.locked(func(m *memory) {
		if err != nil {
			m.unwanted(seqs)
			return
		}
		m.holdAll(slices.DeleteFunc(list, func(f found) bool {
			return !m.all.has(setPending, f.seq) || m.all.has(setWaiting, f.seq)
		}))
	})
	return err
}

// maxEarlier is how many events of a waybill that come before its head are brought
// in at once: the first one is enough for the order, and there may be very many.
const maxEarlier = 64

// verify looks for pending events on disk that come before the heads of
// waybills, and brings the first of them in.
func (x *Index) verify(heads []unverified) error {
	earlier, err := x.earlier(heads)
	x.locked(func(m *memory) {
		// What was found says nothing of a waybill that has another head by now.
		heads = slices.DeleteFunc(heads, func(u unverified) bool { return !m.isUnverified(u) })
		m.holdAll(slices.DeleteFunc(earlier, func(f found) bool { return !m.all.has(setPending, f.seq) }))
		for _, u := range heads {
			m.verified(u.waybill, err == nil)
		}
	})
	return err
}

// earlier reads the pending events, on disk only, that come before the heads in
// their waybills. What cannot be read is in nobody's way.
func (x *Index) earlier(heads []unverified) ([]found, error) {
	headOf := make(map[uint64]uint64, len(heads))
	seqs := make([]uint64, len(heads))
	for i, u := range heads {
		headOf[u.waybill], seqs[i] = u.head, u.head
	}
	slices.Sort(seqs)
	ids := make(map[uint64]scan.WaybillID, len(seqs))
	_, err := x.disk.Heads(seqs, func(seq uint64, h *codec.Head) error {
		ids[seq] = scan.WaybillID(h.Waybill)
		return nil
	})
	if err != nil {
		return nil, err
	}
	// One by one, since what comes after a head, as of an old one most do, would be
	// read for nothing.
	var earlier []uint64
	for head, id := range ids {
		some, err := x.find([]scan.WaybillID{id}, 0, head-1, absent)
		if err != nil {
			return nil, err
		}
		earlier = append(earlier, some...)
	}
	slices.Sort(earlier)
	earlier = slices.Compact(earlier)
	x.locked(func(m *memory) { earlier = slices.DeleteFunc(earlier, m.here) })
	list, _, err := x.read(earlier)
	count := map[uint64]int{}
	return slices.DeleteFunc(list, func(f found) bool {
		count[f.waybill]++
		return f.seq >= headOf[f.waybill] || count[f.waybill] > maxEarlier
	}), err
}

// find lists the numbers of the events of waybills, rising, where there is
// something of a subset between two numbers. Some may be of other waybills, and
// some may be gone.
func (x *Index) find(ids []scan.WaybillID, from, to uint64, k subset) ([]uint64, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return x.disk.Find(ids, from, to, func(first, last uint64) (ok bool) {
		x.locked(func(m *memory) { _, ok = m.all.nextIn(k, first, last) })
		return ok
	})
}

// Fill brings the latest of what is to be pushed into memory at a start, and all
// of it where it is not much. bad is what of it cannot be read.
func (x *Index) Fill() (bad []uint64, err error) {
	var seqs []uint64
	x.locked(func(m *memory) {
		for seq, ok := m.all.prev(shelved, maxSeq); ok && len(seqs) < m.size; seq, ok = m.all.prev(shelved, seq-1) {
			seqs = append(seqs, seq)
		}
	})
	slices.Reverse(seqs)
	list, bad, err := x.readAll(seqs)
	if err != nil {
		return nil, err
	}
	x.locked(func(m *memory) {
		if len(seqs) > 0 {
			m.high = seqs[0]
		}
		m.holdAll(list)
	})
	wait.Signal(x.pushable)
	return bad, nil
}

// Oldest returns when the first pending event was received; zero if there is
// none. One that is on disk only is read: once, as soon as its clock is known.
func (x *Index) Oldest() time.Time {
	var first found
	var ok, known bool
	x.locked(func(m *memory) {
		if first.seq, ok = m.all.next(anyPending, 0); !ok {
			return
		}
		if e := m.get(first.seq); e != nil {
			first.entry, known = *e, true
		} else if m.oldest.seq == first.seq {
			first, known = m.oldest, true
		}
	})
	if !ok {
		return time.Time{}
	}
	if !known {
		first = x.readOldest(first.seq)
	}
	return time.Unix(int64(first.received), 0).UTC()
}

func (x *Index) readOldest(seq uint64) found {
	list, _, err := x.readAll([]uint64{seq})
	if err != nil {
		return x.unreadable(seq)
	}
	if !list[0].clockless { // else it is provisional
		x.locked(func(m *memory) { m.oldest = list[0] })
	}
	return list[0]
}

// ResolveClocks reads the times again of events whose clock was not known.
func (x *Index) ResolveClocks() error {
	var seqs []uint64
	x.locked(func(m *memory) {
		for _, seq := range m.all.list(anyHeld, 0, maxSeq, -1) {
			if m.get(seq).clockless {
				seqs = append(seqs, seq)
			}
		}
	})
	_, err := x.disk.Heads(seqs, func(seq uint64, h *codec.Head) error {
		now := x.memory.entryOfHead(h)
		x.locked(func(m *memory) {
			if e := m.get(seq); e != nil && !now.clockless {
				e.received, e.action = now.received, now.action
				e.clockless = false
			}
		})
		return nil
	})
	return err
}
