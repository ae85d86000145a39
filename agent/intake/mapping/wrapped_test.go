package mapping_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/scan"
)

func base(s string) string   { return base64.StdEncoding.EncodeToString([]byte(s)) }
func hexed(s string) string  { return hex.EncodeToString([]byte(s)) }
func quoted(s string) string { q, _ := json.Marshal(s); return string(q) }

// numbered is a text as an array of its bytes.
func numbered(s string) string {
	var out []string
	for i := range len(s) {
		out = append(out, fmt.Sprint(s[i]))
	}
	return "[" + strings.Join(out, ",") + "]"
}

// What gateways wrap is read in whatever it is wrapped, and a pointer goes on inside.
func TestWrapped(t *testing.T) {
	inner := `{"code":"` + code1 + `","at":1795435200}`
	two := `[{"code":"` + code1 + `"},{"code":"` + code2 + `"}]`
	at := func(place string, change ...func(*mapping.Source)) mapping.Source {
		s := codeAt(place, change...)
		s.Fields["action_time"] = strings.TrimSuffix(place, "/code") + "/at"
		return s
	}
	split := func(p string) func(*mapping.Source) { return func(s *mapping.Source) { s.Split = p } }
	of64 := func(names ...string) func(*mapping.Source) { return func(s *mapping.Source) { s.Base64 = names } }
	ofHex := func(names ...string) func(*mapping.Source) { return func(s *mapping.Source) { s.Hex = names } }
	text := func(s *mapping.Source) { s.Decoder = "text"; delete(s.Fields, "action_time") }
	gbk := func(s *mapping.Source) { s.Encoding = "gbk" }
	buffer := func(s string) string { return `{"type":"Buffer","data":` + numbered(s) + `}` }
	typed := `{"0":89,"1":84,"2":54,"3":57,"4":48,"5":48,"6":54,"7":51,"8":52,"9":55,"10":49,"11":54,"12":57,"13":48,"14":48}`
	for _, row := range []struct {
		name, payload string
		src           mapping.Source
		want          string
	}{
		{"JSON in base64", `{"p":"` + base(inner) + `"}`, at("/p/code"), code1 + "@1795435200 0"},
		{"JSON made twice", `{"p":` + quoted(quoted(inner)) + `}`, at("/p/code"), code1 + "@1795435200 0"},
		{"JSON made twice, in base64", `{"p":"` + base(quoted(inner)) + `"}`, at("/p/code", of64("waybill_id")), code1 + "@1795435200 0"},
		{"a text made JSON three times", `{"p":` + quoted(quoted(quoted("hello"))) + `}`, codeAt("/p/code"), "0 no_waybill"},
		{"JSON in base64, listed", `{"p":"` + base(inner) + `"}`, at("/p/code", of64("waybill_id")), code1 + "@1795435200 0"},
		{"JSON in the URL's base64", `{"p":"` + base64.RawURLEncoding.EncodeToString([]byte(inner+"  ")) + `"}`, at("/p/code"), code1 + "@1795435200 0"},
		{"JSON in a data URL", `{"p":"data:application/json;base64,` + base(inner) + `"}`, at("/p/code"), code1 + "@1795435200 0"},
		{"JSON in hex", `{"p":"` + hexed(inner) + `"}`, at("/p/code"), code1 + "@1795435200 0"},
		{"JSON in hex in capitals", `{"p":"` + strings.ToUpper(hexed(inner)) + `"}`, at("/p/code"), code1 + "@1795435200 0"},
		{"JSON in a buffer", `{"p":` + buffer(inner) + `}`, at("/p/code"), code1 + "@1795435200 0"},
		{"JSON in an array of bytes", `{"p":` + numbered(inner) + `}`, at("/p/code"), code1 + "@1795435200 0"},
		{"JSON in gzip in base64", `{"p":"` + base(gzipped(inner)) + `"}`, at("/p/code"), code1 + "@1795435200 0"},
		{"JSON in zlib in hex", `{"p":"` + hexed(zlibbed(inner)) + `"}`, at("/p/code"), code1 + "@1795435200 0"},
		{"base64 within base64", `{"p":"` + base(`{"q":"`+base(inner)+`"}`) + `"}`, at("/p/q/code"), code1 + "@1795435200 0"},
		{"almost JSON in base64", `{"p":"` + base(`{"code":"`+code1+"\r\",at:1795435200}") + `"}`, at("/p/code"), code1 + "@1795435200 0"},
		{"reads in base64", `{"p":"` + base(two) + `"}`, codeAt("/code", split("/p")), code1 + " " + code2 + " 0"},
		{"reads in base64, by *", `{"p":"` + base(two) + `"}`, codeAt("/p/*/code"), code1 + " " + code2 + " 0"},
		{"reads in a buffer", `{"p":` + buffer(two) + `}`, codeAt("/code", split("/p")), code1 + " " + code2 + " 0"},
		{"GBK JSON in base64", `{"p":"` + base("{\"code\":\""+code1+"\",\"where\":\"\xba\xbc\xe5\x5c\"}") + `"}`, codeAt("/p/code", gbk), code1 + " 0"},
		{"base64 that holds no JSON", `{"p":"` + base("hello") + `"}`, codeAt("/p/code"), "0 no_waybill"},
		{"a bomb in base64", `{"p":"` + base(gzipped(`{"code":"`+code1+`","x":"`+strings.Repeat("x", 5<<20)+`"}`)) + `"}`, codeAt("/p/code"), "0 no_waybill"},

		{"the payload in base64", base(inner), at("/code"), code1 + "@1795435200 0"},
		{"the payload in hex", hexed(inner) + "\r\n", at("/code"), code1 + "@1795435200 0"},
		{"the payload in hex in quotes", quoted(hexed(inner)), at("/code"), code1 + "@1795435200 0"},
		{"the payload as a buffer", buffer(inner), at("/code"), code1 + "@1795435200 0"},
		{"the payload as bytes", numbered(two), codeAt("/code"), code1 + " " + code2 + " 0"},
		{"the payload as JSON in a text", quoted(two), codeAt("/code"), code1 + " " + code2 + " 0"},
		{"the payload in gzip", gzipped(inner), at("/code"), code1 + "@1795435200 0"},
		{"the payload in zlib", zlibbed(inner), at("/code"), code1 + "@1795435200 0"},
		{"the payload in deflate", deflated(inner), at("/code"), code1 + "@1795435200 0"},
		{"JSON in deflate in base64", `{"p":"` + base(deflated(inner)) + `"}`, at("/p/code"), code1 + "@1795435200 0"},
		{"a code in deflate in hex", `{"code":"` + hexed(deflated(code1)) + `"}`, codeAt("/code", ofHex("waybill_id")), code1 + " 0"},
		{"text in deflate", deflated(code1 + "\r\n" + code2), codeAt("", text), code1 + " " + code2 + " 0"},
		{"text in deflate of a device that sends GBK", deflated(code1 + "\r\n" + code2), codeAt("", text, gbk), code1 + " " + code2 + " 0"},
		{"deflate that ends too early", deflated(inner)[:20], at("/code"), "0 not_json"},
		{"a bomb in deflate", deflated(strings.Repeat("x ", 1<<20)), codeAt("/code"), "0 too_large"},
		{"the payload in gzip in base64", base(gzipped(inner)), at("/code", of64("payload")), code1 + "@1795435200 0"},
		{"text in gzip", gzipped(code1 + "\r\n" + code2), codeAt("", text), code1 + " " + code2 + " 0"},
		{"text in base64", base(code1 + "\r\n" + code2), codeAt("", text, of64("payload")), code1 + " " + code2 + " 0"},
		{"text in hex", "59 54 36 39 30 30 36 33 34 37 31 36 39 30 30 0D 0A", codeAt("", text, ofHex("payload")), code1 + " 0"},
		{"CSV in zlib", zlibbed("c,1\n" + code1 + ",2"), codeAt("/c", func(s *mapping.Source) { s.Decoder, s.Columns = "csv", []string{"c"} }), code1 + " 1"},
		{"Sparkplug in gzip", gzipped(metricOf("Scan/Code", 12, pbBytes(15, code1))), codeAt("/Scan/Code", func(s *mapping.Source) { s.Decoder = "sparkplug" }), code1 + " 0"},
		{"nothing in gzip", gzipped("\r\n"), codeAt("/code"), "1"},
		{"a payload that is no base64", "!!", codeAt("/code", of64("payload")), "0 bad_base64"},
		{"a payload that is no hex", `{"code":"` + code1 + `"}`, codeAt("/code", ofHex("payload")), "0 bad_hex"},
		{"gzip that ends too early", gzipped(inner)[:20], codeAt("/code"), "0 bad_packed"},
		{"a bomb", gzipped(strings.Repeat(" ", 2<<20)), codeAt("/code"), "0 too_large"},
		{"a text that begins as zlib may", "x^" + code1, codeAt("", text, func(s *mapping.Source) { s.Pattern = `^x\^(?P<waybill_id>.*)$` }), code1 + " 0"},

		{"a code in hex", `{"code":"` + hexed(code1) + `"}`, codeAt("/code", ofHex("waybill_id")), code1 + " 0"},
		{"a code in hex, padded with zeros", `{"code":"` + hexed(code1+"\x00\x00") + `"}`, codeAt("/code", ofHex("waybill_id")), code1 + " 0"},
		{"a code in hex with marks", `{"code":"0x59,0x54,0x36,0x39,0x30,0x30,0x36,0x33"}`, codeAt("/code", ofHex("waybill_id")), "YT690063 0"},
		{"codes in hex in an array", `{"code":["` + hexed(code1) + `","` + hexed(code2) + `"]}`, codeAt("/code", ofHex("waybill_id")), code1 + " " + code2 + " 0"},
		{"a code that is no hex", `{"code":"` + code1 + `"}`, codeAt("/code", ofHex("waybill_id")), "0 bad_hex"},
		{"an odd number of digits", `{"code":"595"}`, codeAt("/code", ofHex("waybill_id")), "0 bad_hex"},
		{"lines in hex", hexed(code1) + "\n" + hexed(code2), codeAt("", text, ofHex("waybill_id")), code1 + " " + code2 + " 0"},
		{"another field in hex", `{"code":"` + code1 + `","at":"` + hexed("1795435200") + `"}`, at("/code", ofHex("action_time")), code1 + "@1795435200 0"},
		{"a code as a buffer", `{"code":` + buffer(code1+"\r\n") + `}`, codeAt("/code"), code1 + " 0"},
		{"a buffer's data", `{"code":` + buffer(code1) + `}`, codeAt("/code/data"), code1 + " 0"},
		{"a code as bytes", `{"code":` + numbered(code1) + `}`, codeAt("/code"), code1 + " 0"},
		{"a code as signed bytes", `{"code":[89,84,54,57,48,48,54,51,-1]}`, codeAt("/code"), "0 not_waybill"},
		{"a code as a typed array", `{"code":` + typed + `}`, codeAt("/code"), code1 + " 0"},
		{"codes as bytes", `{"code":[` + numbered(code1) + `,` + numbered(code2) + `]}`, codeAt("/code"), code1 + " " + code2 + " 0"},
		{"codes as buffers, by *", `{"r":[{"c":` + buffer(code1) + `},{"c":` + buffer(code2) + `}]}`, codeAt("/r/*/c"), code1 + " " + code2 + " 0"},
		{"a code in gzip in base64", `{"code":"` + base(gzipped(code1)) + `"}`, codeAt("/code", of64("waybill_id")), code1 + " 0"},
		{"a bomb of a code", `{"code":"` + base(gzipped(strings.Repeat("x", 1<<20))) + `"}`, codeAt("/code", of64("waybill_id")), "0 bad_packed"},
		{"a number that is hex by chance", `{"code":"5930303030303030"}`, codeAt("/code"), "5930303030303030 0"},
		{"codes that are numbers", `{"code":[12345678901234,12345678901235]}`, codeAt("/code"), "12345678901234 12345678901235 0"},
	} {
		m := canonical(t, func(c *mapping.Config) { c.Sources = []mapping.Source{row.src} })
		b := m.Map("spBv1.0/g/DDATA/n/d", []byte(row.payload), mapping.Info{})
		var got []string
		for _, e := range b.Events {
			one := string(e.Waybill)
			if e.ActionTime == 1795435200 && !e.Marks.Has(scan.MarkClock) {
				one += "@1795435200"
			}
			got = append(got, one)
		}
		got = append(got, fmt.Sprint(b.Ignored))
		for _, r := range b.Rejects {
			got = append(got, r.Code)
		}
		if s := strings.Join(got, " "); s != row.want {
			t.Errorf("%s: %s, want %s: %+v", row.name, s, row.want, b.Rejects)
		}
	}
}

