package decode

import (
	"bytes"
	"strings"
	"testing"
)

func TestLines(t *testing.T) {
	for payload, want := range map[string]string{
		"78636098066239":              "78636098066239",
		"773194917396313\r\n":         "773194917396313",
		"\x02YT6900634716900\x03":     "YT6900634716900",
		"\x02A\x03\x02B\x03\r\n":      "A|B",
		"A\r\n\r\n  B  \rC\x00":       "A|B|C",
		"\ufeffA":                     "A",
		" \r\n\x02\x03":               "",
		"(C082E100D091)A123456A\r":    "(C082E100D091)A123456A",
		"\x1d0106901234567892\x1d10A": "0106901234567892\x1d10A",
	} {
		if got := string(bytes.Join(Lines([]byte(payload)), []byte("|"))); got != want {
			t.Errorf("%q: %q, want %q", payload, got, want)
		}
	}
}

func TestRow(t *testing.T) {
	for line, want := range map[string]string{
		`YT1,GOT,2023`:            `{"code":"YT1","what":"GOT"}`,
		`YT1;GOT;2023`:            `{"code":"YT1","what":"GOT"}`,
		"YT1\tGOT\t2023\tmore":    `{"code":"YT1","what":"GOT"}`,
		`"YT1","GO,T",x`:          `{"code":"YT1","what":"GO,T"}`,
		`YT1`:                     `{"code":"YT1"}`,
		` YT1 , "GOT , 2023`:      `{"code":"YT1","what":"\"GOT"}`,
		`7,8|9`:                   `{"code":"7","what":"8|9"}`,
		`"unclosed`:               `{"code":"unclosed"}`,
		`a"b,c`:                   `{"code":"a\"b","what":"c"}`,
		"\"tab\"\t\"sep\"\t\"3\"": `{"code":"tab","what":"sep"}`,
	} {
		n, err := Row([]byte(line), []string{"code", "what", ""})
		if err != nil || string(n.Raw()) != want {
			t.Errorf("%q: %s %v, want %s", line, n.Raw(), err, want)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add([]byte("a,b\r\n\x02c;d\x03"))
	f.Add([]byte("\"a\nb\",'"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		for _, line := range Lines(payload) {
			if len(Strip(line)) != len(line) || bytes.ContainsAny(line, "\r\n\x02\x03") {
				t.Errorf("line %q is not stripped", line)
			}
			n, err := Row(line, []string{"a", "", "c"})
			if err == nil && strings.Contains(string(n.Raw()), "\n") {
				t.Errorf("row %q has a line end", n.Raw())
			}
		}
	})
}
