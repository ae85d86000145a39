package values

import (
	"bytes"
	"encoding/binary"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot/datakey"
	"scanrelay/store/snapshot/judge"
)

// Hole is a run of waybills some of which were lost by damage.
type Hole struct {
	Low  scan.WaybillID
	High []byte // the first one behind it; nil: none is
	At   int64  // unix seconds
}

// EncodeHole files a hole under its beginning; a key must not be empty.
func EncodeHole(h Hole) (key, value []byte) {
	key = append([]byte{0}, h.Low...)
	var e enc
	e.int(h.At)
	e.bool(h.High != nil)
	e.str(string(h.High))
	return key, Seal(key, e.b)
}

// DecodeHole reads what [EncodeHole] wrote.
func DecodeHole(key, value []byte) (Hole, error) {
	body, err := Unseal(key, value)
	if err != nil || len(key) == 0 {
		return Hole{}, ErrDamaged
	}
	d := newDec(body)
	h := Hole{Low: scan.WaybillID(key[1:]), At: d.int()}
	if bounded, high := d.bool(), d.str(); bounded {
		h.High = []byte(high)
	}
	return h, d.err()
}

// EncodePeriod puts a run of time under a key.
func EncodePeriod(key []byte, s judge.Period) []byte {
	var e enc
	e.int(s.From)
	e.int(s.To)
	return Seal(key, e.b)
}

// DecodePeriod reads what [EncodePeriod] wrote.
func DecodePeriod(key, b []byte) (judge.Period, error) {
	body, err := Unseal(key, b)
	if err != nil {
		return judge.Period{}, err
	}
	d := newDec(body)
	s := judge.Period{From: d.int(), To: d.int()}
	return s, d.err()
}

// EncodeHorizon puts a horizon under a key.
func EncodeHorizon(key []byte, h judge.Horizon) []byte {
	return EncodePeriod(key, judge.Period{From: h.At, To: h.Jump})
}

// DecodeHorizon returns the zero Horizon for what is missing or damaged.
func DecodeHorizon(key, b []byte) judge.Horizon {
	s, err := DecodePeriod(key, b)
	if err != nil {
		return judge.Horizon{}
	}
	return judge.Horizon{At: s.From, Jump: s.To}
}

// EncodeKey puts a wrapped key under its number.
func EncodeKey(e datakey.Entry) (key, value []byte) {
	key = datakey.EntryKey(e.Number)
	return key, Seal(key, bytes.Clone(e.Wrapped))
}

// DecodeKey reads what [EncodeKey] wrote.
func DecodeKey(key, b []byte) (e datakey.Entry, err error) {
	body, err := Unseal(key, b)
	if err != nil || len(key) != 4 {
		return e, ErrDamaged
	}
	e = datakey.Entry{Number: binary.BigEndian.Uint32(key), Wrapped: bytes.Clone(body)}
	if !e.Sound() {
		err = ErrDamaged
	}
	return e, err
}
