package sparkplug

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"

	"scanrelay/agent/intake/decode"
)

// Bounds of what the metrics of one payload hold, all together: a value takes a
// hundred times what a bit of an array or an empty cell does on the way, and a name
// that is said once, in a birth or for a column, stands beside each of its values.
const (
	maxValues = 100_000 // within metrics: elements, members, columns, rows and cells
	maxNames  = 2 << 20 // bytes of such names
)

// room is what the rest of a payload may still hold. What finds none takes none.
type room struct{ values, names int64 }

func newRoom() *room { return &room{maxValues, maxNames} }

func (r *room) take(values, names int64) bool {
	if values > r.values || names > r.names {
		return false
	}
	r.values, r.names = r.values-values, r.names-names
	return true
}

// tooMany is a value for which there is no room.
func tooMany(what string) decode.Node {
	return decode.NewUnreadable(what + ", with which the message has more values than can be read")
}

// dataSet reads a data set as an array of its rows, each an object by the names of
// its columns.
func (r *room) dataSet(b []byte) decode.Node {
	broken := decode.NewUnreadable("a broken data set")
	var named int64
	var columns []string
	var types []uint32
	var rows [][]byte
	for len(b) > 0 {
		var f protoField
		var err error
		if f, b, err = nextField(b); err != nil {
			return broken
		}
		switch {
		case f.number == 2 && f.wire == wireBytes:
			columns, named = append(columns, string(f.bytes)), named+int64(len(f.bytes))
		case f.number == 3 && f.wire == wireVarint:
			types = append(types, uint32(f.value))
		case f.number == 3 && f.wire == wireBytes: // packed
			for packed := f.bytes; len(packed) > 0; {
				v, n := binary.Uvarint(packed)
				if n <= 0 {
					return broken
				}
				types, packed = append(types, uint32(v)), packed[n:]
			}
		case f.number == 4 && f.wire == wireBytes:
			rows = append(rows, f.bytes)
		}
		if int64(len(rows)+len(columns)) > r.values {
			return tooMany("a data set")
		}
	}
	if len(types) > len(columns) {
		return broken
	}
	n, m := int64(len(rows)), int64(len(columns))
	if !r.take(n+m+n*m, n*named) {
		return tooMany("a data set")
	}
	kids := make([]decode.Node, 0, len(rows))
	for _, row := range rows {
		cells, ok := rowOf(row, len(columns), types)
		if !ok {
			return broken
		}
		kids = append(kids, decode.NewObject(columns[:len(cells)], cells))
	}
	return decode.NewArray(kids)
}

// rowOf reads one row's cells, of which there are no more than columns.
func rowOf(b []byte, columns int, types []uint32) (cells []decode.Node, ok bool) {
	for len(b) > 0 {
		f, rest, err := nextField(b)
		if err != nil {
			return nil, false
		}
		if b = rest; f.number != 1 || f.wire != wireBytes {
			continue
		}
		if len(cells) >= columns {
			return nil, false
		}
		datatype := uint32(0)
		if len(cells) < len(types) {
			datatype = types[len(cells)]
		}
		cells = append(cells, cell(f.bytes, datatype))
	}
	return cells, true
}

// cell reads one value of a data set; its fields are a metric's from 10 on, of
// which it has no bytes.
func cell(b []byte, datatype uint32) decode.Node {
	if len(b) == 0 {
		return decode.Node{}
	}
	f, rest, err := nextField(b)
	value := f.number + 9
	if err != nil || len(rest) > 0 || f.number == 0 || f.number > 6 || wires[value] != f.wire {
		return decode.NewUnreadable("a value that no data set has")
	}
	m := Metric{field: value, bits: f.value, bytes: f.bytes}
	return m.scalar(datatype)
}

// array reads a metric's array: numbers in little endian, truth values as bits
// behind their count, texts that each end with a zero byte.
func (r *room) array(b []byte, datatype uint32) decode.Node {
	n, ok := elements(b, datatype)
	switch {
	case !ok:
		return decode.NewUnreadable("a broken array")
	case !r.take(n, 0):
		return tooMany("an array")
	}
	kids := make([]decode.Node, 0, n)
	switch datatype {
	case typeStringArray:
		for text := range strings.SplitSeq(strings.TrimSuffix(string(b), "\x00"), "\x00") {
			if n > 0 {
				kids = append(kids, decode.NewString(text))
			}
		}
	case typeBooleanArray:
		for i := range n {
			kids = append(kids, decode.NewBool(b[4+i/8]&(0x80>>(i%8)) != 0))
		}
	default:
		kids = numbers(kids, b, datatype)
	}
	return decode.NewArray(kids)
}

// elements counts those of an array; false: it is broken.
func elements(b []byte, datatype uint32) (n int64, ok bool) {
	length := int64(len(b))
	switch datatype {
	case typeStringArray:
		if n = int64(bytes.Count(b, []byte{0})); length > 0 && b[length-1] != 0 {
			n++
		}
		return n, true
	case typeBooleanArray:
		if length < 4 {
			return 0, false
		}
		n = int64(binary.LittleEndian.Uint32(b))
		return n, n <= (length-4)*8
	default:
		size := int64(size(datatype))
		return length / size, length%size == 0
	}
}

// size is how many bytes a number takes in an array.
func size(datatype uint32) int {
	switch {
	case datatype <= typeUInt64Array:
		return 1 << ((datatype - typeInt8Array) % 4)
	case datatype == typeFloatArray:
		return 4
	default:
		return 8
	}
}

func numbers(kids []decode.Node, b []byte, datatype uint32) []decode.Node {
	scalar := uint32(0)
	if datatype <= typeUInt64Array {
		scalar = datatype - typeInt8Array + typeInt8
	}
	for size := size(datatype); len(b) > 0; b = b[size:] {
		var word [8]byte
		copy(word[:], b[:size])
		bits := binary.LittleEndian.Uint64(word[:])
		switch datatype {
		case typeFloatArray:
			kids = append(kids, float(float64(math.Float32frombits(uint32(bits))), 32))
		case typeDoubleArray:
			kids = append(kids, float(math.Float64frombits(bits), 64))
		default:
			kids = append(kids, integer(bits, scalar))
		}
	}
	return kids
}
