package decode

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"regexp"
	"strings"
	"unicode/utf16"
)

// framing is what devices put around a read: control characters (STX, ETX, CR,
// LF, GS …), blanks and the byte order mark's character.
func framing(r rune) bool {
	return r <= ' ' || r == 0x7f || r == '\ufeff'
}

// Strip removes framing bytes and blanks around a payload.
func Strip(b []byte) []byte { return bytes.TrimFunc(b, framing) }

// StripText removes framing characters and blanks around a text.
func StripText(s string) string { return strings.TrimFunc(s, framing) }

// Lines splits a text at CR, LF, STX and ETX and returns what is not empty
// after Strip.
func Lines(payload []byte) [][]byte {
	var lines [][]byte
	for _, line := range bytes.FieldsFunc(payload, func(r rune) bool {
		return r == '\r' || r == '\n' || r == 0x02 || r == 0x03
	}) {
		if line = Strip(line); len(line) > 0 {
			lines = append(lines, line)
		}
	}
	return lines
}

// Parts cuts a line where between matches, and returns what is not empty after
// Strip. False: that is at more than MaxLines places.
func Parts(line []byte, between *regexp.Regexp) (parts [][]byte, ok bool) {
	add := func(part []byte) {
		if part = Strip(part); len(part) > 0 {
			parts = append(parts, part)
		}
	}
	begin, places := 0, between.FindAllIndex(line, MaxLines+1)
	if len(places) > MaxLines {
		return nil, false
	}
	for _, at := range places {
		add(line[begin:at[0]])
		begin = at[1]
	}
	add(line[begin:])
	return parts, true
}

// UTF8 returns a text that begins with the byte order mark of UTF-16 as UTF-8, and
// anything else as it is.
func UTF8(b []byte) []byte {
	if len(b) < 4 || len(b)%2 != 0 {
		return b
	}
	var order binary.ByteOrder
	switch {
	case b[0] == 0xff && b[1] == 0xfe:
		order = binary.LittleEndian
	case b[0] == 0xfe && b[1] == 0xff:
		order = binary.BigEndian
	default:
		return b
	}
	units := make([]uint16, 0, len(b)/2)
	for i := 2; i < len(b); i += 2 {
		units = append(units, order.Uint16(b[i:]))
	}
	text := string(utf16.Decode(units))
	if strings.ContainsRune(text, '\ufffd') {
		return b
	}
	return []byte(text)
}

// delimiters of CSV in the order in which they are tried.
const delimiters = ",;\t|"

// Row reads one CSV line into an object of the named columns. The delimiter is
// the first of comma, semicolon, tab and bar that yields as many cells as there
// are names; else the comma. Cells without a name are left out, names without
// a cell are missing.
func Row(line []byte, columns []string) (Node, error) {
	cells, err := cellsOf(line, len(columns))
	if err != nil {
		return Node{}, err
	}
	var keys []string
	var kids []Node
	for i, name := range columns {
		if name == "" || i >= len(cells) {
			continue
		}
		keys = append(keys, name)
		kids = append(kids, NewString(StripText(cells[i])))
	}
	return NewObject(keys, kids), nil
}

func cellsOf(line []byte, want int) ([]string, error) {
	for _, d := range delimiters {
		if cells, err := cut(line, d); err == nil && len(cells) >= want {
			return cells, nil
		}
	}
	return cut(line, ',')
}

func cut(line []byte, delimiter rune) ([]string, error) {
	r := csv.NewReader(bytes.NewReader(line))
	r.Comma = delimiter
	r.LazyQuotes = true
	r.FieldsPerRecord = -1
	return r.Read()
}
