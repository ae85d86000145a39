package decode

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestXML(t *testing.T) {
	for in, want := range map[string]string{
		`<scan><code>YT1</code></scan>`: `{"scan":{"code":"YT1"}}`,
		`<?xml version="1.0" encoding="GBK"?><!DOCTYPE scan><!-- c --><s:scan xmlns:s="urn:x" id="7"><code type="QR"> YT1
		</code><code>YT2</code><n/></s:scan>`: `{"scan":{"code":["YT1","YT2"],"code@type":"QR","n":"","@s":"urn:x","@id":"7"}}`,
		`<r><b value="YT&amp;1"/>x<b value="2"/></r>`:          `{"r":{"b":[{"@value":"YT\u00261"},{"@value":"2"}],"#text":"x"}}`,
		`<r><![CDATA[<YT1> "杭州"]]></r>`:                        `{"r":"\u003cYT1\u003e \"杭州\""}`,
		"\r\n<r>1</r>\r\n":                                     `{"r":"1"}`,
		`<r/>`:                                                 `{"r":""}`,
		`<a>1</a><a>2</a>`:                                     `{"a":["1","2"]}`,
		`<r><x>1</x><y><x>2</x></y><x><z>3</z></x></r>`:        `{"r":{"x":["1",{"z":"3"}],"y":{"x":"2"}}}`,
		strings.Repeat("<a>", 99) + strings.Repeat("</a>", 99): strings.Repeat(`{"a":`, 99) + `""` + strings.Repeat("}", 99),
	} {
		got, err := XML([]byte(in))
		if err != nil || string(got) != want {
			t.Errorf("%.60s: %s, %v; want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", "YT1", "<a>", "<a></b>", "<a>&unknown;</a>", "<a b=1/>", "<!-- -->", "[1]", "{}", "<a>\x00</a>", "</a>"} {
		if got, err := XML([]byte(in)); !errors.Is(err, ErrNotXML) {
			t.Errorf("%q: %s, %v", in, got, err)
		}
	}
	for _, in := range []string{strings.Repeat("<a>", 200), "<r>" + strings.Repeat("<a/>", maxNodes) + "</r>"} {
		if _, err := XML([]byte(in)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%.20s…: %v", in, err)
		}
	}
}

// FuzzXML: what is read is JSON that its decoder takes, within its bounds.
func FuzzXML(f *testing.F) {
	for _, in := range []string{`<scan id="7"><code type="QR">YT1</code></scan>`, `<r><b v="1"/>x<b/></r>`, "<?xml version='1.0'?><a>&#x4e2d;</a>"} {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := XML(in)
		if err != nil {
			return
		}
		if !json.Valid(got) {
			t.Errorf("%q became %s", in, got)
		}
		if _, err := JSON(got, false); err != nil && !errors.Is(err, ErrTooLarge) {
			t.Errorf("%q became %s: %v", in, got, err)
		}
	})
}
