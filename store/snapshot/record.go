package snapshot

import (
	"crypto/sha256"
	"encoding/binary"

	"scanrelay/agent/scan"
)

// The kinds of log records. A record tells what was decided, so that replaying
// the log judges nothing again.
const (
	recEvent   = iota + 1 // an event went into a path, or belongs to a past life
	recMark               // an event was a duplicate or refused: its number and identity
	recData               // waybill data
	recBinding            // a binding
)

// record is one entry of the log.
type record struct {
	kind byte
	at   int64 // unix seconds
	// Of recEvent and recMark. base is the effective have before it: what
	// lies between base and seq is a gap.
	depot      scan.DepotID
	epoch, seq uint64
	base       uint64
	ident      uint64
	result     Result
	// Of recEvent and recData.
	waybill  scan.WaybillID
	node     node
	data     *scan.Waybill
	imported bool
	// Of recBinding.
	phone   phoneKey
	binding bindingValue
}

func (r *record) triple() triple { return triple{r.depot, r.epoch, r.seq} }

// triple is an event's number.
type triple struct {
	depot scan.DepotID
	epoch uint64
	seq   uint64
}

// key is the triple's place in the bucket answers: a depot's numbers of one
// epoch lie together in order.
func (t triple) key() []byte {
	k := epochKey(t.depot, t.epoch)
	return binary.BigEndian.AppendUint64(k, t.seq)
}

// epochKey is the key of one depot's epoch. A depot id holds no zero byte.
func epochKey(depot scan.DepotID, epoch uint64) []byte {
	k := make([]byte, 0, len(depot)+17)
	k = append(k, depot...)
	k = append(k, 0)
	return binary.BigEndian.AppendUint64(k, epoch)
}

// identity hashes what identifies an event within its depot.
func identity(waybill scan.WaybillID, eventID string) uint64 {
	b := make([]byte, 0, 96)
	b = append(b, waybill...)
	b = append(b, 0)
	b = append(b, eventID...)
	sum := sha256.Sum256(b)
	return binary.BigEndian.Uint64(sum[:8])
}

// answerValue is what is kept of one event's answer.
type answerValue struct {
	ident  uint64
	result Result
	at     int64 // unix seconds
}

const answerSize = 13

func (a answerValue) encode() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, answerSize), a.ident)
	b = append(b, byte(a.result))
	return binary.BigEndian.AppendUint32(b, uint32(a.at))
}

func decodeAnswer(b []byte) (answerValue, bool) {
	if len(b) != answerSize {
		return answerValue{}, false
	}
	return answerValue{
		ident: binary.BigEndian.Uint64(b), result: Result(b[8]), at: int64(binary.BigEndian.Uint32(b[9:])),
	}, true
}

func (r *record) encode() []byte {
	e := enc{b: make([]byte, 0, 384)}
	e.byte(r.kind)
	e.int(r.at)
	switch r.kind {
	case recEvent:
		e.byte(byte(r.result))
		e.uint(r.base)
		e.str(string(r.waybill))
		e.node(&r.node)
	case recMark:
		e.byte(byte(r.result))
		e.uint(r.base)
		e.str(string(r.depot))
		e.fix(r.epoch)
		e.uint(r.seq)
		e.fix(r.ident)
	case recData:
		e.str(string(r.waybill))
		e.bool(r.imported)
		e.waybill(r.data)
	case recBinding:
		e.b = append(e.b, r.phone[:]...)
		e.bool(r.binding.exist)
		e.int(r.binding.at)
	}
	return seal(e.b)
}

func decodeRecord(b []byte) (*record, error) {
	body, err := unseal(b)
	if err != nil {
		return nil, err
	}
	d := dec{s: string(body)}
	r := &record{kind: d.byte(), at: d.int()}
	switch r.kind {
	case recEvent:
		r.result, r.base, r.waybill, r.node = Result(d.byte()), d.uint(), scan.WaybillID(d.str()), d.node()
		r.depot, r.epoch, r.seq = r.node.Depot, r.node.epoch, r.node.seq
		r.ident = identity(r.waybill, r.node.EventID)
	case recMark:
		r.result, r.base = Result(d.byte()), d.uint()
		r.depot, r.epoch, r.seq, r.ident = scan.DepotID(d.str()), d.fix(), d.uint(), d.fix()
	case recData:
		r.waybill, r.imported = scan.WaybillID(d.str()), d.bool()
		w := d.waybill()
		r.data = &w
	case recBinding:
		for i := range r.phone {
			r.phone[i] = d.byte()
		}
		r.binding = bindingValue{exist: d.bool(), at: d.int()}
	default:
		return nil, errDamaged
	}
	return r, d.err()
}

func (e *enc) bool(v bool) {
	if v {
		e.byte(1)
	} else {
		e.byte(0)
	}
}

func (d *dec) bool() bool { return d.byte() != 0 }