// An element that was rejected is kept as what came out of its payload, and is
// understood when it is replayed.
func TestWrappedAgain(t *testing.T) {
	src := codeAt("/p/code", func(s *mapping.Source) { s.Split, s.Hex = "/r", []string{"payload"} })
	src.Fields["action_type"] = "/kind"
	payload := `{"r":[{"kind":200001,"p":"` + base(`{"code":"`+code1+`"}`) + `"},{"kind":"PJ","p":"` + base(`{"code":"`+code2+`"}`) + `"}]}`
	m := canonical(t, func(c *mapping.Config) { c.Sources = []mapping.Source{src} })
	b := m.Map("a", []byte(hexed(payload)), mapping.Info{})
	if len(b.Events) != 1 || len(b.Rejects) != 1 || b.Rejects[0].Index != 1 {
		t.Fatalf("%+v", b)
	}
	src.Values = map[string]map[string]string{"action_type": {"PJ": "300002"}}
	m = canonical(t, func(c *mapping.Config) { c.Sources = []mapping.Source{src} })
	if again, ok := m.Again(b.Rejects[0], 1); !ok || len(again.Events) != 1 || again.Events[0].Waybill != code2 {
		t.Errorf("%+v, %v", again, ok)
	}
	src = codeAt("/code", func(s *mapping.Source) { s.Split = "/p" })
	src.Fields["action_type"] = "/kind"
	m = canonical(t, func(c *mapping.Config) { c.Sources = []mapping.Source{src} })
	b = m.Map("a", []byte(`{"p":"`+base(`[{"code":"`+code1+`","kind":1},{"code":"`+code2+`","kind":200001}]`)+`"}`), mapping.Info{})
	if len(b.Rejects) != 1 {
		t.Fatalf("%+v", b)
	}
	b.Rejects[0].Payload = []byte(strings.Replace(string(b.Rejects[0].Payload), `\"kind\":1`, `\"kind\":200001`, 1))
	if again, ok := m.Again(b.Rejects[0], 1); !ok || len(again.Events) != 1 || again.Events[0].Waybill != code1 {
		t.Errorf("%s: %+v, %v", b.Rejects[0].Payload, again, ok)
	}
}

