package judge

import (
	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
)

// merge decides one call.
type merge struct {
	*Group
	batch *snapshot.Batch
	now   int64  // unix seconds
	seen  []seen // one per event of the batch
	out   snapshot.Merged
}

// seen is what is known of an event before the batch.
type seen struct {
	ident  uint64 // of the event
	refuse string // why it cannot be taken
	kept   Kept   // what its number came to
	known  bool   // its number came before
}

// merge judges the events of a batch in order.
func (m *merge) merge() {
	m.observe()
	m.out.Have = m.have()
	switch {
	case len(m.batch.Events) == 0:
	case m.batch.From > m.out.Have+1:
		m.out.Rewind = true
		m.out.Lost = m.batch.From-1 > m.depot(m.batch.Depot).reached(m.batch.Epoch)
	case !m.conflicts():
		m.events()
	}
}

func (m *merge) have() uint64 {
	return m.depot(m.batch.Depot).Effective(m.batch.Epoch, m.batch.NextSeq)
}

func (m *merge) number(e *snapshot.Event) Number {
	return Number{m.batch.Depot, m.batch.Epoch, e.Seq}
}

func (m *merge) events() {
	b := m.batch
	m.out.Answers = make([]snapshot.Answer, len(b.Events))
	for i := range b.Events {
		m.out.Answers[i] = m.event(&b.Events[i], &m.seen[i])
	}
	m.out.Have = m.have()
	for i := range b.Events {
		e, a := &b.Events[i], &m.out.Answers[i]
		a.HasData = m.state(e.Waybill).HasData()
		_, st, parcel := m.home(e.Waybill)
		a.Epoch = st.find(b.Depot, parcel, e.EventID).other(b.Epoch)
	}
}

// conflicts looks for a number that came before with another identity. Then
// nothing is merged: the depot takes a new epoch and sends all that is unsynced
// again, and what this batch had merged would come back as a duplicate of
// itself, which is never pushed.
func (m *merge) conflicts() bool {
	b := m.batch
	m.seen = make([]seen, len(b.Events))
	found := false
	for i := range b.Events {
		e, s := &b.Events[i], &m.seen[i]
		if s.refuse = e.Refuse; s.refuse == "" {
			s.refuse = snapshot.BadID(e.Waybill)
		}
		s.ident = Identity(e.Waybill, e.EventID)
		s.kept, s.known = seenBy(m.Changed.Answers, m.Facts.Answers, m.number(e))
		found = found || s.known && s.kept.Ident != s.ident
	}
	if !found {
		return false
	}
	m.out.Answers = make([]snapshot.Answer, len(b.Events))
	for i := range m.seen {
		m.out.Answers[i] = snapshot.Answer{Result: snapshot.Conflict}
		if s := &m.seen[i]; s.known && s.kept.Ident == s.ident {
			m.out.Answers[i] = m.stored(&b.Events[i], s)
		}
	}
	return true
}

// event decides one event and writes the records of it.
func (m *merge) event(e *snapshot.Event, s *seen) snapshot.Answer {
	_, st, parcel := m.home(e.Waybill)
	same := st.find(m.batch.Depot, parcel, e.EventID)
	if s.known && !lost(s.kept, e, st, same) {
		m.again(m.number(e))
		m.data(e, s)
		return m.stored(e, s)
	}
	switch {
	case s.refuse != "":
		return m.mark(e, s, snapshot.Refused, s.refuse)
	case same != nil && same.Seq != e.Seq: // under another epoch the number is still the same event's
		return m.mark(e, s, snapshot.Duplicate, "")
	case parcel != "" && (same != nil || st.fullOfParcels()):
		return ofParcel(m.mark(e, s, snapshot.Late, ""))
	case same != nil && same.Late: // its number was forgotten before its waybill
		return m.mark(e, s, snapshot.Late, "")
	case same != nil:
		return m.mark(e, s, snapshot.Taken, "")
	case parcel == "" && st.full(m.batch.Depot):
		return m.mark(e, s, snapshot.Refused, reasonFull)
	}
	return m.take(e, s)
}

const reasonFull = "the waybill has as many nodes as can be kept"

// lost reports whether an event that was taken is missing from its path: the
// waybill was forgotten, or damaged. It is then taken again.
func lost(k Kept, e *snapshot.Event, st *State, same *Node) bool {
	return (k.Result == snapshot.Taken || k.Result == snapshot.Late) && same == nil && !st.pastLife(e.ActionTime)
}

