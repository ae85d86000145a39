package snapshot

import (
	"slices"

	"scanrelay/agent/scan"
)

// maxGaps is how many gaps are kept for an epoch; the oldest go first. Each was
// logged when it was found.
const maxGaps = 100

// span is a run of numbers, both ends in it.
type span struct{ from, to uint64 }

// epochState is what is known of one epoch of a depot.
type epochState struct {
	epoch  uint64
	have   uint64
	events uint64 // taken or late
	at     int64  // unix seconds of the last one
	last   uint64 // log number of the last one: tells which epoch is the newest
	gaps   []span
}

// depotState holds a depot's epochs. A published one is never changed.
type depotState struct {
	epochs []epochState
}

func (d *depotState) clone() *depotState {
	if d == nil {
		return &depotState{}
	}
	c := &depotState{epochs: slices.Clone(d.epochs)}
	for i := range c.epochs {
		c.epochs[i].gaps = slices.Clone(c.epochs[i].gaps)
	}
	return c
}

func (d *depotState) epoch(epoch uint64) *epochState {
	if d == nil {
		return nil
	}
	for i := range d.epochs {
		if d.epochs[i].epoch == epoch {
			return &d.epochs[i]
		}
	}
	return nil
}

// have is the effective have of an epoch, see Merged.Have: a new epoch goes on
// with the numbers of the one before.
func (d *depotState) have(epoch, nextSeq uint64) uint64 {
	if e := d.epoch(epoch); e != nil {
		return e.have
	}
	e := d.newest()
	if e == nil || nextSeq == 0 {
		return 0
	}
	return min(e.have, nextSeq-1)
}

// newest is the epoch that took an event last; nil if there is none.
func (d *depotState) newest() (found *epochState) {
	if d == nil {
		return nil
	}
	for i := range d.epochs {
		if e := &d.epochs[i]; found == nil || e.last >= found.last {
			found = e
		}
	}
	return found
}

// take notes that seq was taken when base was the effective have, and returns
// the gap that it shows, if any; d is a clone.
func (d *depotState) take(r *record, number uint64) (span, bool) {
	e := d.epoch(r.epoch)
	if e == nil {
		d.epochs = append(d.epochs, epochState{epoch: r.epoch})
		e = &d.epochs[len(d.epochs)-1]
	}
	e.at, e.last = r.at, number
	if r.kind == recEvent {
		e.events++
	}
	return e.raise(r.seq, r.base)
}

func (e *epochState) raise(seq, base uint64) (span, bool) {
	if seq <= e.have {
		e.fill(seq)
		return span{}, false
	}
	e.have = seq
	if seq <= base+1 {
		return span{}, false
	}
	gap := span{base + 1, seq - 1}
	e.gaps = append(e.gaps, gap)
	if extra := len(e.gaps) - maxGaps; extra > 0 {
		e.gaps = slices.Delete(e.gaps, 0, extra)
	}
	return gap, true
}

// fill takes a number that came after all out of its gap.
func (e *epochState) fill(seq uint64) {
	for i, g := range e.gaps {
		if seq < g.from || seq > g.to {
			continue
		}
		var parts []span
		if seq > g.from {
			parts = append(parts, span{g.from, seq - 1})
		}
		if seq < g.to {
			parts = append(parts, span{seq + 1, g.to})
		}
		e.gaps = slices.Replace(e.gaps, i, i+1, parts...)
		return
	}
}

// view returns the depot as callers see it.
func (d *depotState) view(id scan.DepotID) Depot {
	v := Depot{ID: id}
	if e := d.newest(); e != nil {
		v.Epoch, v.Have, v.At = e.epoch, e.have, unix(e.at)
	}
	for i := range d.epochs {
		e := &d.epochs[i]
		v.Events += e.events
		for _, g := range e.gaps {
			v.Gaps = append(v.Gaps, Gap{Depot: id, Epoch: e.epoch, From: g.from, To: g.to})
		}
	}
	return v
}

func encodeEpoch(e *epochState) []byte {
	var w enc
	w.uint(e.have)
	w.uint(e.events)
	w.int(e.at)
	w.uint(e.last)
	w.uint(uint64(len(e.gaps)))
	for _, g := range e.gaps {
		w.uint(g.from)
		w.uint(g.to)
	}
	return seal(w.b)
}

func decodeEpoch(epoch uint64, b []byte) (epochState, error) {
	body, err := unseal(b)
	if err != nil {
		return epochState{}, err
	}
	d := dec{s: string(body)}
	e := epochState{epoch: epoch, have: d.uint(), events: d.uint(), at: d.int(), last: d.uint()}
	e.gaps = make([]span, d.count(2))
	for i := range e.gaps {
		e.gaps[i] = span{d.uint(), d.uint()}
	}
	return e, d.err()
}
