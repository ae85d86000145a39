package values

import (
	"cmp"
	"encoding/binary"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/datakey"
	"scanrelay/store/snapshot/judge"
)

// The forms of a value in the bucket waybills: in clear, and with what is personal
// encrypted. A field is only ever added at the end of what is in clear, where the
// version before ignores it; any other change is a new number.
const (
	clearForm = 1
	stateForm = 2
)

// Flags of a state and of a node.
const (
	flagData     = 1
	flagImported = 2
	flagAnew     = 4

	flagMuted = 1
	flagLate  = 2
)

// EncodeState encrypts what is personal with the newest key.
func EncodeState(keys *datakey.Ring, key []byte, s *judge.State) []byte {
	var e, p enc
	e.b, p.b = make([]byte, 0, 64+64*len(s.Nodes)), make([]byte, 0, 256+64*len(s.Nodes))
	var flags byte
	if s.Data != nil {
		flags |= flagData
	}
	if s.Imported {
		flags |= flagImported
	}
	if s.Anew {
		flags |= flagAnew
	}
	e.byte(flags)
	e.int(s.Since)
	e.int(s.Changed)
	e.uint(s.Applied)
	if s.Data != nil {
		e.waybill(&p, s.Data)
	}
	e.uint(uint64(len(s.Nodes)))
	for i := range s.Nodes {
		e.node(&p, &s.Nodes[i])
	}
	e.str(string(s.Mother))
	e.uint(uint64(s.Children))
	for i := range s.Nodes {
		e.str(string(s.Nodes[i].Parcel))
	}
	return encrypt(keys, "waybills", key, stateForm, e.b, p.b)
}

// DecodeState copies what it needs out of b. Where that cannot be decrypted the error
// is [datakey.ErrKey], which is no damage.
func DecodeState(keys *datakey.Ring, key, b []byte) (*judge.State, error) {
	return decodeState(key, b, keys)
}

// PeekState is DecodeState without what is personal, for which it needs no key.
func PeekState(key, b []byte) (*judge.State, error) { return decodeState(key, b, nil) }

func decodeState(key, b []byte, keys *datakey.Ring) (*judge.State, error) {
	body, err := Unseal(key, b)
	if err != nil {
		return nil, err
	}
	d, p, least := &dec{}, &dec{}, minNode
	switch {
	case len(body) > 0 && body[0] == clearForm:
		*d = newDec(body[1:])
		p, least = d, minClearNode
	case len(body) > 0 && body[0] == stateForm:
		if err := decrypt(keys, "waybills", key, body, d, p); err != nil {
			return nil, err
		}
	default:
		return nil, ErrDamaged
	}
	flags := d.byte()
	s := &judge.State{Imported: flags&flagImported != 0, Anew: flags&flagAnew != 0, Since: d.int(), Changed: d.int(), Applied: d.uint()}
	if flags&flagData != 0 {
		w := d.waybill(p)
		s.Data = &w
	}
	s.Nodes = make([]judge.Node, d.count(least))
	for i := range s.Nodes {
		s.Nodes[i] = d.node(p)
	}
	if len(d.b) > 0 { // states that were written before there were parcels lack it
		s.Mother, s.Children = scan.WaybillID(d.str()), int(d.uint())
		for i := range s.Nodes {
			s.Nodes[i].Parcel = scan.WaybillID(d.str())
		}
	}
	return s, cmp.Or(d.err(), p.err())
}

// ChangedOf reads when a state was last changed without decoding the rest.
func ChangedOf(key, b []byte) (int64, error) {
	if _, err := Unseal(key, b); err != nil {
		return 0, err
	}
	d := newDec(b[:min(len(b)-4, 40)])
	switch d.byte() {
	case clearForm:
	case stateForm:
		d.uint()
	default:
		return 0, ErrDamaged
	}
	d.byte()
	d.int()
	return d.int(), d.err()
}