// home returns whose path a waybill's events go into: its own, or its mother's where
// the number is a parcel's, which parcel then is.
func (m *merge) home(waybill scan.WaybillID) (id scan.WaybillID, st *State, parcel scan.WaybillID) {
	st = m.state(waybill)
	if mother := st.MotherID(); mother != "" {
		return mother, m.state(mother), waybill
	}
	return waybill, st, ""
}

// take puts an event into the path. Its waybill data goes in first: a new life
// must not be late for the last one's nodes.
func (m *merge) take(e *snapshot.Event, s *seen) snapshot.Answer {
	m.data(e, s)
	id, st, parcel := m.home(e.Waybill)
	late := st != nil && (st.pastLife(e.ActionTime) || st.newer(e.ActionTime, ""))
	result := snapshot.Taken
	if late || parcel != "" {
		result = snapshot.Late
	}
	r := m.numbered(RecordEvent, e, s, result)
	r.Waybill = id
	r.Node = Node{PathNode: e.PathNode(r.Depot), Epoch: r.Epoch, Seq: r.Seq}
	r.Node.Muted, r.Node.Late, r.Node.Parcel = e.Muted, late, parcel
	m.write(r)
	a := snapshot.Answer{Result: result}
	if parcel != "" {
		a = ofParcel(a)
	}
	return a
}

// data takes the waybill data that came with the scan, if it is wanted. A parcel's
// is its mother's, which the carrier gave.
func (m *merge) data(e *snapshot.Event, s *seen) {
	if e.Data != nil && s.refuse == "" && m.state(e.Waybill).MotherID() == "" {
		m.takeData(e.Waybill, e.Data, false)
	}
}

func (m *merge) takeData(id scan.WaybillID, data *scan.Waybill, imported bool) {
	st := m.state(id)
	if !st.wants(*data, imported) {
		return
	}
	if !st.HasData() {
		m.out.Gained = append(m.out.Gained, id)
	}
	m.add(&Record{Kind: RecordData, At: m.now, Waybill: id, Data: data, Imported: imported})
}

// mark writes down the answer of an event that does not go into a path.
func (m *merge) mark(e *snapshot.Event, s *seen, result snapshot.Result, reason string) snapshot.Answer {
	m.write(m.numbered(RecordMark, e, s, result))
	return snapshot.Answer{Result: result, Reason: reason}
}

func (m *merge) numbered(kind RecordKind, e *snapshot.Event, s *seen, result snapshot.Result) *Record {
	return &Record{Kind: kind, At: m.now, Number: m.number(e), Base: m.have(), Ident: s.ident, Result: result}
}

func (m *merge) write(r *Record) {
	if gap, found := m.add(r); found {
		m.out.Gaps = append(m.out.Gaps, snapshot.Gap{Depot: r.Depot, Epoch: r.Epoch, From: gap.From, To: gap.To})
	}
}

// again counts a number that is known but lies above have, which a damaged
// record held back.
func (m *merge) again(n Number) {
	base := m.depot(n.Depot).Effective(n.Epoch, n.Seq+1)
	if n.Seq > base {
		m.editDepot(n.Depot).take(&Record{Kind: RecordMark, At: m.now, Number: n, Base: base}, m.next())
	}
}

// stored is the answer that was given before, which stands.
func (m *merge) stored(e *snapshot.Event, s *seen) snapshot.Answer {
	_, st, parcel := m.home(e.Waybill)
	out := snapshot.Answer{Result: s.kept.Result, HasData: st.HasData()}
	if parcel != "" {
		out = ofParcel(out)
	}
	if out.Result == snapshot.Taken && st.pastLife(e.ActionTime) {
		out.Result = snapshot.Late // it left the path with its life: WeChat would not find it
	}
	if out.Result == snapshot.Refused {
		if out.Reason = s.refuse; out.Reason == "" {
			out.Reason = reasonFull
		}
	}
	return out
}

// observe files what the depot learned of bindings under the receivers' phones.
func (m *merge) observe() {
	for _, o := range m.batch.Bindings {
		st := m.state(o.Waybill)
		if !st.HasData() || !st.Scanned(m.batch.Depot) { // of those it has scanned alone it can have learned
			continue
		}
		key, seen := KeyOf(m.secret, st.Data.Receiver.Phone), Binding{Exist: o.Exist, At: o.At.Unix()}
		if old, ok := seenBy(m.Changed.Bindings, m.Facts.Bindings, key); !ok || old.At < seen.At {
			m.add(&Record{Kind: RecordBinding, At: m.now, Phone: key, Binding: seen})
		}
	}
}
