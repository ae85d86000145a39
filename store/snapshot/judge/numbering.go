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
	Newest int64  // the newest action_time of an event, unix seconds
	// Reached is the highest number that was ever taken, where Have fell below
	// it, and Again the record that let it fall.
	Reached, Again uint64
}

// Numbering is a depot's epochs, at most snapshot.MaxEpochs: an honest depot makes
// one in years, and another must not make every batch dearer. What comes again of
// one that went is known by its answers, and have goes by the epochs that are
// left. nil is a depot never heard of.
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

// reached is the highest number of an epoch that was ever taken; of a new one,
// that of the epoch before.
func (d *Numbering) reached(epoch uint64) uint64 {
	e := d.epoch(epoch)
	if e == nil {
		e = d.newest()
	}
	if e == nil {
		return 0
	}
	return max(e.Have, e.Reached)
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
		next := Epoch{Epoch: r.Epoch}
		if last := d.newest(); last != nil {
			next.Reached = last.Reached
		}
		for len(d.Epochs) >= snapshot.MaxEpochs {
			d.drop(&next)
		}
		d.Epochs = append(d.Epochs, next)
		e = &d.Epochs[len(d.Epochs)-1]
	}
	e.At, e.Last = r.At, number
	if r.Kind == RecordEvent {
		e.Events++
		e.Newest = max(e.Newest, r.Node.ActionTime)
	}
	return e.raise(r.Seq, r.Base)
}

// drop gives the epoch up that has taken nothing for longest; what it counted goes
// over to the next.
func (d *Numbering) drop(next *Epoch) {
	oldest := 0
	for i := range d.Epochs {
		if d.Epochs[i].Last < d.Epochs[oldest].Last {
			oldest = i
		}
	}
	gone := &d.Epochs[oldest]
	next.Events += gone.Events
	next.Newest = max(next.Newest, gone.Newest)
	d.Epochs = slices.Delete(d.Epochs, oldest, oldest+1)
}

func (e *Epoch) raise(seq, base uint64) (Span, bool) {
	if seq <= max(e.Have, e.Reached) {
		e.fill(seq)
	}
	if seq <= e.Have {
		return Span{}, false
	}
	e.Have, base = seq, max(base, e.Reached)
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

// again lets have fall to nothing, so that the depot sends all that it still has;
// d is a clone. What it no longer has is no gap: it came once.
func (d *Numbering) again(number uint64) {
	for i := range d.Epochs {
		e := &d.Epochs[i]
		e.Reached, e.Have, e.Again = max(e.Reached, e.Have), 0, number
	}
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
