package bolt

import (
	"encoding/binary"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/judge"
)

// The form of a value in the bucket waybills. A field is only ever added at the
// end, where the version before ignores it; any other change is a new number.
const stateForm = 1

// Flags of a state and of a node.
const (
	flagData     = 1
	flagImported = 2

	flagMuted = 1
	flagLate  = 2
)

func encodeState(s *judge.State) []byte {
	e := enc{b: make([]byte, 0, 256+160*len(s.Nodes))}
	e.byte(stateForm)
	var flags byte
	if s.Data != nil {
		flags |= flagData
	}
	if s.Imported {
		flags |= flagImported
	}
	e.byte(flags)
	e.int(s.Since)
	e.int(s.Changed)
	e.uint(s.Applied)
	if s.Data != nil {
		e.waybill(s.Data)
	}
	e.uint(uint64(len(s.Nodes)))
	for i := range s.Nodes {
		e.node(&s.Nodes[i])
	}
	return frame(e.b)
}

// decodeState copies what it needs out of b.
func decodeState(b []byte) (*judge.State, error) {
	body, err := unframe(b)
	if err != nil {
		return nil, err
	}
	d := newDec(body)
	if d.byte() != stateForm {
		return nil, errDamaged
	}
	flags := d.byte()
	s := &judge.State{Imported: flags&flagImported != 0, Since: d.int(), Changed: d.int(), Applied: d.uint()}
	if flags&flagData != 0 {
		w := d.waybill()
		s.Data = &w
	}
	s.Nodes = make([]judge.Node, d.count(minNode))
	for i := range s.Nodes {
		s.Nodes[i] = d.node()
	}
	return s, d.err()
}

// changedOf reads when a state was last changed without decoding the rest.
func changedOf(b []byte) (int64, error) {
	if _, err := unframe(b); err != nil {
		return 0, err
	}
	d := newDec(b[:min(len(b)-4, 32)])
	if d.byte() != stateForm {
		return 0, errDamaged
	}
	d.byte()
	d.int()
	return d.int(), d.err()
}

func encodeRecord(r *judge.Record) []byte {
	e := enc{b: make([]byte, 0, 384)}
	e.byte(byte(r.Kind))
	e.int(r.At)
	switch r.Kind {
	case judge.RecordEvent:
		e.byte(byte(r.Result))
		e.uint(r.Base)
		e.str(string(r.Waybill))
		e.node(&r.Node)
	case judge.RecordMark:
		e.byte(byte(r.Result))
		e.uint(r.Base)
		e.str(string(r.Depot))
		e.fix(r.Epoch)
		e.uint(r.Seq)
		e.fix(r.Ident)
	case judge.RecordData:
		e.str(string(r.Waybill))
		e.bool(r.Imported)
		e.waybill(r.Data)
	case judge.RecordBinding:
		e.b = append(e.b, r.Phone[:]...)
		e.bool(r.Binding.Exist)
		e.int(r.Binding.At)
	}
	return frame(e.b)
}

func decodeRecord(b []byte) (*judge.Record, error) {
	body, err := unframe(b)
	if err != nil {
		return nil, err
	}
	d := newDec(body)
	r := &judge.Record{Kind: judge.RecordKind(d.byte()), At: d.int()}
	switch r.Kind {
	case judge.RecordEvent:
		r.Result, r.Base, r.Waybill, r.Node = snapshot.Result(d.byte()), d.uint(), scan.WaybillID(d.str()), d.node()
		r.Number = judge.Number{Depot: r.Node.Depot, Epoch: r.Node.Epoch, Seq: r.Node.Seq}
		r.Ident = judge.Identity(r.Waybill, r.Node.EventID)
	case judge.RecordMark:
		r.Result, r.Base = snapshot.Result(d.byte()), d.uint()
		r.Number = judge.Number{Depot: scan.DepotID(d.str()), Epoch: d.fix(), Seq: d.uint()}
		r.Ident = d.fix()
	case judge.RecordData:
		r.Waybill, r.Imported = scan.WaybillID(d.str()), d.bool()
		w := d.waybill()
		r.Data = &w
	case judge.RecordBinding:
		for i := range r.Phone {
			r.Phone[i] = d.byte()
		}
		r.Binding = judge.Binding{Exist: d.bool(), At: d.int()}
	default:
		return nil, errDamaged
	}
	return r, d.err()
}

// answerSize: identity, result, when.
const answerSize = 8 + 1 + 4

func encodeAnswer(k judge.Kept) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, answerSize), k.Ident)
	b = append(b, byte(k.Result))
	return binary.BigEndian.AppendUint32(b, uint32(k.At))
}

func decodeAnswer(b []byte) (judge.Kept, bool) {
	if len(b) != answerSize {
		return judge.Kept{}, false
	}
	return judge.Kept{
		Ident: binary.BigEndian.Uint64(b), Result: snapshot.Result(b[8]), At: int64(binary.BigEndian.Uint32(b[9:])),
	}, true
}

func encodeBinding(v judge.Binding) []byte {
	var flag byte
	if v.Exist {
		flag = 1
	}
	return binary.BigEndian.AppendUint64([]byte{flag}, uint64(v.At))
}

func decodeBinding(b []byte) (judge.Binding, bool) {
	if len(b) != 9 {
		return judge.Binding{}, false
	}
	return judge.Binding{Exist: b[0] != 0, At: int64(binary.BigEndian.Uint64(b[1:]))}, true
}

func encodeEpoch(e *judge.Epoch) []byte {
	var w enc
	w.uint(e.Have)
	w.uint(e.Events)
	w.int(e.At)
	w.uint(e.Last)
	w.uint(uint64(len(e.Gaps)))
	for _, g := range e.Gaps {
		w.uint(g.From)
		w.uint(g.To)
	}
	return frame(w.b)
}

func decodeEpoch(epoch uint64, b []byte) (judge.Epoch, error) {
	body, err := unframe(b)
	if err != nil {
		return judge.Epoch{}, err
	}
	d := newDec(body)
	e := judge.Epoch{Epoch: epoch, Have: d.uint(), Events: d.uint(), At: d.int(), Last: d.uint()}
	e.Gaps = make([]judge.Span, d.count(2))
	for i := range e.Gaps {
		e.Gaps[i] = judge.Span{From: d.uint(), To: d.uint()}
	}
	return e, d.err()
}