// encrypted marks the kind of a record of which a part is encrypted.
const encrypted = 0x80

// EncodeRecord encrypts what is personal with the newest key.
func EncodeRecord(keys *datakey.Ring, key []byte, r *judge.Record) []byte {
	e, p := enc{b: make([]byte, 0, 384)}, enc{}
	if !personal(r.Kind) {
		e.byte(byte(r.Kind))
	}
	e.int(r.At)
	switch r.Kind {
	case judge.RecordEvent:
		e.byte(byte(r.Result))
		e.uint(r.Base)
		e.str(string(r.Waybill))
		e.node(&p, &r.Node)
		e.str(string(r.Node.Parcel))
	case judge.RecordMove:
		e.str(string(r.Waybill))
		e.node(&p, &r.Node)
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
		e.waybill(&p, r.Data)
	case judge.RecordBinding:
		e.b = append(e.b, r.Phone[:]...)
		e.bool(r.Binding.Exist)
		e.int(r.Binding.At)
	}
	if personal(r.Kind) {
		return encrypt(keys, "log", key, byte(r.Kind)|encrypted, e.b, p.b)
	}
	return Seal(key, e.b)
}

// personal tells which records hold what is.
func personal(kind judge.RecordKind) bool {
	return kind == judge.RecordEvent || kind == judge.RecordMove || kind == judge.RecordData
}

// DecodeRecord reads what EncodeRecord wrote, and what was in clear before. Where it
// cannot be decrypted the error is [datakey.ErrKey], which is no damage.
func DecodeRecord(keys *datakey.Ring, key, b []byte) (*judge.Record, error) {
	return decodeRecord(key, b, keys)
}

// PeekRecord is DecodeRecord without what is personal, for which it needs no key.
func PeekRecord(key, b []byte) (*judge.Record, error) { return decodeRecord(key, b, nil) }

func decodeRecord(key, b []byte, keys *datakey.Ring) (*judge.Record, error) {
	body, err := Unseal(key, b)
	if err != nil || len(body) == 0 {
		return nil, ErrDamaged
	}
	kind := judge.RecordKind(body[0] &^ encrypted)
	d, p := &dec{}, &dec{}
	if body[0] == byte(kind) {
		*d = newDec(body[1:])
		p = d
	} else if !personal(kind) {
		return nil, ErrDamaged
	} else if err := decrypt(keys, "log", key, body, d, p); err != nil {
		return nil, err
	}
	r := &judge.Record{Kind: kind, At: d.int()}
	switch r.Kind {
	case judge.RecordEvent:
		r.Result, r.Base, r.Waybill, r.Node = snapshot.Result(d.byte()), d.uint(), scan.WaybillID(d.str()), d.node(p)
		if len(d.b) > 0 { // records that were written before there were parcels lack it
			r.Node.Parcel = scan.WaybillID(d.str())
		}
		r.Number = judge.Number{Depot: r.Node.Depot, Epoch: r.Node.Epoch, Seq: r.Node.Seq}
		r.Ident = judge.Identity(cmp.Or(r.Node.Parcel, r.Waybill), r.Node.EventID)
	case judge.RecordMove:
		r.Waybill, r.Node = scan.WaybillID(d.str()), d.node(p)
		r.Node.Parcel = scan.WaybillID(d.str())
	case judge.RecordChild:
		r.Waybill, r.Mother = scan.WaybillID(d.str()), scan.WaybillID(d.str())
	case judge.RecordMark:
		r.Result, r.Base = snapshot.Result(d.byte()), d.uint()
		r.Number = judge.Number{Depot: scan.DepotID(d.str()), Epoch: d.fix(), Seq: d.uint()}
		r.Ident = d.fix()
	case judge.RecordData:
		r.Waybill, r.Imported = scan.WaybillID(d.str()), d.bool()
		w := d.waybill(p)
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
	return r, cmp.Or(d.err(), p.err())
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
