package values

// Forms tell of each bucket but meta how new a value in it is, or what is wrong with
// it. They need no key.
var Forms = map[string]func(key, value []byte) (age uint64, _ error){
	"waybills": func(k, v []byte) (uint64, error) {
		st, err := PeekState(k, v)
		if err != nil {
			return 0, err
		}
		return st.Applied, nil
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
		return max(e.Last, e.Again), err
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
		return 0, err
	},
}

// Check tells of a bucket but meta what is wrong with a value in it.
func Check(bucket string) func(key, value []byte) error {
	return func(k, v []byte) error {
		_, err := Forms[bucket](k, v)
		return err
	}
}
