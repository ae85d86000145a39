package sparkplug

import (
	"encoding/binary"
	"errors"
)

// Protocol Buffers' wire format, as far as Sparkplug B needs it.

var errProto = errors.New("broken Protocol Buffers")

// wire is what a field's value is made of.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

// protoField is one field: its number, and its value as a number or as bytes.
type protoField struct {
	number uint64
	wire   uint64
	value  uint64
	bytes  []byte
}

// nextField reads one field and returns what follows it.
func nextField(b []byte) (f protoField, rest []byte, err error) {
	tag, n := binary.Uvarint(b)
	if n <= 0 || tag>>3 == 0 {
		return f, nil, errProto
	}
	b = b[n:]
	f.number, f.wire = tag>>3, tag&7
	switch f.wire {
	case wireVarint:
		if f.value, n = binary.Uvarint(b); n <= 0 {
			return f, nil, errProto
		}
	case wireFixed64:
		if n = 8; len(b) < n {
			return f, nil, errProto
		}
		f.value = binary.LittleEndian.Uint64(b)
	case wireFixed32:
		if n = 4; len(b) < n {
			return f, nil, errProto
		}
		f.value = uint64(binary.LittleEndian.Uint32(b))
	case wireBytes:
		length, m := binary.Uvarint(b)
		if m <= 0 || length > uint64(len(b)-m) {
			return f, nil, errProto
		}
		n = m + int(length)
		f.bytes = b[m:n]
	default:
		return f, nil, errProto
	}
	return f, b[n:], nil
}

// appendNumber writes a field that is a number.
func appendNumber(b []byte, number, value uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, number<<3|wireVarint), value)
}

// appendBytes writes a field of bytes.
func appendBytes(b []byte, number uint64, value []byte) []byte {
	b = binary.AppendUvarint(b, number<<3|wireBytes)
	return append(binary.AppendUvarint(b, uint64(len(value))), value...)
}
