package textfile

import (
	"bytes"
	"errors"
	"unicode/utf8"
)

// What text is that is no UTF-8.
var (
	errUTF16 = errors.New("is UTF-16: save it as UTF-8")
	errGBK   = errors.New("is GBK (which some editors call ANSI): save it as UTF-8")
	errOther = errors.New("is no UTF-8: save it as UTF-8")
)

// UTF8 returns data without a byte order mark, or the line, counted from 1, in which
// it is no UTF-8, and what it seems to be.
func UTF8(data []byte) (text []byte, line int, err error) {
	text = bytes.TrimPrefix(data, []byte("\ufeff"))
	at := 0
	for at < len(text) && text[at] != 0 {
		r, n := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		at += n
	}
	line = 1 + bytes.Count(text[:at], []byte("\n"))
	switch {
	case at == len(text):
		return text, 0, nil
	case bytes.HasPrefix(text, []byte("\xff\xfe")), bytes.HasPrefix(text, []byte("\xfe\xff")), text[at] == 0:
		return nil, line, errUTF16
	case utf8.RuneCount(text[:at]) == at && gbk(text[at:]): // and all before is ASCII
		return nil, line, errGBK
	}
	return nil, line, errOther
}

// gbk reports whether whatever is not ASCII comes in pairs as in GBK.
func gbk(text []byte) bool {
	for i := 0; i < len(text); i++ {
		if text[i] < utf8.RuneSelf {
			continue
		}
		if i++; i == len(text) || text[i-1] == 0x80 || text[i-1] == 0xff || text[i] < 0x40 || text[i] == 0x7f || text[i] == 0xff {
			return false
		}
	}
	return true
}