func TestBadForms(t *testing.T) {
	for want, src := range map[string]mapping.Source{
		`hex[0]: unknown field "waybil_id"`:         {Topic: "#", Hex: []string{"waybil_id"}},
		"waybill_id cannot be in base64 and in hex": {Topic: "#", Hex: []string{"waybill_id"}, Base64: []string{"waybill_id"}},
	} {
		_, problems := mapping.Compile(mapping.Config{Sources: []mapping.Source{src}})
		if err := problems.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// Almost JSON costs no scan; the event is marked.
func TestAlmostJSON(t *testing.T) {
	m := canonical(t, func(c *mapping.Config) { c.Sources = []mapping.Source{codeAt("/code")} })
	for _, payload := range []string{
		"{\"code\":\"" + code1 + "\r\"}", "{\"lv\":\"\x05\",\"code\":\"\x1d" + code1 + "\"}", `{"code":"` + code1 + `","w":NaN}`,
		`{"code":"` + code1 + `","path":"C:\scan"}`, `{'code':'` + code1 + `',}`, `{code:` + code1 + `}`,
	} {
		e := one(t, m, "a", payload, mapping.Info{})
		if e.Waybill != code1 || !e.Marks.Has(scan.MarkMended) {
			t.Errorf("%q: %+v", payload, e)
		}
		reads := m.Explain("a", []byte(payload), mapping.Info{}, false).Reads
		if len(reads) != 1 || !strings.Contains(reads[0].Reason, "mended: ") {
			t.Errorf("%q is explained by %+v", payload, reads)
		}
	}
	for _, quoted := range []string{`b'{"code":"` + code1 + `"}'`, `'{"code":"` + code1 + `"}'`} { // as Python prints bytes, and as another shell's quotes come through
		if e := one(t, m, "a", quoted, mapping.Info{}); e.Waybill != code1 || !e.Marks.Has(scan.MarkMended) {
			t.Errorf("%q: %+v", quoted, e)
		}
	}
	if e := one(t, m, "a", `{"code":"`+code1+`"}`, mapping.Info{}); e.Marks.Has(scan.MarkMended) {
		t.Error("what is JSON is marked")
	}
	if got := outcome(m, "a", `{"code":NaN,"w":1}`); got != "0 no_waybill" {
		t.Errorf("NaN as the number: %s", got)
	}
	if got := outcome(m, "a", `{"code":1e400000}`); got != "0 not_waybill" {
		t.Errorf("a number that is no whole one within reason: %s", got)
	}
	if got := outcome(m, "a", `{"code":"`+code1); got != "0 not_json" {
		t.Errorf("cut short: %s", got)
	}
}
