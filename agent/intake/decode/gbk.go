package decode

import (
	"bytes"
	"compress/flate"
	_ "embed" // for the table
	"io"
	"sync"
	"unicode/utf8"
)

// gbkPacked is GBK's table, packed: for each pair of bytes, in their order, the
// high byte of its character, then for each the low one; 0 is none. As it stands
// it takes 18 KB of the gateway's binary, and 47 KB of memory once somebody
// sends GBK; golang.org/x/text, from which the test makes it, takes 147 KB.
//
//go:embed gbk.bin
var gbkPacked []byte

// The pairs of GBK: 126 first bytes, each with 190 second ones.
const (
	gbkLead, gbkLastLead   = 0x81, 0xfe
	gbkTrail, gbkLastTrail = 0x40, 0xfe
	gbkRow                 = gbkLastTrail - gbkTrail // 0x7f is none
	gbkPairs               = (gbkLastLead - gbkLead + 1) * gbkRow
)

var gbkTable = sync.OnceValue(func() []byte {
	table := make([]byte, 2*gbkPairs)
	if _, err := io.ReadFull(flate.NewReader(bytes.NewReader(gbkPacked)), table); err != nil {
		panic("the table of GBK is broken: " + err.Error()) // it is part of the program
	}
	return table
})

// GBK returns a text in GBK, which holds GB 2312 and ASCII, as UTF-8. False if
// something in it is none of GBK's characters.
func GBK(b []byte) ([]byte, bool) {
	out := make([]byte, 0, len(b)+len(b)/2)
	for i := 0; i < len(b); i++ {
		if b[i] < 0x80 {
			out = append(out, b[i])
			continue
		}
		if i++; i == len(b) {
			return nil, false
		}
		r := gbkPair(b[i-1], b[i])
		if r == 0 {
			return nil, false
		}
		out = utf8.AppendRune(out, r)
	}
	return out, true
}

// gbkPair returns the character of a pair; 0 if it is none.
func gbkPair(lead, trail byte) rune {
	if lead < gbkLead || lead > gbkLastLead || trail < gbkTrail || trail > gbkLastTrail || trail == 0x7f {
		return 0
	}
	at := int(lead-gbkLead)*gbkRow + int(trail-gbkTrail)
	if trail > 0x7f {
		at--
	}
	table := gbkTable()
	return rune(table[at])<<8 | rune(table[gbkPairs+at])
}
