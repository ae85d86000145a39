package codec

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"scanrelay/store/durable"
)

// Version is that of every file and value that is written. A file with a higher
// one is refused with ErrNewer. Version 1 had events and rejects in clear; it is
// read, and nothing is added to it.
const Version = 2

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// CRCSize is how long a checksum is.
const CRCSize = 4

// CRC is the checksum of files that are no bbolt ones.
func CRC(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func checksum(key, framed []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, framed)
}

// Frame closes a frame that was begun with its version byte.
func Frame(key, begun []byte) []byte {
	return binary.BigEndian.AppendUint32(begun, checksum(key, begun))
}

// Decode checks a frame and returns a decoder of its body.
func Decode(key, value []byte) (*Decoder, error) {
	body, err := Unframe(key, value)
	if err != nil {
		return nil, err
	}
	return NewDecoder(body), nil
}

// Unframe checks a frame and returns its body.
func Unframe(key, value []byte) ([]byte, error) {
	n := len(value) - CRCSize
	if n < 1 {
		return nil, fmt.Errorf("%w: %d bytes", durable.ErrDamaged, len(value))
	}
	if binary.BigEndian.Uint32(value[n:]) != checksum(key, value[:n]) {
		return nil, fmt.Errorf("%w: wrong checksum", durable.ErrDamaged)
	}
	if v := value[0]; v > Version {
		return nil, fmt.Errorf("%w (record version %d, this one knows %d)", durable.ErrNewer, v, Version)
	}
	return value[1:n], nil
}

// Encoder begins a frame and appends fields to it.
type Encoder struct{ b []byte }

// NewEncoder returns an encoder for a body of about size bytes.
func NewEncoder(size int) *Encoder {
	return &Encoder{b: append(make([]byte, 0, size+1+CRCSize), Version)}
}

func (e *Encoder) Byte(v byte)      { e.b = append(e.b, v) }
func (e *Encoder) Uint(v uint64)    { e.b = binary.AppendUvarint(e.b, v) }
func (e *Encoder) Int(v int64)      { e.b = binary.AppendVarint(e.b, v) }
func (e *Encoder) fixed(v []byte)   { e.b = append(e.b, v...) }
func (e *Encoder) Time(t time.Time) { e.Int(t.UnixMicro()) }

func (e *Encoder) Text(s string) {
	e.Uint(uint64(len(s)))
	e.b = append(e.b, s...)
}

// Begun returns the frame without its end.
func (e *Encoder) Begun() []byte { return e.b }

// Frame closes the frame.
func (e *Encoder) Frame(key []byte) []byte { return Frame(key, e.b) }

// Decoder reads fields back. After the first error it returns zero values; the
// error is asked for once, at the end.
type Decoder struct {
	b   []byte
	err error
}

// NewDecoder reads a body that was decrypted or unframed.
func NewDecoder(body []byte) *Decoder { return &Decoder{b: body} }

// Fail makes what the error, if it is the first.
func (d *Decoder) Fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", durable.ErrDamaged, what)
	}
	d.b = nil
}

// take returns the next n bytes without copying them; nil if there are fewer.
func (d *Decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.Fail("cut off")
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *Decoder) Byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *Decoder) Uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.Fail("bad number")
		return 0
	}
	d.b = d.b[n:]
	return v
}

// Count returns how many of something follow, each of which takes a byte at least.
func (d *Decoder) Count() uint64 {
	n := d.Uint()
	if n > uint64(len(d.b)) {
		d.Fail("cut off")
		return 0
	}
	return n
}

func (d *Decoder) Int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.Fail("bad number")
		return 0
	}
	d.b = d.b[n:]
	return v
}

// bytes returns the next text without copying it.
func (d *Decoder) bytes() []byte { return d.take(d.Uint()) }

func (d *Decoder) Text() string    { return string(d.bytes()) }
func (d *Decoder) Time() time.Time { return time.UnixMicro(d.Int()).UTC() }

// More reports whether there are fields left.
func (d *Decoder) More() bool { return len(d.b) > 0 }

// Done returns the first error; bytes left over are one too.
func (d *Decoder) Done() error {
	if d.err == nil && len(d.b) > 0 {
		d.Fail("bytes left over")
	}
	return d.err
}

// Key is the key of a sequence number: big endian, so that order by bytes
// is order by number.
func Key(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

// Seq reads the number of a key.
func Seq(key []byte) uint64 { return binary.BigEndian.Uint64(key) }
