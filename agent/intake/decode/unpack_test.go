package decode

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"
)

func packed(t testing.TB, s string, w io.WriteCloser, b *bytes.Buffer) []byte {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t testing.TB, s string) []byte {
	var b bytes.Buffer
	return packed(t, s, gzip.NewWriter(&b), &b)
}

func zlibbed(t testing.TB, s string) []byte {
	var b bytes.Buffer
	return packed(t, s, zlib.NewWriter(&b), &b)
}

func deflated(t testing.TB, s string) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	return packed(t, s, w, &b)
}

func TestUnpack(t *testing.T) {
	const limit = 1000
	long := strings.Repeat("x", limit+1)
	for name, c := range map[string]struct {
		packed []byte
		how    string
		plain  string
		err    error
	}{
		"gzip":                     {gzipped(t, "YT1"), "gzip", "YT1", nil},
		"zlib":                     {zlibbed(t, "YT1"), "zlib", "YT1", nil},
		"two gzips":                {append(gzipped(t, "YT1"), gzipped(t, "YT2")...), "gzip", "YT1YT2", nil},
		"gzip in a longer buffer":  {append(gzipped(t, "YT1"), 0, 0, 0, 0, 0), "gzip", "YT1", nil},
		"gzip and something else":  {append(gzipped(t, "YT1"), 'x'), "gzip", "", io.ErrUnexpectedEOF},
		"as long as may be":        {gzipped(t, long[1:]), "gzip", long[1:], nil},
		"too long":                 {gzipped(t, long), "gzip", "", ErrUnpacked},
		"too long in zlib":         {zlibbed(t, long), "zlib", "", ErrUnpacked},
		"gzip that ends too early": {gzipped(t, "YT1")[:15], "gzip", "", io.ErrUnexpectedEOF},
		"deflate":                  {deflated(t, "{\"c\":\"YT6900634716900\",\"z\":\"杭州\"}\r\n"), "deflate", "{\"c\":\"YT6900634716900\",\"z\":\"杭州\"}\r\n", nil},
		"deflate in a buffer":      {append(deflated(t, "YT6900634716900"), 0, 0, 0), "deflate", "YT6900634716900", nil},
		"deflate and more":         {append(deflated(t, "YT6900634716900"), 'x'), "", "", nil},
		"deflate too early":        {deflated(t, "YT6900634716900")[:9], "", "", nil},
		"deflate of bytes":         {deflated(t, "\x00\x01YT6900634716900"), "", "", nil},
		"too long in deflate":      {deflated(t, long), "deflate", "", ErrUnpacked},
		"GBK":                      {[]byte("\xba\xbc\xd6\xdd,YT6900634716900"), "", "", nil},
		"a text":                   {[]byte("x^YT6900634716900"), "", "", nil}, // begins as zlib may
		"zlib that ends too early": {zlibbed(t, "YT1")[:9], "", "", nil},
		"nothing":                  {nil, "", "", nil},
	} {
		plain, how, err := Unpack(c.packed, limit)
		if how != c.how || !errors.Is(err, c.err) || (err == nil) != (c.err == nil) || err == nil && how != "" && string(plain) != c.plain {
			t.Errorf("%s: %q, %q, %v", name, plain, how, err)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(gzipped(f, "YT1"))
	f.Add(zlibbed(f, "YT1"))
	f.Add(deflated(f, "YT6900634716900"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if plain, _, err := Unpack(b, 1000); err == nil && len(plain) > 1000 {
			t.Errorf("%d bytes", len(plain))
		}
	})
}

// BenchmarkUnpackManyMembers is the worst message: gzip in its smallest pieces, and as
// many zeros behind them.
func BenchmarkUnpackManyMembers(b *testing.B) {
	var one bytes.Buffer
	if err := gzip.NewWriter(&one).Close(); err != nil {
		b.Fatal(err)
	}
	all := bytes.Repeat(one.Bytes(), (512<<10)/one.Len())
	all = append(all, make([]byte, 512<<10)...)
	for b.Loop() {
		if _, _, err := Unpack(all, 1<<20); err != nil {
			b.Fatal(err)
		}
	}
}

// What is unpacked in vain counts as well: many such values would keep a processor busy.
func TestUnpackingInVainIsWork(t *testing.T) {
	long := strings.Repeat("x", maxUnpacked-1000)
	for name, b := range map[string][]byte{
		"a bomb":                    gzipped(t, long+long),
		"gzip that ends too early":  gzipped(t, long)[:4000],
		"zlib that ends too early":  zlibbed(t, long)[:4000],
		"deflate that is no text":   deflated(t, long[:1<<20]+"\x00"),
		"deflate with more behind":  append(deflated(t, long[:1<<20]), 'x'),
		"JSON's text in a bomb too": gzipped(t, `"`+long),
	} {
		n := Node{Kind: String, text: base64.StdEncoding.EncodeToString(b), tree: newTree(false)}
		if n.Inside() != &n || n.tree.bytes > maxUnpacked-1<<20 {
			t.Errorf("%s: %d bytes may still come", name, n.tree.bytes)
		}
	}
}
