package decode

import (
	"bytes"
	"compress/flate"
	"flag"
	"os"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"
)

var update = flag.Bool("update", false, "write gbk.bin anew")

// The table is that of golang.org/x/text, which has it from the Encoding Standard.
func TestGBKTable(t *testing.T) {
	var high, low []byte
	for lead := gbkLead; lead <= gbkLastLead; lead++ {
		for trail := gbkTrail; trail <= gbkLastTrail; trail++ {
			if trail == 0x7f {
				continue
			}
			text, err := simplifiedchinese.GBK.NewDecoder().Bytes([]byte{byte(lead), byte(trail)})
			r, size := utf8.DecodeRune(text)
			if err != nil || r == utf8.RuneError || size != len(text) {
				r = 0
			}
			high, low = append(high, byte(r>>8)), append(low, byte(r))
			if *update {
				continue
			}
			if got := gbkPair(byte(lead), byte(trail)); got != r {
				t.Errorf("% x is %q, want %q", []byte{byte(lead), byte(trail)}, got, r)
			}
		}
	}
	if !*update {
		return
	}
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestCompression)
	if err == nil {
		_, err = w.Write(append(high, low...))
	}
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		err = os.WriteFile("gbk.bin", packed.Bytes(), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestGBK(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "YT69\r\n": "YT69\r\n",
		"\xba\xbc\xd6\xdd\xd7\xaa\xd4\xcb\xd6\xd0\xd0\xc4": "杭州转运中心",
		`{"name":"` + "\xe5\x5c" + `"}`:                    `{"name":"錦"}`, // its second byte is a backslash
		"\xa1\xbe\xa1\xbf":                                 "【】",
	} {
		if got, ok := GBK([]byte(in)); !ok || string(got) != want {
			t.Errorf("%q is %q %v, want %q", in, got, ok, want)
		}
	}
	for _, in := range []string{"\xba", "YT\x80", "\xff\xff", "\xba\x7f", "\xba\x20", "\xfe\xa4", "\x81\x30\x81\x30"} {
		if got, ok := GBK([]byte(in)); ok {
			t.Errorf("%q is %q", in, got)
		}
	}
}

func FuzzGBK(f *testing.F) {
	f.Add([]byte("\xba\xbc\xd6\xdd YT1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		text, ok := GBK(b)
		want, err := simplifiedchinese.GBK.NewDecoder().Bytes(b)
		if ok && (err != nil || !bytes.Equal(text, want)) {
			t.Errorf("%q is %q, want %q", b, text, want)
		}
		if !ok && !bytes.ContainsRune(want, utf8.RuneError) && !bytes.ContainsRune(want, '€') {
			t.Errorf("%q is refused, but is %q", b, want)
		}
	})
}
