package judge

import (
	"slices"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
)

// maxGaps is how many gaps are kept for an epoch; the oldest go first. Each was
// logged when it was found.
const maxGaps = 100

// Span is a run of numbers, both ends in it.
type Span struct{ From, To uint64 }

// Epoch is what is known of one epoch of a depot.
type Epoch struct {
	Epoch  uint64
	Have   uint64 // the highest number taken
	Events uint64 // taken or late
	At     int64  // unix seconds of the last one
	Last   uint64 // record number of the last one: tells which epoch is the newest
	Gaps   []Span // numbers that never came
}

// Numbering is a depot's epochs. nil is a depot never heard of.
type Numbering struct {
	Epochs []Epoch
}

func (d *Numbering) clone() *Numbering {
	if d == nil {
		return &Numbering{}
	}
	c := &Numbering{Epochs: slices.Clone(d.Epochs)}
	for i := range c.Epochs {
		c.Epochs[i].Gaps = slices.Clone(c.Epochs[i].Gaps)
	}
	return c
}

func (d *Numbering) epoch(epoch uint64) *Epoch {
	if d == nil {
		return nil
	}
	for i := range d.Epochs {
		if d.Epochs[i].Epoch == epoch {
			return &d.Epochs[i]
		}
	}
	return nil
}

// Effective is the have of an epoch, see snapshot.Merged: a new epoch goes on
// with the numbers of the one before.
func (d *Numbering) Effective(epoch, nextSeq uint64) uint64 {
	if e := d.epoch(epoch); e != nil {
		return e.Have
	}
	e := d.newest()
	if e == nil || nextSeq == 0 {
		return 0
	}
	return min(e.Have, nextSeq-1)
}

// newest is the epoch that took an event last; nil if there is none.
func (d *Numbering) newest() (found *Epoch) {
	if d == nil {
		return nil
	}
	for i := range d.Epochs {
		if e := &d.Epochs[i]; found == nil || e.Last >= found.Last {
			found = e
		}
	}
	return found
}

// take notes that seq was taken when base was the effective have, and returns
// the gap that it shows, if any; d is a clone.
func (d *Numbering) take(r *Record, number uint64) (Span, bool) {
	e := d.epoch(r.Epoch)
	if e == nil {
		d.Epochs = append(d.Epochs, Epoch{Epoch: r.Epoch})
		e = &d.Epochs[len(d.Epochs)-1]
	}
	e.At, e.Last = r.At, number
	if r.Kind == RecordEvent {
		e.Events++
	}
	return e.raise(r.Seq, r.Base)
}

func (e *Epoch) raise(seq, base uint64) (Span, bool) {
	if seq <= e.Have {
		e.fill(seq)
		return Span{}, false
	}
	e.Have = seq
	if seq <= base+1 {
		return Span{}, false
	}
	gap := Span{base + 1, seq - 1}
	e.Gaps = append(e.Gaps, gap)
	if extra := len(e.Gaps) - maxGaps; extra > 0 {
		e.Gaps = slices.Delete(e.Gaps, 0, extra)
	}
	return gap, true
}

// fill takes a number that came after all out of its gap.
func (e *Epoch) fill(seq uint64) {
	for i, g := range e.Gaps {
		if seq < g.From || seq > g.To {
			continue
		}
		var parts []Span
		if seq > g.From {
			parts = append(parts, Span{g.From, seq - 1})
		}
		if seq < g.To {
			parts = append(parts, Span{seq + 1, g.To})
		}
		e.Gaps = slices.Replace(e.Gaps, i, i+1, parts...)
		return
	}
}

// View returns the depot as callers see it.
func (d *Numbering) View(id scan.DepotID) snapshot.Depot {
	v := snapshot.Depot{ID: id}
	if e := d.newest(); e != nil {
		v.Epoch, v.Have, v.At = e.Epoch, e.Have, time.Unix(e.At, 0).UTC()
	}
	for i := range d.Epochs {
		e := &d.Epochs[i]
		v.Events += e.Events
		for _, g := range e.Gaps {
			v.Gaps = append(v.Gaps, snapshot.Gap{Depot: id, Epoch: e.Epoch, From: g.From, To: g.To})
		}
	}
	return v
}
