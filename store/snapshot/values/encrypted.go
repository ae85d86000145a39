package values

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"scanrelay/store/snapshot/datakey"
	"scanrelay/store/snapshot/judge"
)

// A value of which a part is encrypted: its form (1 byte), how long that part is, what
// is in clear, the encrypted part, the sum. What stands before the encrypted part is
// bound to it, with the bucket and the key: none passes for another's, and none is put
// together of two.

// bound begins what an encrypted part is bound to.
func bound(bucket string, key []byte, size int) (e enc) {
	e.b = append(make([]byte, 0, len(bucket)+3+len(key)+size), bucket...)
	e.byte(0)
	e.str(string(key))
	return e
}

// encrypt makes such a value.
func encrypt(keys *datakey.Ring, bucket string, key []byte, form byte, clear, plain []byte) []byte {
	size := 0
	if len(bytes.Trim(plain, "\x00")) > 0 { // else all fields are empty
		size = len(plain) + datakey.Overhead
	}
	e := bound(bucket, key, 1+5+len(clear)+size+4)
	from := len(e.b)
	e.byte(form)
	e.uint(uint64(size))
	e.b = append(e.b, clear...)
	if size > 0 {
		e.b = keys.Seal(e.b, plain, e.b)
	}
	return Seal(key, e.b[from:])
}

// decrypt gives both parts of such a value, whose sum is right. Without keys what is
// encrypted is blank.
func decrypt(keys *datakey.Ring, bucket string, key, body []byte, clear, plain *dec) error {
	head := dec{b: body[1:]}
	size := head.uint()
	if head.bad || size > uint64(len(head.b)) || size > 0 && size < datakey.Overhead {
		return ErrDamaged
	}
	at := len(body) - int(size)
	*clear = newDec(head.b[:len(head.b)-int(size)])
	if keys == nil || size == 0 {
		plain.blank = true
		return nil
	}
	e := bound(bucket, key, at)
	b, err := keys.Open(body[at:], append(e.b, body[:at]...))
	if err != nil {
		return err
	}
	*plain = newDec(b)
	return nil
}

// KeyNumber is the number of the data key under which a part of such a value is encrypted,
// whose sum is right; 0: none is.
func KeyNumber(bucket string, v []byte) uint32 {
	if len(v) < 5 || (bucket != "waybills" || v[0] != stateForm) && (bucket != "log" || v[0]&encrypted == 0) {
		return 0
	}
	head := dec{b: v[1 : len(v)-4]}
	size := head.uint()
	if head.bad || size < datakey.Overhead || size > uint64(len(head.b)) {
		return 0
	}
	return binary.BigEndian.Uint32(head.b[len(head.b)-int(size):])
}

// Unopened counts values whose data key is in no store.
type Unopened struct {
	Has    func(number uint32) bool
	counts map[uint32]int // by number; 0: of more numbers than are told apart
}

// maxUnopened bounds how many missing keys are told apart.
const maxUnopened = 50

// Add looks at a value.
func (u *Unopened) Add(bucket string, v []byte) {
	number := KeyNumber(bucket, v)
	if number == 0 || u.Has(number) {
		return
	}
	if u.counts == nil {
		u.counts = map[uint32]int{}
	}
	if _, known := u.counts[number]; !known && len(u.counts) >= maxUnopened {
		number = 0
	}
	u.counts[number]++
}

// Tell tells of each missing key what it costs.
func (u *Unopened) Tell(tell func(what string)) {
	for _, number := range slices.Sorted(maps.Keys(u.counts)) {
		key := fmt.Sprintf("data key %d, which is", number)
		if number == 0 {
			key = "other data keys, which are"
		}
		tell(fmt.Sprintf("%d values are encrypted under %s not in the store: nobody can read them; put back a backup that has it, or let what comes for their waybills begin anew and import their data again", u.counts[number], key))
	}
}

// InClear tells that a value of a bucket is of a form that has in clear what is
// personal.
func InClear(bucket string, v []byte) bool {
	switch {
	case len(v) == 0:
		return false
	case bucket == "waybills":
		return v[0] == clearForm
	}
	return bucket == "log" && v[0]&encrypted == 0 && personal(judge.RecordKind(v[0]))
}

// EncryptDamaged encrypts a value of the bucket damaged, which nobody could read, as it
// is. One that is encrypted already is given back.
func EncryptDamaged(keys *datakey.Ring, key, v []byte) []byte {
	if bytes.HasPrefix(v, damagedForm) {
		return v
	}
	e := bound("damaged", key, 0)
	return keys.Seal(bytes.Clone(damagedForm), v, e.b)
}

var damagedForm = []byte("encrypted\x00")
