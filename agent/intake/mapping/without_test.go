package mapping_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"

	"scanrelay/agent/intake/mapping"
)

const code1, code2 = "YT6900634716900", "YT6900634716901"

// outcome maps a message and puts what became of it into a line: the numbers, how
// many were ignored, the codes of rejects.
func outcome(m *mapping.Mapper, topic, payload string) string {
	b := m.Map(topic, []byte(payload), mapping.Info{})
	var got []string
	for _, e := range b.Events {
		got = append(got, string(e.Waybill))
	}
	got = append(got, fmt.Sprint(b.Ignored))
	for _, r := range b.Rejects {
		got = append(got, r.Code)
	}
	return strings.Join(got, " ")
}

// codeAt is a source whose number is at a place.
func codeAt(place string, change ...func(*mapping.Source)) mapping.Source {
	s := mapping.Source{Topic: "#", Fields: map[string]string{"waybill_id": place, "action_type": "=200001", "action_msg": "=x"}}
	for _, c := range change {
		c(&s)
	}
	return s
}

// A message whose waybill field is not found is kept: the mapping may be wrong. Only
// what certainly is no read is ignored.
func TestNothingIsTakenForNoRead(t *testing.T) {
	split := func(p string) func(*mapping.Source) { return func(s *mapping.Source) { s.Split = p } }
	ignore := func(e string) func(*mapping.Source) { return func(s *mapping.Source) { s.Ignore = []string{e} } }
	csv := func(s *mapping.Source) { s.Decoder, s.Columns = "csv", []string{"at", "code", "x"} }
	for _, row := range []struct {
		name, payload string
		src           mapping.Source
		want          string
	}{
		{"a mistyped pointer", `{"code":"` + code1 + `"}`, codeAt("/cod"), "0 no_waybill"},
		{"a mistyped pointer, several reads", `[{"code":"` + code1 + `"},{"code":"` + code2 + `"}]`, codeAt("/cod"), "0 no_waybill"},
		{"a mistyped split", `{"data":{"reads":[{"code":"` + code1 + `"}]}}`, codeAt("/code", split("/data/read")), "0 no_waybill"},
		{"a split that a text stops", `{"data":"` + code1 + `"}`, codeAt("/code", split("/data/reads")), "0 no_waybill"},
		{"a split that ends in a text", `{"data":"no JSON"}`, codeAt("/code", split("/data")), "0 no_waybill"},
		{"a mistyped pointer with *", `{"reads":[{"code":"` + code1 + `"}]}`, codeAt("/reads/*/cod"), "0 no_waybill"},
		{"* before nothing", `{"read":[{"code":"` + code1 + `"}]}`, codeAt("/reads/*/code"), "0 no_waybill"},
		{"a pointer without *", `{"reads":[{"code":"` + code1 + `"}]}`, codeAt("/reads/code"), "0 no_waybill"},
		{"a text on the way", `{"payload":"!!no base64!!"}`, codeAt("/payload/code"), "0 no_waybill"},
		{"a text on the way of one read", `[{"p":"!!"},{"p":{"code":"` + code1 + `"}}]`, codeAt("/p/code"), code1 + " 0 no_waybill"},
		{"a number on the way", `{"code":6900634716900}`, codeAt("/code/text"), "0 no_waybill"},
		{"empty, and nothing else is known", `{"code":"","other":"` + code1 + `"}`, codeAt("/code"), "0 no_waybill"},
		{"null, and nothing else is known", `{"code":null,"other":"` + code1 + `"}`, codeAt("/code"), "0 no_waybill"},
		{"objects on lines", `{"cod":"a"}` + "\n" + `{"cod":"b"}`, codeAt("/code"), "0 no_waybill"},
		{"a CSV row that is too short", "2026-11-23", codeAt("/code", csv), "0 no_waybill"},
		{"a CSV column that is empty", "2026-11-23,," + code1, codeAt("/code", csv), "0 no_waybill"},
		{"no topic level", `{}`, codeAt("topic[7]"), "1"},
		{"no topic level, with something in it", `{"code":"` + code1 + `"}`, codeAt("topic[7]"), "0 no_waybill"},
		{"a group that caught nothing", "GUN1,", codeAt("", func(s *mapping.Source) {
			s.Decoder, s.Pattern = "text", "^GUN1,(?P<waybill_id>.*)$"
			delete(s.Fields, "waybill_id")
		}), "0 no_waybill"},

		{"beside a number", `[{"code":"` + code1 + `"},{"type":"heartbeat"},{"code":""},{"code":null},7]`, codeAt("/code"), code1 + " 4"},
		{"beside a no-read", `[{"code":"NOREAD"},{"type":"heartbeat"}]`, codeAt("/code"), "2"},
		{"a no-read on the way", `{"symbol":"NOREAD","n":1}`, codeAt("/symbol/data"), "1"},
		{"an empty array at the number", `{"code":[],"n":1}`, codeAt("/code"), "1"},
		{"an empty array under *", `{"reads":[],"n":1}`, codeAt("/reads/*/code"), "1"},
		{"an empty array to split", `{"data":{"reads":[]},"n":1}`, codeAt("/code", split("/data/reads")), "1"},
		{"null to split", `{"data":{"reads":null},"n":1}`, codeAt("/code", split("/data/reads")), "1"},
		{"empty arrays of several readers", `{"r":[{"s":[]},{"s":[]}],"n":1}`, codeAt("/code", split("/r/*/s")), "1"},
		{"envelopes with empty arrays", `[{"s":[],"n":1},{"s":[],"n":2}]`, codeAt("/code", split("/s")), "1"},
		{"nothing but brackets", `[{"code":""},{},null,[]]`, codeAt("/code"), "2"},
		{"what ignore matches", `{"type":"heartbeat"}`, codeAt("/code", ignore(`"type":"heartbeat"`)), "1"},
		{"CSV beside a number", "1," + code1 + "\n2,\n", codeAt("/code", csv), code1 + " 1"},
	} {
		m := canonical(t, func(c *mapping.Config) { c.Sources = []mapping.Source{row.src} })
		if got := outcome(m, "a/b", row.payload); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
}

// The reason says what was looked for, what is there, and an expression that fits.
func TestNoWaybillSaysWhatMendsIt(t *testing.T) {
	m := canonical(t, func(c *mapping.Config) { c.Sources = []mapping.Source{codeAt("/cod")} })
	payload := `{"code":"` + code1 + `","msgType":"alive 1.0","13800138000":1}`
	r := m.Map("a", []byte(payload), mapping.Info{}).Rejects[0]
	for _, want := range []string{"at /cod;", "/code, /msgType, /138******00", "fields.waybill_id of source 0 (#)", `ignore: ['"msgType"\s*:\s*"alive 1\.0"']`} {
		if !strings.Contains(r.Reason, want) {
			t.Errorf("the reason lacks %s: %s", want, r.Reason)
		}
	}
	with := codeAt("/cod")
	with.Ignore = []string{`"msgType"\s*:\s*"alive 1\.0"`}
	m = canonical(t, func(c *mapping.Config) { c.Sources = []mapping.Source{with} })
	if got := outcome(m, "a", payload); got != "1" {
		t.Errorf("with that expression: %s", got)
	}
}

// check says of CSV columns what a message could only show as a loss.
func TestMistypedColumns(t *testing.T) {
	for want, src := range map[string]mapping.Source{
		"sources[0].fields.waybill_id: columns has no /cod": {Topic: "#", Decoder: "csv", Columns: []string{"code"}, Fields: map[string]string{"waybill_id": "/cod"}},
		"sources[0].columns: names no waybill_id":           {Topic: "#", Decoder: "csv", Columns: []string{"code"}},
	} {
		_, problems := mapping.Compile(mapping.Config{Sources: []mapping.Source{src}})
		if err := problems.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// Protocol Buffers, as far as Sparkplug's payloads need them.

func pbNumber(field int, v uint64) string {
	return string(binary.AppendUvarint(binary.AppendUvarint(nil, uint64(field)<<3), v))
}

func pbBytes(field int, s string) string {
	return string(binary.AppendUvarint(binary.AppendUvarint(nil, uint64(field)<<3|2), uint64(len(s)))) + s
}

// metricOf is a metric in its place within a payload.
func metricOf(name string, datatype uint64, value string) string {
	return pbBytes(2, pbBytes(1, name)+pbNumber(3, 1600152165000)+pbNumber(4, datatype)+value)
}

func packed(s string, to func(io.Writer) io.WriteCloser) string {
	var b bytes.Buffer
	w := to(&b)
	_, _ = io.WriteString(w, s)
	_ = w.Close()
	return b.String()
}

func gzipped(s string) string {
	return packed(s, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
}

func zlibbed(s string) string {
	return packed(s, func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) })
}

func deflated(s string) string {
	return packed(s, func(w io.Writer) io.WriteCloser { f, _ := flate.NewWriter(w, 6); return f })
}

// Every kind of value that a metric may have is read, or the message is kept; none
// counts as a metric without a value.
func TestSparkplugReadsOrKeeps(t *testing.T) {
	at, seq := pbNumber(1, 1600152165000), pbNumber(3, 1)
	text := metricOf("Scan/Code", 12, pbBytes(15, code1))
	compressed := func(algorithm, body string) string {
		return at + metricOf("algorithm", 12, pbBytes(15, algorithm)) + seq + pbBytes(4, "SPBV1.0_COMPRESSED") + pbBytes(5, body)
	}
	cell := func(s string) string { return pbBytes(1, pbBytes(6, s)) }
	set := func(rows ...string) string {
		b := pbNumber(1, 2) + pbBytes(2, "code") + pbBytes(2, "gate") + pbBytes(3, "\x0c\x0c")
		for _, r := range rows {
			b += pbBytes(4, r)
		}
		return pbBytes(17, b)
	}
	other := metricOf("Temp", 3, pbNumber(10, 31))
	for _, row := range []struct{ name, place, payload, want string }{
		{"gzip", "/Scan/Code", compressed("GZIP", gzipped(at+text)), code1 + " 0"},
		{"zlib", "/Scan/Code", compressed("DEFLATE", zlibbed(at+text)), code1 + " 0"},
		{"deflate", "/Scan/Code", compressed("DEFLATE", deflated(at+text)), code1 + " 0"},
		{"another algorithm", "/Scan/Code", compressed("LZ4", "abc"), "0 not_sparkplug"},
		{"broken", "/Scan/Code", compressed("GZIP", gzipped(text)[:30]), "0 not_sparkplug"},
		{"a bomb", "/Scan/Code", compressed("GZIP", gzipped(strings.Repeat("\x00", 2<<20))), "0 not_sparkplug"},
		{"compressed twice", "/Scan/Code", compressed("GZIP", gzipped(compressed("GZIP", gzipped(text)))), "0 not_sparkplug"},
		{"a body of its own", "/Scan/Code", at + seq + pbBytes(4, "acme") + pbBytes(5, code1), "0 no_waybill"},
		{"a body beside other metrics", "/Scan/Code", at + seq + other + pbBytes(5, code1), "0 no_waybill"},
		{"a body beside the number", "/Scan/Code", at + text + pbBytes(4, "acme") + pbBytes(5, "x"), code1 + " 0"},
		{"a data set", "/Scan/Code/*/code", at + metricOf("Scan/Code", 16, set(cell(code1)+cell("g"), cell(code2))), code1 + " " + code2 + " 0"},
		{"a data set, mapped as a text", "/Scan/Code", at + metricOf("Scan/Code", 16, set(cell(code1))), "0 bad_waybill"},
		{"a broken data set", "/Scan/Code/*/code", at + metricOf("Scan/Code", 16, pbBytes(17, "\xff")), "0 no_waybill"},
		{"a row with too many cells", "/Scan/Code/*/code", at + metricOf("Scan/Code", 16, set(cell("a")+cell("b")+cell("c"))), "0 no_waybill"},
		{"an empty data set", "/Scan/Code/*/code", at + metricOf("Scan/Code", 16, set()), "1"},
		{"texts", "/Scan/Code", at + metricOf("Scan/Code", 33, pbBytes(16, code1+"\x00"+code2+"\x00")), code1 + " " + code2 + " 0"},
		{"numbers", "/Scan/Code", at + metricOf("Scan/Code", 25, pbBytes(16, "\xff\x2f\x3c\x4a\x65\x10\x00\x00")), "18027223199743 0"},
		{"half a number", "/Scan/Code", at + metricOf("Scan/Code", 25, pbBytes(16, "\x01")), "0 no_waybill"},
		{"bytes", "/Scan/Code", at + metricOf("Scan/Code", 17, pbBytes(16, code1)), code1 + " 0"},
		{"an extension", "/Scan/Code", at + metricOf("Scan/Code", 12, pbBytes(19, code1)), "0 no_waybill"},
		{"a field that is not known", "/Scan/Code", at + metricOf("Scan/Code", 99, pbBytes(23, code1)), "0 no_waybill"},
		{"a type that is not known", "/Scan/Code", at + metricOf("Scan/Code", 99, pbBytes(15, code1)), code1 + " 0"},
		{"a text as a number", "/Scan/Code", at + metricOf("Scan/Code", 12, pbNumber(15, 7)), "0 not_sparkplug"},
		{"a broken template", "/Scan/Code", at + metricOf("Scan", 19, pbBytes(18, "\xff")), "0 no_waybill"},
		{"without a value", "/Scan/Code", at + metricOf("Scan/Code", 12, ""), "0 no_waybill"},
		{"null", "/Scan/Code", at + metricOf("Scan/Code", 12, pbNumber(7, 1)), "0 no_waybill"},
		{"another metric", "/Scan/Code", at + other, "0 no_waybill"},
		{"no metric", "/Scan/Code", at + seq, "1"},
	} {
		src := codeAt(row.place, func(s *mapping.Source) { s.Topic, s.Decoder = "spBv1.0/#", "sparkplug" })
		m := canonical(t, func(c *mapping.Config) { c.Sources = []mapping.Source{src} })
		if got := outcome(m, "spBv1.0/g/DDATA/n/d", row.payload); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
}

// A device whose birth names the metric sends it when it changes: a message without
// it is no read. That survives a restart, with and without aliases.
func TestSparkplugBirthProvesNoRead(t *testing.T) {
	src := codeAt("/Scan/Code", func(s *mapping.Source) { s.Topic, s.Decoder = "spBv1.0/#", "sparkplug" })
	other := metricOf("Temp", 3, pbNumber(10, 31))
	for name, birth := range map[string]string{
		"by name":     metricOf("Scan/Code", 12, pbBytes(15, "")) + other,
		"by alias":    pbBytes(2, pbBytes(1, "Scan/Code")+pbNumber(2, 7)) + other,
		"compressed":  pbBytes(4, "SPBV1.0_COMPRESSED") + pbBytes(5, gzipped(metricOf("Scan/Code", 12, pbBytes(15, "")))),
		"not at all:": other,
	} {
		m := canonical(t, func(c *mapping.Config) { c.Sources = []mapping.Source{src} })
		m.Map("spBv1.0/g/DBIRTH/n/d", []byte(birth), mapping.Info{})
		want := "1"
		if name == "not at all:" {
			want = "0 no_waybill"
		}
		if got := outcome(m, "spBv1.0/g/DDATA/n/d", other); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		if got := outcome(m, "spBv1.0/g/DDATA/n/another", other); got != "0 no_waybill" {
			t.Errorf("another device: %s", got)
		}
	}
	m := canonical(t, func(c *mapping.Config) { c.Sources = []mapping.Source{src} })
	if got := outcome(m, "spBv1.0/g/DDTA/n/d", other); got != "0 not_sparkplug" {
		t.Errorf("a type that is none: %s", got)
	}
}
