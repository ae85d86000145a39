package decode

import (
	"testing"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"
)

func TestGBK(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "YT69\r\n": "YT69\r\n",
		"\xba\xbc\xd6\xdd\xd7\xaa\xd4\xcb\xd6\xd0\xd0\xc4": "杭州转运中心",
		`{"name":"` + "\xe5\x5c" + `"}`:                    `{"name":"錦"}`, // its second byte is a backslash
		"\xa1\xbe\xa1\xbf":                                 "【】",
		"\x80":                                             "€", // as Windows has it
		"\x82\x35\x87\x38":                                 "䶵", // GB 18030 alone has this one
	} {
		if got, ok := GBK([]byte(in)); !ok || string(got) != want {
			t.Errorf("%q is %q %v, want %q", in, got, ok, want)
		}
	}
	for _, in := range []string{"\xba", "\xff\xff", "\xba\x7f", "\xba\x20", "\x81\x30\x81"} {
		if got, ok := GBK([]byte(in)); ok {
			t.Errorf("%q is %q", in, got)
		}
	}
}

// What is taken is text, whatever bytes come; what is said in GBK is understood.
func FuzzGBK(f *testing.F) {
	f.Add([]byte("\xba\xbc\xd6\xdd YT1"))
	f.Add([]byte("\x81\x30\x81\x30"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if text, ok := GBK(b); ok && !utf8.Valid(text) {
			t.Fatalf("%q is %q", b, text)
		}
		said, err := simplifiedchinese.GBK.NewEncoder().Bytes(b)
		if err != nil {
			return // not all of it can be said in GBK
		}
		if text, ok := GBK(said); !ok || string(text) != string(b) {
			t.Fatalf("%q in GBK is %q, and read as %q %v", b, said, text, ok)
		}
	})
}
