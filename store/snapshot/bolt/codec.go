package bolt

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	// errDamaged: a value does not have the checksum or the form it was
	// written with.
	errDamaged = errors.New("value is damaged")
)

// frame appends the CRC32C of b: bbolt checks no data page.
func frame(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// unframe checks and cuts the CRC32C.
func unframe(b []byte) ([]byte, error) {
	n := len(b) - 4
	if n < 0 || binary.BigEndian.Uint32(b[n:]) != crc32.Checksum(b[:n], castagnoli) {
		return nil, errDamaged
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

// dec reads them back. It works on a string, so that one copy of the value
// serves all the strings in it. After an error every read gives zero.
type dec struct {
	s   string
	bad bool
}

func (d *dec) byte() byte {
	if d.bad || len(d.s) == 0 {
		d.bad = true
		return 0
	}
	v := d.s[0]
	d.s = d.s[1:]
	return v
}

func (d *dec) uint() uint64 {
	var v uint64
	for shift := uint(0); shift < 64; shift += 7 {
		c := d.byte()
		if d.bad || shift == 63 && c > 1 {
			break
		}
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return v
		}
	}
	d.bad = true
	return 0
}

func (d *dec) int() int64 {
	u := d.uint()
	return int64(u>>1) ^ -int64(u&1)
}

func (d *dec) fix() uint64 {
	if d.bad || len(d.s) < 8 {
		d.bad = true
		return 0
	}
	var v uint64
	for i := range 8 {
		v = v<<8 | uint64(d.s[i])
	}
	d.s = d.s[8:]
	return v
}

func (d *dec) str() string {
	n := d.uint()
	if d.bad || n > uint64(len(d.s)) {
		d.bad = true
		return ""
	}
	v := d.s[:n]
	d.s = d.s[n:]
	return v
}

// count reads the length of a list whose entries take at least size bytes, so
// that a damaged length allocates nothing.
func (d *dec) count(size int) int {
	n := d.uint()
	if d.bad || n > uint64(len(d.s)/size) {
		d.bad = true
		return 0
	}
	return int(n)
}

func (d *dec) err() error {
	if d.bad {
		return errDamaged
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
