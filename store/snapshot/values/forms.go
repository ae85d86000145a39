package values

import (
	"cmp"
	"encoding/binary"
)

// MaxNumber bounds numbers of records. Those of a log begin at 1, and of a database at
// microseconds of this century: what lies beyond it nobody has written.
const MaxNumber = 1 << 60

// numbered tells that a number of a record cannot be one.
func numbered(n uint64) error {
	if n > MaxNumber {
		return ErrDamaged
	}
	return nil
}

// Forms tell of each bucket but meta how new a value in it is, or what is wrong with
// it. They need no key.
var Forms = map[string]func(key, value []byte) (age uint64, _ error){
	"waybills": func(k, v []byte) (uint64, error) {
		st, err := PeekState(k, v)
		if err != nil {
			return 0, err
		}
		return st.Applied, numbered(st.Applied)
	},
	"numbers": func(k, v []byte) (uint64, error) {
		if depot, _, _ := ParseEpochKey(k); len(k) != len(depot)+17 {
			return 0, ErrDamaged
		}
		_, newest, err := DecodeBlock(k, v)
		return uint64(newest), err
	},
	"answers": func(k, v []byte) (uint64, error) { // of formats before 3
		kept, err := DecodeOldAnswer(k, v)
		return uint64(kept.At), err
	},
	"depots": func(k, v []byte) (uint64, error) {
		e, err := DecodeEpoch(k, v)
		newest := max(e.Last, e.Again)
		return newest, cmp.Or(err, numbered(newest))
	},
	"bindings": func(k, v []byte) (uint64, error) {
		if len(k) != 16 {
			return 0, ErrDamaged
		}
		b, err := DecodeBinding(k, v)
		return uint64(b.At), err
	},
	"holes": func(k, v []byte) (uint64, error) {
		_, err := DecodeHole(k, v)
		return 0, err
	},
	"aging": func(k, v []byte) (uint64, error) {
		_, err := Unseal(k, v)
		return 0, err
	},
	"keys": func(k, v []byte) (uint64, error) {
		_, err := DecodeKey(k, v)
		return 0, err
	},
	"damaged": func(_, _ []byte) (uint64, error) { return 0, nil }, // of 7b28d06
	"log": func(k, v []byte) (uint64, error) {
		if len(k) != 8 {
			return 0, ErrDamaged
		}
		_, err := decodeRecord(k, v, nil)
		return 0, cmp.Or(err, numbered(binary.BigEndian.Uint64(k)))
	},
}

// Check tells of a bucket but meta what is wrong with a value in it.
func Check(bucket string) func(key, value []byte) error {
	return func(k, v []byte) error {
		_, err := Forms[bucket](k, v)
		return err
	}
}
