package values

import (
	"cmp"
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

func EncodeState(key []byte, s *judge.State) []byte {
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
	e.str(string(s.Mother))
	e.uint(uint64(s.Children))
	for i := range s.Nodes {
		e.str(string(s.Nodes[i].Parcel))
	}
	return Seal(key, e.b)
}

// DecodeState copies what it needs out of b.
func DecodeState(key, b []byte) (*judge.State, error) {
	body, err := Unseal(key, b)
	if err != nil {
		return nil, err
	}
	d := newDec(body)
	if d.byte() != stateForm {
		return nil, ErrDamaged
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
	if len(d.b) > 0 { // states that were written before there were parcels lack it
		s.Mother, s.Children = scan.WaybillID(d.str()), int(d.uint())
		for i := range s.Nodes {
			s.Nodes[i].Parcel = scan.WaybillID(d.str())
		}
	}
	return s, d.err()
}

// ChangedOf reads when a state was last changed without decoding the rest.
func ChangedOf(key, b []byte) (int64, error) {
	if _, err := Unseal(key, b); err != nil {
		return 0, err
	}
	d := newDec(b[:min(len(b)-4, 32)])
	if d.byte() != stateForm {
		return 0, ErrDamaged
	}
	d.byte()
	d.int()
	return d.int(), d.err()
}

func EncodeRecord(key []byte, r *judge.Record) []byte {
	e := enc{b: make([]byte, 0, 384)}
	e.byte(byte(r.Kind))
	e.int(r.At)
	switch r.Kind {
	case judge.RecordEvent:
		e.byte(byte(r.Result))
		e.uint(r.Base)
		e.str(string(r.Waybill))
		e.node(&r.Node)
		e.str(string(r.Node.Parcel))
	case judge.RecordMove:
		e.str(string(r.Waybill))
		e.node(&r.Node)
		e.str(string(r.Node.Parcel))
	case judge.RecordChild:
		e.str(string(r.Waybill))
		e.str(string(r.Mother))
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
	return Seal(key, e.b)
}

func DecodeRecord(key, b []byte) (*judge.Record, error) {
	body, err := Unseal(key, b)
	if err != nil {
		return nil, err
	}
	d := newDec(body)
	r := &judge.Record{Kind: judge.RecordKind(d.byte()), At: d.int()}
	switch r.Kind {
	case judge.RecordEvent:
		r.Result, r.Base, r.Waybill, r.Node = snapshot.Result(d.byte()), d.uint(), scan.WaybillID(d.str()), d.node()
		if len(d.b) > 0 { // records that were written before there were parcels lack it
			r.Node.Parcel = scan.WaybillID(d.str())
		}
		r.Number = judge.Number{Depot: r.Node.Depot, Epoch: r.Node.Epoch, Seq: r.Node.Seq}
		r.Ident = judge.Identity(cmp.Or(r.Node.Parcel, r.Waybill), r.Node.EventID)
	case judge.RecordMove:
		r.Waybill, r.Node = scan.WaybillID(d.str()), d.node()
		r.Node.Parcel = scan.WaybillID(d.str())
	case judge.RecordChild:
		r.Waybill, r.Mother = scan.WaybillID(d.str()), scan.WaybillID(d.str())
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
	case judge.RecordAgain:
	default:
		return nil, ErrDamaged
	}
	return r, d.err()
}

const bindingSize = 1 + 8 // bound, when; without the sum

// unsealSmall is Unseal for values that have no sum in files of 7b28d06.
func unsealSmall(key, b []byte, size int) ([]byte, error) {
	if len(b) == size {
		return b, nil
	}
	body, err := Unseal(key, b)
	if err == nil && len(body) != size {
		err = ErrDamaged
	}
	return body, err
}

func EncodeBinding(key []byte, v judge.Binding) []byte {
	var flag byte
	if v.Exist {
		flag = 1
	}
	b := append(make([]byte, 0, bindingSize+4), flag)
	return Seal(key, binary.BigEndian.AppendUint64(b, uint64(v.At)))
}

func DecodeBinding(key, v []byte) (judge.Binding, error) {
	b, err := unsealSmall(key, v, bindingSize)
	if err != nil {
		return judge.Binding{}, err
	}
	return judge.Binding{Exist: b[0] != 0, At: int64(binary.BigEndian.Uint64(b[1:]))}, nil
}

func EncodeEpoch(key []byte, e *judge.Epoch) []byte {
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
	w.int(e.Newest)
	w.uint(e.Reached)
	w.uint(e.Again)
	return Seal(key, w.b)
}

func DecodeEpoch(key, b []byte) (judge.Epoch, error) {
	depot, epoch, ok := ParseEpochKey(key)
	body, err := Unseal(key, b)
	if !ok || len(key) != len(depot)+9 {
		err = ErrDamaged
	}
	if err != nil {
		return judge.Epoch{}, err
	}
	d := newDec(body)
	e := judge.Epoch{Epoch: epoch, Have: d.uint(), Events: d.uint(), At: d.int(), Last: d.uint()}
	e.Gaps = make([]judge.Span, d.count(2))
	for i := range e.Gaps {
		e.Gaps[i] = judge.Span{From: d.uint(), To: d.uint()}
	}
	if len(d.b) > 0 { // files of 7b28d06 lack it
		e.Newest, e.Reached, e.Again = d.int(), d.uint(), d.uint()
	}
	return e, d.err()
}
