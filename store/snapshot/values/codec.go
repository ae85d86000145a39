package values

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"scanrelay/store/durable"
)

var (
	Castagnoli = crc32.MakeTable(crc32.Castagnoli)
	// ErrDamaged: a value does not have the checksum or the form it was
	// written with.
	ErrDamaged = fmt.Errorf("%w: a value", durable.ErrDamaged)
)

// Seal appends the CRC32C of key and b: bbolt checks no data page.
func Seal(key, b []byte) []byte { return binary.BigEndian.AppendUint32(b, sum(key, b)) }

func sum(key, b []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, Castagnoli), Castagnoli, b)
}

// Unseal checks and cuts the CRC32C. Values of commit 7b28d06 have one that
// leaves the key out.
func Unseal(key, b []byte) ([]byte, error) {
	n := len(b) - 4
	if n < 0 {
		return nil, ErrDamaged
	}
	if is := binary.BigEndian.Uint32(b[n:]); is != sum(key, b[:n]) && is != sum(nil, b[:n]) {
		return nil, ErrDamaged
	}
	return b[:n], nil
}

// enc appends fields to a value.
type enc struct{ b []byte }

func (e *enc) byte(v byte)   { e.b = append(e.b, v) }
func (e *enc) uint(v uint64) { e.b = binary.AppendUvarint(e.b, v) }
func (e *enc) int(v int64)   { e.b = binary.AppendVarint(e.b, v) }
func (e *enc) fix(v uint64)  { e.b = binary.BigEndian.AppendUint64(e.b, v) }
func (e *enc) str(s string)  { e.uint(uint64(len(s))); e.b = append(e.b, s...) }

// dec reads them back. After an error every read gives zero.
type dec struct {
	b     []byte
	all   string // what b was in the beginning: one copy serves all the strings in it
	bad   bool
	blank bool // it has no text: all are empty
}

func newDec(body []byte) dec { return dec{b: body, all: string(body)} }

// next returns the next n bytes, nil if there are fewer.
func (d *dec) next(n int) []byte {
	if d.bad = d.bad || n < 1 || n > len(d.b); d.bad {
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *dec) byte() byte {
	if v := d.next(1); v != nil {
		return v[0]
	}
	return 0
}

func (d *dec) fix() uint64 {
	if v := d.next(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (d *dec) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if d.next(n) == nil {
		return 0
	}
	return v
}

func (d *dec) int() int64 {
	v, n := binary.Varint(d.b)
	if d.next(n) == nil {
		return 0
	}
	return v
}

func (d *dec) str() string {
	if d.blank {
		return ""
	}
	n := d.uint()
	if d.bad = d.bad || n > uint64(len(d.b)); d.bad {
		return ""
	}
	at := len(d.all) - len(d.b)
	d.b = d.b[n:]
	return d.all[at : at+int(n)]
}

// count reads the length of a list whose entries take at least size bytes, so
// that a damaged length allocates nothing.
func (d *dec) count(size int) int {
	n := d.uint()
	if d.bad || n > uint64(len(d.b)/size) {
		d.bad = true
		return 0
	}
	return int(n)
}

func (d *dec) err() error {
	if d.bad {
		return ErrDamaged
	}
	return nil
}

func (e *enc) bool(v bool) {
	if v {
		e.byte(1)
	} else {
		e.byte(0)
	}
}

func (d *dec) bool() bool { return d.byte() != 0 }
