package cli

import (
	"bytes"
	"strings"
	"testing"
)

func TestTableOnATerminal(t *testing.T) {
	var b bytes.Buffer
	tb := &Table{Head: []string{"WHAT", "TEXT"}}
	tb.Add("到件", "一二三四五六七八九十")
	tb.Add("push", "a\x1b[2Jb\nc")
	if err := tb.Print(IO{Out: &b, Terminal: true, Width: 20}); err != nil {
		t.Fatal(err)
	}
	want := "\x1b[1mWHAT  TEXT\x1b[0m\n到件  一二三四五六…\npush  a [2Jb c\n"
	if b.String() != want {
		t.Errorf("got\n%q\nwant\n%q", b.String(), want)
	}
	for _, line := range strings.Split(b.String(), "\n")[1:] {
		if cells(line) > 20 {
			t.Errorf("%q takes %d cells", line, cells(line))
		}
	}
}

func TestTableInAPipe(t *testing.T) {
	var b bytes.Buffer
	tb := &Table{Head: []string{"WHAT", "TEXT"}}
	tb.Add("到件", "tab\tand\nline")
	if err := tb.Print(IO{Out: &b}); err != nil {
		t.Fatal(err)
	}
	if b.String() != "到件\ttab and line\n" {
		t.Errorf("%q", b.String())
	}
}

func TestCells(t *testing.T) {
	for text, want := range map[string]int{"": 0, "abc": 3, "中文": 4, "é": 1, "e\u0301": 1, "【杭州】": 8, "，": 2, "한": 2, "🚚": 2} {
		if got := cells(text); got != want {
			t.Errorf("cells(%q) = %d, want %d", text, got, want)
		}
	}
}
