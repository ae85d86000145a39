package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"
)

// Every value on disk has one frame:
//
//	version (1 byte) | body | CRC32C over key, version and body (4 bytes)
//
// The key is in the checksum, so a record found under another's key is damage.
// The frame is the same in all versions: a record of a newer version can be
// told from a damaged one.

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const crcSize = 4

func checksum(key, framed []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, framed)
}

// seal closes a frame that was begun with its version byte.
func seal(key, framed []byte) []byte {
	return binary.BigEndian.AppendUint32(framed, checksum(key, framed))
}

// unseal checks a frame and returns a decoder of its body.
func unseal(key, value []byte) (*decoder, error) {
	body, err := unframe(key, value)
	if err != nil {
		return nil, err
	}
	return &decoder{b: body}, nil
}

// unframe checks a frame and returns its body.
func unframe(key, value []byte) ([]byte, error) {
	n := len(value) - crcSize
	if n < 1 {
		return nil, fmt.Errorf("%w: %d bytes", ErrDamaged, len(value))
	}
	if binary.BigEndian.Uint32(value[n:]) != checksum(key, value[:n]) {
		return nil, fmt.Errorf("%w: wrong checksum", ErrDamaged)
	}
	if v := value[0]; v > formatVersion {
		return nil, fmt.Errorf("%w (record version %d, this one knows %d)", ErrNewer, v, formatVersion)
	}
	return value[1:n], nil
}

// encoder appends fields to a frame.
type encoder struct{ b []byte }

func newEncoder(size int) *encoder {
	return &encoder{b: append(make([]byte, 0, size+1+crcSize), formatVersion)}
}

func (e *encoder) byte(v byte)      { e.b = append(e.b, v) }
func (e *encoder) uint(v uint64)    { e.b = binary.AppendUvarint(e.b, v) }
func (e *encoder) int(v int64)      { e.b = binary.AppendVarint(e.b, v) }
func (e *encoder) fixed(v []byte)   { e.b = append(e.b, v...) }
func (e *encoder) time(t time.Time) { e.int(t.UnixMicro()) }

func (e *encoder) string(s string) {
	e.uint(uint64(len(s)))
	e.b = append(e.b, s...)
}

// decoder reads fields back. After the first error it returns zero values; the
// error is asked for once, at the end.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrDamaged, what)
	}
	d.b = nil
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail("cut off")
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail("bad number")
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail("bad number")
		return 0
	}
	d.b = d.b[n:]
	return v
}

// bytes returns the next field without copying it.
func (d *decoder) bytes() []byte {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.fail("text longer than its record")
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) fixed(n int) []byte {
	if n > len(d.b) {
		d.fail("cut off")
		return make([]byte, n)
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) string() string  { return string(d.bytes()) }
func (d *decoder) time() time.Time { return time.UnixMicro(d.int()).UTC() }

// done returns the first error; bytes left over are one too.
func (d *decoder) done() error {
	if d.err == nil && len(d.b) > 0 {
		d.fail("bytes left over")
	}
	return d.err
}
