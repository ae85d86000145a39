package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode"
)

// Table prints rows in columns: aligned and cut to the width on a terminal,
// tab-separated in a pipe.
type Table struct {
	Head []string
	Rows [][]string
}

// Add adds a row.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// Print writes the table to Out.
func (t *Table) Print(s IO) error {
	if !s.Terminal {
		return t.plain(s.Out)
	}
	widths := make([]int, len(t.Head))
	for _, row := range append([][]string{t.Head}, t.Rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], cells(cell))
		}
	}
	if strings.Join(t.Head, "") != "" {
		if err := t.line(s, t.Head, widths, true); err != nil {
			return err
		}
	}
	for _, row := range t.Rows {
		if err := t.line(s, row, widths, false); err != nil {
			return err
		}
	}
	return nil
}

func (t *Table) line(s IO, row []string, widths []int, head bool) error {
	var b strings.Builder
	for i, cell := range row {
		cell = Visible(cell)
		b.WriteString(cell)
		if i < len(row)-1 {
			b.WriteString(strings.Repeat(" ", widths[i]-cells(cell)+2))
		}
	}
	text := strings.TrimRight(cut(b.String(), s.Width), " ")
	if head {
		text = "\x1b[1m" + text + "\x1b[0m"
	}
	_, err := fmt.Fprintln(s.Out, text)
	return err
}

func (t *Table) plain(w io.Writer) error {
	for _, row := range t.Rows {
		for i := range row {
			row[i] = Visible(row[i])
		}
		if _, err := fmt.Fprintln(w, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return nil
}

// Visible puts a blank in the place of what would move the cursor: texts come
// from scanners and from WeChat.
func Visible(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.In(r, unicode.Cf) {
			return ' '
		}
		return r
	}, s)
}

// cells is how many terminal cells a text takes: CJK takes two each.
func cells(s string) (n int) {
	for _, r := range s {
		n += cellsOf(r)
	}
	return n
}

func cellsOf(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case r >= 0x1100 && r <= 0x115f, // Hangul Jamo
		r >= 0x2e80 && r <= 0x303e, r >= 0x3041 && r <= 0x33ff, // CJK signs, kana
		r >= 0x3400 && r <= 0x4dbf, r >= 0x4e00 && r <= 0x9fff, // Han
		r >= 0xa000 && r <= 0xa4cf, r >= 0xac00 && r <= 0xd7a3,
		r >= 0xf900 && r <= 0xfaff, r >= 0xfe30 && r <= 0xfe6f,
		r >= 0xff00 && r <= 0xff60, r >= 0xffe0 && r <= 0xffe6, // full-width forms
		r >= 0x1f300 && r <= 0x1faff, r >= 0x20000 && r <= 0x3fffd:
		return 2
	}
	return 1
}

// cut shortens a line to width cells; 0 is as long as it is.
func cut(s string, width int) string {
	if width <= 0 || cells(s) <= width {
		return s
	}
	n := 0
	for i, r := range s {
		if n+cellsOf(r) > width-1 {
			return s[:i] + "…"
		}
		n += cellsOf(r)
	}
	return s
}

// Pad fills a text up to width cells.
func Pad(s string, width int) string {
	for n := cells(s); n < width; n++ {
		s += " "
	}
	return s
}
