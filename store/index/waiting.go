package index

import (
	"fmt"
	"slices"

	"scanrelay/agent/scan"
	"scanrelay/store/codec"
	"scanrelay/store/event"
)

// maxSeq is above every number.
const maxSeq = 1<<64 - 1

// Waiting lists up to max events that wait for waybill data, rising, after the
// number given.
func (x *Index) Waiting(max int, after uint64) (seqs []uint64) {
	x.locked(func(m *memory) { seqs = m.all.list(anyWaiting, after+1, maxSeq, max) })
	return seqs
}

// Wake ends the waiting of the events of waybills.
func (x *Index) Wake(ids ...scan.WaybillID) error {
	seqs, err := x.find(ids, 0, maxSeq, anyWaiting)
	if err != nil {
		return fmt.Errorf("wake waybills: %w", err)
	}
	x.WakeEvents(seqs...)
	return nil
}

// WakeEvents ends the waiting of events, whatever else of their waybill waits.
func (x *Index) WakeEvents(seqs ...uint64) {
	x.locked(func(m *memory) {
		for _, seq := range seqs {
			m.wake(seq)
		}
	})
}

// Park lets the waybills of leased events wait for data, with all of their
// events that are synced. It returns the numbers of those whose lease ran out.
func (x *Index) Park(records []event.Record) (missing []uint64, err error) {
	var parked []scan.WaybillID
	elsewhere := false
	x.timed(func(m *memory) {
		for i := range records {
			seq := records[i].ID.Seq
			if !m.leased(seq, records[i].Lease) {
				missing = append(missing, seq)
				continue
			}
			m.park(seq)
			parked = append(parked, records[i].Event.Waybill)
		}
		elsewhere = m.shelved() > 0
	})
	if elsewhere {
		err = x.parkShelved(parked)
	}
	return missing, err
}

// parkShelved lets those events of waybills wait that are on disk only.
func (x *Index) parkShelved(ids []scan.WaybillID) error {
	seqs, err := x.find(ids, 0, maxSeq, shelved)
	if err != nil {
		return err
	}
	mine := map[uint64]bool{}
	for _, id := range ids {
		mine[x.memory.hash(id)] = true
	}
	list, _, err := x.read(seqs)
	x.locked(func(m *memory) {
		for _, f := range list {
			if mine[f.waybill] && f.seq <= m.watermark && !m.all.has(setHeld, f.seq) {
				m.wait(f.seq)
			}
		}
	})
	return err
}

// Newer returns the newest action_time among the waybill's events after seq: the
// pending ones, and for a dead letter that was put back also those that were
// finished by then.
func (x *Index) Newer(id scan.WaybillID, seq uint64) (t event.Later, err error) {
	h := x.memory.hash(id)
	var seqs []uint64
	elsewhere := false
	look := func(m *memory) {
		t = m.newer(h, seq)
		if a := m.attempts[seq]; a.later.Known {
			t.Add(a.later.Action)
		}
		seqs = slices.DeleteFunc(seqs, m.here)
		elsewhere = m.absent() > 0
	}
	if x.locked(look); !elsewhere {
		return t, nil
	}
	seqs, err = x.find([]scan.WaybillID{id}, seq+1, maxSeq, anyPending)
	if err != nil {
		return t, fmt.Errorf("look for newer events: %w", err)
	}
	x.locked(look) // at one moment each is either held or to be read
	list, _, err := x.read(seqs)
	if err != nil {
		return t, fmt.Errorf("look for newer events: %w", err)
	}
	for _, f := range list {
		if f.waybill == h {
			t.Add(f.action)
		}
	}
	return t, nil
}

var keyWaiting = []byte("waiting")

// WaitingMark says which events wait for waybill data, as runs of numbers, for
// WaitAgain; nil: none do.
func (x *Index) WaitingMark() (mark []byte) {
	x.locked(func(m *memory) { mark = encodeWaiting(&m.all) })
	return mark
}

func encodeWaiting(l *census) []byte {
	if l.count[setWaiting] == 0 {
		return nil
	}
	e := codec.NewEncoder(64)
	end := uint64(0) // of the run before
	for seq, ok := l.next(anyWaiting, 0); ok; seq, ok = l.next(anyWaiting, end) {
		e.Uint(seq - end)
		for end = seq + 1; l.has(setWaiting, end); {
			end++
		}
		e.Uint(end - seq)
	}
	return e.Frame(keyWaiting)
}

// WaitAgain lets events wait as a mark says, as far as they are still pending
// and synced. A damaged mark says nothing.
func (x *Index) WaitAgain(mark []byte) { x.locked(func(m *memory) { m.waitAgain(mark) }) }

func (m *memory) waitAgain(mark []byte) {
	d, err := codec.Decode(keyWaiting, mark)
	if err != nil {
		return
	}
	for seq := uint64(0); d.More(); {
		seq += d.Uint()
		n := d.Uint()
		for end := min(seq+n, m.watermark+1); seq < end; seq++ {
			if m.all.has(setPending, seq) {
				m.all.add(setWaiting, seq)
			}
		}
		if seq > m.watermark {
			return
		}
	}
}
