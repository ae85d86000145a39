package snapshot

import (
	"scanrelay/agent/scan"
)

// judge decides one batch on the stage.
type judge struct {
	*stage
	batch *Batch
	now   int64  // unix seconds
	seen  []seen // one per event of the batch
	out   Merged
}

// seen is what is known of an event's number before the batch.
type seen struct {
	ident  uint64 // of the event
	answer answerValue
	known  bool
}

// merge judges the events of the batch in order.
func (j *judge) merge() {
	b := j.batch
	j.observe()
	j.out.Have = j.depot(b.Depot).have(b.Epoch, b.NextSeq)
	switch {
	case len(b.Events) == 0:
		return
	case b.From > j.out.Have+1:
		j.out.Rewind = true
		return
	case j.conflicts():
		return
	}
	j.out.Answers = make([]Answer, len(b.Events))
	for i := range b.Events {
		j.out.Answers[i] = j.event(&b.Events[i], j.seen[i])
	}
	j.out.Have = j.depot(b.Depot).have(b.Epoch, b.NextSeq)
	for i := range b.Events {
		j.out.Answers[i].HasData = j.state(b.Events[i].Waybill).hasData()
	}
}

// conflicts looks for a number that came before with another identity. Then
// nothing is merged: the depot takes a new epoch and sends all that is unsynced
// again, and what this batch had merged would come back as a duplicate of
// itself, which is never pushed.
func (j *judge) conflicts() bool {
	b := j.batch
	j.seen = make([]seen, len(b.Events))
	found := false
	for i := range b.Events {
		e, k := &b.Events[i], &j.seen[i]
		if e.Refuse == "" {
			e.Refuse = badWaybill(e.Waybill)
		}
		k.ident = identity(e.Waybill, e.EventID)
		k.answer, k.known = j.answer(triple{b.Depot, b.Epoch, e.Seq})
		found = found || k.known && k.answer.ident != k.ident
	}
	if !found {
		return false
	}
	j.out.Answers = make([]Answer, len(b.Events))
	for i, k := range j.seen {
		j.out.Answers[i] = Answer{Result: Conflict}
		if k.known && k.answer.ident == k.ident {
			j.out.Answers[i] = j.stored(k.answer, &b.Events[i])
		}
	}
	return true
}

// event decides one event and writes the records of it.
func (j *judge) event(e *Event, k seen) Answer {
	b := j.batch
	st := j.state(e.Waybill)
	same := st.find(b.Depot, e.EventID)
	if k.known && !j.lost(k.answer, e, st, same) {
		j.again(triple{b.Depot, b.Epoch, e.Seq})
		j.data(e)
		return j.stored(k.answer, e)
	}
	switch {
	case e.Refuse != "":
		j.mark(e, Refused)
		return Answer{Result: Refused, Reason: e.Refuse}
	case same != nil && (same.epoch != b.Epoch || same.seq != e.Seq):
		j.mark(e, Duplicate)
		return Answer{Result: Duplicate}
	case same != nil: // its number was forgotten before its waybill
		result := Taken
		if same.Late {
			result = Late
		}
		j.mark(e, result)
		return Answer{Result: result}
	case st != nil && len(st.nodes) >= MaxNodes:
		j.mark(e, Refused)
		return Answer{Result: Refused, Reason: reasonFull}
	}
	return j.take(e)
}

const reasonFull = "the waybill has as many nodes as can be kept"

// lost reports whether an event that was taken is missing from its path: the
// waybill was forgotten, or damaged. It is then taken again.
func (j *judge) lost(a answerValue, e *Event, st *state, same *node) bool {
	return (a.result == Taken || a.result == Late) && same == nil && !st.pastLife(e.ActionTime)
}

// take puts an event into the path. Its waybill data goes in first: a new life
// must not be late for the last one's nodes.
func (j *judge) take(e *Event) Answer {
	j.data(e)
	st := j.state(e.Waybill)
	late := st != nil && (st.pastLife(e.ActionTime) || st.lateAmong(e.ActionTime))
	r := j.numbered(recEvent, e, Taken)
	if late {
		r.result = Late
	}
	r.waybill = e.Waybill
	r.node = node{epoch: r.epoch, seq: r.seq, PathNode: scan.PathNode{
		Depot: j.batch.Depot, EventID: e.EventID, ActionTime: e.ActionTime, ActionType: e.ActionType,
		ActionMsg: e.ActionMsg, Pickup: e.Pickup, Delivery: e.Delivery, Muted: e.Muted, Late: late,
	}}
	j.write(r)
	return Answer{Result: r.result}
}

// data takes the waybill data that came with the scan, if it is wanted.
func (j *judge) data(e *Event) {
	if e.Data == nil || e.Refuse != "" {
		return
	}
	j.takeData(e.Waybill, e.Data, false)
}

func (j *judge) takeData(id scan.WaybillID, data *scan.Waybill, imported bool) {
	st := j.state(id)
	if !st.wants(*data, imported) {
		return
	}
	if !st.hasData() {
		j.out.Gained = append(j.out.Gained, id)
	}
	j.add(&record{kind: recData, at: j.now, waybill: id, data: data, imported: imported})
}

// mark writes down the answer of an event that does not go into a path.
func (j *judge) mark(e *Event, result Result) { j.write(j.numbered(recMark, e, result)) }

func (j *judge) numbered(kind byte, e *Event, result Result) *record {
	b := j.batch
	return &record{
		kind: kind, at: j.now, depot: b.Depot, epoch: b.Epoch, seq: e.Seq, result: result,
		base: j.depot(b.Depot).have(b.Epoch, b.NextSeq), ident: identity(e.Waybill, e.EventID),
	}
}

func (j *judge) write(r *record) {
	if gap, found := j.add(r); found {
		j.out.Gaps = append(j.out.Gaps, Gap{Depot: r.depot, Epoch: r.epoch, From: gap.from, To: gap.to})
	}
}

// again counts a number that is known but lies above have, which a damaged
// record held back.
func (j *judge) again(at triple) {
	d := j.depot(at.depot)
	if at.seq <= d.have(at.epoch, at.seq+1) {
		return
	}
	r := &record{kind: recMark, at: j.now, depot: at.depot, epoch: at.epoch, seq: at.seq, base: d.have(at.epoch, at.seq+1)}
	j.editDepot(at.depot).take(r, j.next)
}

// stored is the answer that was given before, which stands.
func (j *judge) stored(a answerValue, e *Event) Answer {
	st := j.state(e.Waybill)
	out := Answer{Result: a.result, HasData: st.hasData()}
	if a.result == Taken && st.pastLife(e.ActionTime) {
		out.Result = Late // it left the path with its life: WeChat would not find it
	}
	if a.result == Refused {
		out.Reason = e.Refuse
		if out.Reason == "" {
			out.Reason = reasonFull
		}
	}
	return out
}

// observe files what the depot learned of bindings under the receivers' phones.
func (j *judge) observe() {
	for _, o := range j.batch.Bindings {
		st := j.state(o.Waybill)
		if !st.hasData() {
			continue
		}
		k := keyOf(j.b.phoneSecret, st.data.Receiver.Phone)
		v := bindingValue{exist: o.Exist, at: o.At.Unix()}
		if old, ok := j.bindings[k]; ok && old.at >= v.at {
			continue
		} else if old, ok := j.b.storedBinding(j.tx, k); !ok || old.at < v.at {
			j.add(&record{kind: recBinding, at: j.now, phone: k, binding: v})
		}
	}
}
