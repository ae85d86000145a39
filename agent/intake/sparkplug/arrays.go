package sparkplug

import (
	"encoding/binary"
	"math"
	"strings"

	"scanrelay/agent/intake/decode"
)

// maxCells bounds the cells of one data set and the elements of one array.
const maxCells = 100_000

// dataSet reads a data set as an array of its rows, each an object by the names of
// its columns.
func dataSet(b []byte) decode.Node {
	broken := decode.NewUnreadable("a broken data set")
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
			columns = append(columns, string(f.bytes))
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
	}
	if len(rows)*len(columns) > maxCells || len(types) > len(columns) {
		return broken
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
	return m.Value(datatype)
}

// array reads a metric's array: numbers in little endian, truth values as bits
// behind their count, texts that each end with a zero byte.
func array(b []byte, datatype uint32) decode.Node {
	if len(b) > maxCells*8 {
		return decode.NewUnreadable("an array that is too long")
	}
	var kids []decode.Node
	switch datatype {
	case typeStringArray:
		if len(b) == 0 {
			break
		}
		for _, text := range strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00") {
			kids = append(kids, decode.NewString(text))
		}
	case typeBooleanArray:
		if len(b) < 4 || uint64(binary.LittleEndian.Uint32(b)) > uint64(len(b)-4)*8 {
			return decode.NewUnreadable("a broken array")
		}
		for i := range binary.LittleEndian.Uint32(b) {
			kids = append(kids, decode.NewBool(b[4+i/8]&(0x80>>(i%8)) != 0))
		}
	default:
		return numbers(b, datatype)
	}
	return decode.NewArray(kids)
}

func numbers(b []byte, datatype uint32) decode.Node {
	size := map[uint32]int{typeFloatArray: 4, typeDoubleArray: 8, typeTimeArray: 8}[datatype]
	scalar := uint32(0)
	if datatype <= typeUInt64Array {
		scalar = datatype - typeInt8Array + typeInt8
		size = 1 << ((scalar - typeInt8) % 4)
	}
	if len(b)%size != 0 {
		return decode.NewUnreadable("a broken array")
	}
	kids := make([]decode.Node, 0, len(b)/size)
	for ; len(b) > 0; b = b[size:] {
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
	return decode.NewArray(kids)
}
