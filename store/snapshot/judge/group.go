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

// Judge decides a call, on what the calls before it changed.
func (g *Group) Judge(c *Call, now time.Time) snapshot.Merged {
	m := merge{Group: g, batch: &c.Batch, now: now.Unix()}
	for i := range c.Imports {
		m.takeImport(i, &c.Imports[i])
	}
	if len(c.Imports) == 0 {
		m.merge()
	}
	return m.out
}

// Again asks all depots in the facts to send again what they still have: some of
// what the store held is lost.
func (g *Group) Again(now time.Time) { g.add(&Record{Kind: RecordAgain, At: now.Unix()}) }

// state returns a waybill's state as the group sees it; nil: never heard of.
func (g *Group) state(id scan.WaybillID) *State {
	st, _ := seenBy(g.Changed.Waybills, g.Facts.Waybills, id)
	return st
}

// depot returns a depot's numbering as the group sees it.
func (g *Group) depot(id scan.DepotID) *Numbering {
	d, _ := seenBy(g.Changed.Depots, g.Facts.Depots, id)
	return d
}

// seenBy looks at what the group changed before what was read.
func seenBy[K comparable, V any](changed, read map[K]V, key K) (V, bool) {
	v, ok := changed[key]
	if !ok {
		v, ok = read[key]
	}
	return v, ok
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

// editDepot returns the numbering to change.
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

// Adopt adds a record that was decided elsewhere, on other facts, unless what it says
// is known here.
func (g *Group) Adopt(r *Record) {
	st := g.state(r.Waybill)
	known := false
	switch r.Kind {
	case RecordEvent:
		if st.find(r.Node.Depot, r.Node.Parcel, r.Node.EventID) != nil { // its number may not be
			r = &Record{Kind: RecordMark, At: r.At, Number: r.Number, Base: r.Base, Ident: r.Ident, Result: r.Result}
		}
	case RecordMove:
		known = st.find(r.Node.Depot, r.Node.Parcel, r.Node.EventID) != nil
	case RecordData:
		known = !st.wants(*r.Data, r.Imported)
	case RecordChild:
		known = st.MotherID() == r.Mother
	case RecordBinding:
		old, ok := seenBy(g.Changed.Bindings, g.Facts.Bindings, r.Phone)
		known = ok && old.At >= r.Binding.At
	case RecordAgain:
		known = true
	}
	if !known {
		g.add(r)
	}
}

// Apply puts the effects of the record with that number in, and returns the gap
// that it shows, if any. It is the only way in which state changes, live and at
// a start. A state that has the record already stays as it is.
func (g *Group) Apply(r *Record, number uint64) (gap Span, found bool) {
	switch r.Kind {
	case RecordEvent:
		g.apply(r.Waybill, number, func(st *State) { st.takeNode(r.Node, r.At) })
		fallthrough
	case RecordMark:
		g.Changed.Answers[r.Number] = Kept{Ident: r.Ident, Result: r.Result, At: r.At}
		if !g.Frozen {
			gap, found = g.editDepot(r.Depot).take(r, number)
		}
	case RecordMove:
		g.apply(r.Waybill, number, func(st *State) { st.takeNode(r.Node, r.At) })
	case RecordChild: // two states, which may be merged one without the other
		g.apply(r.Waybill, number, func(st *State) { st.becomeParcel(r.Mother, r.At) })
		g.apply(r.Mother, number, func(st *State) { st.Children, st.Changed = st.Children+1, r.At })
	case RecordData:
		g.apply(r.Waybill, number, func(st *State) { st.takeData(*r.Data, r.Imported, r.At) })
	case RecordBinding:
		g.Changed.Bindings[r.Phone] = r.Binding
	case RecordAgain:
		for _, depots := range []map[scan.DepotID]*Numbering{g.Facts.Depots, g.Changed.Depots} {
			for id := range depots {
				g.editDepot(id).again(number)
			}
		}
	}
	return gap, found
}

// Lose is Apply of a record of which nobody can read what is personal: its waybill is one
// that something was lost of. Have must stay, as its depot is to send it again.
func (g *Group) Lose(r *Record, number uint64) {
	g.Frozen = true
	if r.Waybill == "" {
		return
	}
	g.apply(r.Waybill, number, func(st *State) {
		if st.Anew, st.Changed = true, r.At; r.Kind == RecordData { // an older one may be wrong
			st.Data, st.Imported = nil, false
		}
	})
}

// apply changes a waybill's state by the record with that number, once.
func (g *Group) apply(id scan.WaybillID, number uint64, change func(*State)) {
	if st := g.state(id); st == nil || st.Applied < number {
		st = g.edit(id)
		change(st)
		st.Applied = number
	}
}
