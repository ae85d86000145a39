package judge

import (
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
)

// Group is what one group of calls changes, on top of the facts. Nobody else
// sees it until the store publishes it, after its commit.
type Group struct {
	Facts   Facts     // what was read; Needed says what that must be
	Changed Facts     // what the records came to
	Records []*Record // to be committed, in order
	// Frozen: records are replayed behind a damaged one, so have stays.
	Frozen bool

	secret []byte
	first  uint64 // number of the first record
}

// NewGroup begins a group whose first record gets that number, on facts. secret
// keys phones.
func NewGroup(f Facts, secret []byte, first uint64) *Group {
	return &Group{Facts: f, Changed: NewFacts(), secret: secret, first: first}
}

// Import takes waybill data from the carrier and returns the waybills that had
// none before.
func (g *Group) Import(items []snapshot.Import, now time.Time) []scan.WaybillID {
	m := merge{Group: g, now: now.Unix()}
	for i := range items {
		m.takeData(items[i].Waybill, &items[i].Data, true)
	}
	return m.out.Gained
}

// state returns a waybill's state as the group sees it; nil: never heard of.
func (g *Group) state(id scan.WaybillID) *State {
	if st, ok := g.Changed.Waybills[id]; ok {
		return st
	}
	return g.Facts.Waybills[id]
}

// edit returns the state to change.
func (g *Group) edit(id scan.WaybillID) *State {
	st, ok := g.Changed.Waybills[id]
	if !ok {
		st = g.Facts.Waybills[id].clone()
		g.Changed.Waybills[id] = st
	}
	return st
}

func (g *Group) answer(n Number) (Kept, bool) {
	if k, ok := g.Changed.Answers[n]; ok {
		return k, true
	}
	k, ok := g.Facts.Answers[n]
	return k, ok
}

func (g *Group) binding(p PhoneKey) (Binding, bool) {
	if b, ok := g.Changed.Bindings[p]; ok {
		return b, true
	}
	b, ok := g.Facts.Bindings[p]
	return b, ok
}

func (g *Group) depot(id scan.DepotID) *Numbering {
	if d, ok := g.Changed.Depots[id]; ok {
		return d
	}
	return g.Facts.Depots[id]
}

func (g *Group) editDepot(id scan.DepotID) *Numbering {
	d, ok := g.Changed.Depots[id]
	if !ok {
		d = g.Facts.Depots[id].clone()
		g.Changed.Depots[id] = d
	}
	return d
}

// next is the number of the next record.
func (g *Group) next() uint64 { return g.first + uint64(len(g.Records)) }

// add writes a record down for the commit and applies it.
func (g *Group) add(r *Record) (Span, bool) {
	number := g.next()
	g.Records = append(g.Records, r)
	return g.Apply(r, number)
}

// Apply puts the effects of the record with that number in, and returns the gap
// that it shows, if any. It is the only way in which state changes, live and at
// a start. A state that has the record already stays as it is.
func (g *Group) Apply(r *Record, number uint64) (gap Span, found bool) {
	switch r.Kind {
	case RecordEvent:
		if st := g.state(r.Waybill); st == nil || st.Applied < number {
			st = g.edit(r.Waybill)
			st.takeNode(r.Node, r.At)
			st.Applied = number
		}
		fallthrough
	case RecordMark:
		g.Changed.Answers[r.Number] = Kept{Ident: r.Ident, Result: r.Result, At: r.At}
		if !g.Frozen {
			gap, found = g.editDepot(r.Depot).take(r, number)
		}
	case RecordData:
		if st := g.state(r.Waybill); st == nil || st.Applied < number {
			st = g.edit(r.Waybill)
			st.takeData(*r.Data, r.Imported, r.At)
			st.Applied = number
		}
	case RecordBinding:
		g.Changed.Bindings[r.Phone] = r.Binding
	}
	return gap, found
}
