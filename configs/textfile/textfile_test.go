package textfile

import (
	"encoding/binary"
	"testing"
	"unicode/utf16"
)

func inUTF16(text string, order binary.ByteOrder) string {
	var out []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		out = append(out, 0, 0)
		order.PutUint16(out[len(out)-2:], unit)
	}
	return string(out)
}

func TestEncodings(t *testing.T) {
	for _, row := range []struct {
		name, in, text string
		line           int
		err            error
	}{
		{"empty", "", "", 0, nil},
		{"ascii", "a: b\n", "a: b\n", 0, nil},
		{"chinese", "a: 杭州\n", "a: 杭州\n", 0, nil},
		{"byte order mark", "\ufeffa: 杭州\r\n", "a: 杭州\r\n", 0, nil},
		{"a lost character", "a: \ufffd\n", "a: \ufffd\n", 0, nil},
		{"gbk", "a: b\nc: \xba\xbc\xd6\xdd\n", "", 2, errGBK},
		{"gbk in utf-8", "a: 杭州\nc: \xba\xbc\n", "", 2, errOther},
		{"latin-1", "a: b\nc: d\xe9\n", "", 2, errOther},
		{"utf-8 cut", "杭\xe5", "", 1, errOther},
		{"utf-16", "\ufeff", "", 0, nil},
		{"utf-16 little", inUTF16("\ufeffa: 杭州\n", binary.LittleEndian), "", 1, errUTF16},
		{"utf-16 big", inUTF16("\ufeffa: 杭州\n", binary.BigEndian), "", 1, errUTF16},
		{"utf-16 without mark", inUTF16("a: b\n", binary.LittleEndian), "", 1, errUTF16},
		{"utf-16 without ascii", inUTF16("\ufeff杭州", binary.LittleEndian), "", 1, errUTF16},
	} {
		text, line, err := UTF8([]byte(row.in))
		if string(text) != row.text || line != row.line || err != row.err {
			t.Errorf("%s: %q, line %d, %v", row.name, text, line, err)
		}
	}
}
