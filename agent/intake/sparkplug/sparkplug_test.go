package sparkplug

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"os"
	"testing"

	"scanrelay/agent/intake/decode"
)

type expected struct {
	TopicBirth string `json:"topic_birth"`
	TopicData  string `json:"topic_data"`
	BirthHex   string `json:"dbirth_hex"`
	DataHex    string `json:"ddata_hex"`
}

func published(t testing.TB) (e expected, birth, data []byte) {
	t.Helper()
	raw, err := os.ReadFile("../testdata/sparkplug-expected.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		t.Fatal(err)
	}
	if birth, err = hex.DecodeString(e.BirthHex); err != nil {
		t.Fatal(err)
	}
	if data, err = hex.DecodeString(e.DataHex); err != nil {
		t.Fatal(err)
	}
	return e, birth, data
}

func TestSparkplugPublished(t *testing.T) {
	e, rawBirth, rawData := published(t)
	birth, err := Parse(rawBirth, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if birth.Timestamp != 1600152165000 || birth.Seq != 1 || len(birth.Metrics) != 3 {
		t.Errorf("birth %+v", birth)
	}
	data, err := Parse(rawData, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	topic, ok := ParseTopic(e.TopicData)
	if !ok || topic.Source() != "express/depot-571/scanner-07" || topic.EdgeNode() != "express/depot-571" {
		t.Fatalf("topic %+v", topic)
	}
	whole, reads, missing, err := data.Tree(topic, BirthOf(birth))
	if err != nil || missing != "" || len(reads) != 1 {
		t.Fatalf("%d reads, missing %q", len(reads), missing)
	}
	for pointer, want := range map[string]string{
		"/Scan/Code": "78636098066239", "/Scan~1Code": "78636098066239", "/metrics/Scan~1Symbology": "CODE128",
		"/metrics/Scan/WeightKg": "0.8", "/timestamps/Scan/Code": "1600152165480", "/timestamp": "1600152165500",
		"/seq": "2", "/device": "scanner-07", "/node": "depot-571", "/group": "express", "/type": "DDATA",
	} {
		p, _ := decode.ParsePointer(pointer)
		n, ok := Find(&whole, p)
		if !ok {
			t.Errorf("%s: nothing", pointer)
			continue
		}
		if got, _ := n.Text(); got != want {
			t.Errorf("%s: %s, want %s", pointer, got, want)
		}
	}
	if _, _, missing, _ := data.Tree(topic, Birth{}); missing != "1" {
		t.Errorf("without a birth alias %q is missing", missing)
	}
}

// What a device kept while it was offline comes as one payload with the same
// metric several times.
func TestSparkplugHistory(t *testing.T) {
	p := Payload{Metrics: []Metric{
		{Name: "Code", Timestamp: 10, field: 15, bytes: []byte("A"), Historical: true},
		{Name: "Kg", Timestamp: 10, field: 13, bits: math.Float64bits(1.5)},
		{Name: "Code", Timestamp: 20, field: 15, bytes: []byte("B")},
		{Name: "Kg", Timestamp: 20, Null: true},
	}}
	_, reads, _, _ := p.Tree(Topic{}, Birth{})
	if len(reads) != 2 {
		t.Fatalf("%d reads", len(reads))
	}
	for i, want := range []string{`{"Code":"A","Kg":1.5}`, `{"Code":"B","Kg":null}`} {
		if m, _ := reads[i].Member("metrics"); string(m.Raw()) != want {
			t.Errorf("read %d: %s, want %s", i, m.Raw(), want)
		}
	}
}

// What was kept while offline has the time of its own or none: the payload's is
// when it was sent at last. And it does not stand in for what is now.
func TestSparkplugHistorical(t *testing.T) {
	p := Payload{Timestamp: 99, Metrics: []Metric{
		{Name: "Code", field: 15, bytes: []byte("now")},
		{Name: "Code", field: 15, bytes: []byte("kept"), Historical: true},
	}}
	whole, reads, _, _ := p.Tree(Topic{}, Birth{})
	if len(reads) != 2 {
		t.Fatalf("%d reads", len(reads))
	}
	for i, want := range []string{`{"Code":99}`, `{}`} {
		if m, _ := reads[i].Member("timestamps"); string(m.Raw()) != want {
			t.Errorf("read %d: times %s, want %s", i, m.Raw(), want)
		}
	}
	if code, _ := Find(&whole, decode.Pointer{"Code"}); string(code.Raw()) != `"now"` {
		t.Errorf("the value is %s", code.Raw())
	}
}

func TestSparkplugValues(t *testing.T) {
	for want, m := range map[string]Metric{
		"-1":    {field: 10, bits: 0xffffffff, Datatype: typeInt32},
		"-2":    {field: 11, bits: math.MaxUint64 - 1, Datatype: typeInt64},
		"-128":  {field: 10, bits: 0x80, Datatype: typeInt8},
		"-3":    {field: 10, bits: 0xfffd, Datatype: typeInt16},
		"7":     {field: 11, bits: 7},
		"2.5":   {field: 12, bits: uint64(math.Float32bits(2.5))},
		"12":    {field: 13, bits: math.Float64bits(12)},
		"null":  {field: 13, bits: math.Float64bits(math.NaN())},
		"true":  {field: 14, bits: 1},
		`"YT1"`: {field: 16, bytes: []byte("YT1")},
	} {
		n := newRoom().value(&m, 0, 0)
		if got := string(n.Raw()); got != want {
			t.Errorf("%+v: %s, want %s", m, got, want)
		}
	}
	m := Metric{field: 10, bits: 0xff}
	if n := newRoom().value(&m, typeInt8, 0); string(n.Raw()) != "-1" {
		t.Errorf("the birth's type is not used: %s", n.Raw())
	}
}

func TestBrokenSparkplug(t *testing.T) {
	for _, b := range [][]byte{{0x80}, {0x12, 0x05, 1}, {0x09, 1, 2}, {0x0d, 1}, {0x0b}, {0x00, 0x00}, {0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}} {
		if p, err := Parse(b, 1<<20); err == nil {
			t.Errorf("%x reads as %+v", b, p)
		}
	}
	for _, topic := range []string{"spBv1.0", "spBv1.0/g/DDATA", "spAv1.0/g/DDATA/n", "spBv1.0/g/DDATA/n/d/e"} {
		if _, ok := ParseTopic(topic); ok {
			t.Errorf("%s is taken for a topic", topic)
		}
	}
}

// templated is a payload with one metric, a template of these metrics.
func templated(name string, members ...[]byte) []byte {
	var template []byte
	for _, m := range members {
		template = appendBytes(template, 2, m)
	}
	return appendBytes(nil, 2, appendBytes(appendNumber(appendBytes(nil, 1, []byte(name)), 3, 1600152165480), fieldTemplate, template))
}

func textMetric(name, value string) []byte {
	return appendBytes(appendBytes(nil, 1, []byte(name)), 15, []byte(value))
}

func TestSparkplugTemplate(t *testing.T) {
	inner := appendBytes(appendBytes(nil, 1, []byte("Deep")), fieldTemplate, appendBytes(nil, 2, textMetric("Code/2", "b")))
	p, err := Parse(templated("Reader/1", textMetric("Scan/Code", "a"), inner), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	whole, _, _, _ := p.Tree(Topic{}, Birth{})
	for pointer, want := range map[string]string{
		"/Reader/1/Scan/Code": "a", "/Reader~11/Scan~1Code": "a", "/metrics/Reader~11/Scan~1Code": "a", "/Reader/1/Deep/Code/2": "b",
		"/timestamps/Reader/1": "1600152165480",
	} {
		ptr, _ := decode.ParsePointer(pointer)
		found, ok := Find(&whole, ptr)
		if !ok {
			t.Errorf("%s: nothing found", pointer)
			continue
		}
		if got, _ := found.Text(); got != want {
			t.Errorf("%s: %q, want %q", pointer, got, want)
		}
	}
	for _, pointer := range []string{"/Reader", "/Reader/1/Code", "/Reader/1/Deep/Code", "/Deep"} {
		ptr, _ := decode.ParsePointer(pointer)
		if found, ok := Find(&whole, ptr); ok {
			t.Errorf("%s finds %s", pointer, found.Raw())
		}
	}
	deep := textMetric("x", "y")
	for range 3 * maxTemplates {
		deep = appendBytes(appendBytes(nil, 1, []byte("t")), fieldTemplate, appendBytes(nil, 2, deep))
	}
	for name, b := range map[string][]byte{"broken": []byte("\xff"), "deep": deep} {
		p, err := Parse(templated("T", b), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if whole, _, _, _ := p.Tree(Topic{}, Birth{}); !json.Valid(whole.Raw()) {
			t.Errorf("%s: %s", name, whole.Raw())
		}
	}
}

// valued is a metric without a name, with a value of bytes in one of its fields.
func valued(datatype uint32, field uint64, value []byte) []byte {
	return appendBytes(appendNumber(appendBytes(nil, 1, []byte("x")), 4, uint64(datatype)), field, value)
}

// set is a data set.
func set(columns []string, rows, cells int) (b []byte) {
	for _, name := range columns {
		b = appendBytes(b, 2, []byte(name))
	}
	row := bytes.Repeat(appendBytes(nil, 1, nil), cells)
	for range rows {
		b = appendBytes(b, 4, row)
	}
	return b
}

// What the metrics of a payload hold is bounded by its number, not by the bytes that it
// comes in, and for all of them together; what finds no room takes none of it.
func TestValuesAreBounded(t *testing.T) {
	bits := func(n int) []byte {
		return append(binary.LittleEndian.AppendUint32(nil, uint32(n)), make([]byte, (n+7)/8)...)
	}
	of := func(size int) func(int) []byte {
		return func(n int) []byte { return make([]byte, n*size) }
	}
	members := func(templates int) []byte {
		inner := appendBytes(nil, fieldTemplate, bytes.Repeat([]byte{2<<3 | wireBytes, 0}, 999))
		return bytes.Repeat(appendBytes(nil, 2, inner), templates)
	}
	columns := make([]string, 9)
	for name, c := range map[string]struct {
		datatype uint32
		field    uint64
		fits     []byte
		not      []byte
	}{
		"truth values": {typeBooleanArray, 16, bits(maxValues), bits(maxValues + 1)},
		"bytes":        {typeInt8Array, 16, of(1)(maxValues), of(1)(maxValues + 1)},
		"doubles":      {typeDoubleArray, 16, of(8)(maxValues), of(8)(maxValues + 1)},
		"texts":        {typeStringArray, 16, of(1)(maxValues), of(1)(maxValues + 1)},
		"empty rows":   {16, fieldDataSet, set(nil, maxValues, 0), set(nil, maxValues+1, 0)},
		"columns":      {16, fieldDataSet, set(make([]string, maxValues), 0, 0), set(make([]string, maxValues+1), 0, 0)},
		"cells":        {16, fieldDataSet, set(columns, 9999, 9), set(columns, 10000, 9)},
		"column names": {16, fieldDataSet, set([]string{string(make([]byte, maxNames/8))}, 8, 1), set([]string{string(make([]byte, maxNames/8))}, 9, 1)},
		"members":      {19, fieldTemplate, members(100), members(101)},
	} {
		for what, b := range map[string][]byte{"fits": c.fits, "does not": c.not} {
			body := appendBytes(nil, 2, valued(c.datatype, c.field, b))
			body = appendBytes(body, 2, textMetric("Scan/Code", "YT1"))
			p, err := Parse(body, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			whole, _, _, err := p.Tree(Topic{}, Birth{})
			if err != nil {
				t.Fatal(err)
			}
			x, _ := Find(&whole, decode.Pointer{"x"})
			if fits := x.Kind != decode.Unreadable; fits != (what == "fits") {
				t.Errorf("%s: what %s: %s", name, what, x.What())
			}
			if code, _ := Find(&whole, decode.Pointer{"Scan", "Code"}); string(code.Raw()) != `"YT1"` {
				t.Errorf("%s: the scan behind what %s is %s", name, what, code.Raw())
			}
		}
	}

	// Together they have what one has.
	var body []byte
	for range 3 {
		body = appendBytes(body, 2, valued(typeBooleanArray, 16, bits(maxValues/2)))
	}
	p, err := Parse(body, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	_, reads, _, _ := p.Tree(Topic{}, Birth{})
	if got := values(reads); got > maxValues+20 {
		t.Errorf("three arrays hold %d values", got)
	}
}

// values counts what is in nodes.
func values(nodes []decode.Node) (n int) {
	for i := range nodes {
		n += 1 + values(nodes[i].Kids())
	}
	return n
}

// A name that a birth says once stands beside each value of its alias: of a message of
// some kilobytes that could be gigabytes.
func TestNamesAreBounded(t *testing.T) {
	b := Birth{Aliases: map[uint64]BirthMetric{1: {Name: string(make([]byte, maxNames/8))}}}
	for n, want := range map[int]error{8: nil, 9: ErrTooLarge} {
		p := Payload{Metrics: make([]Metric, n)}
		for i := range p.Metrics {
			p.Metrics[i] = Metric{Alias: 1, HasAlias: true}
		}
		if _, _, _, err := p.Tree(Topic{}, b); !errors.Is(err, want) {
			t.Errorf("%d times: %v", n, err)
		}
	}
}

func FuzzSparkplug(f *testing.F) {
	_, birth, data := published(f)
	f.Add(birth, data)
	f.Add(birth, templated("Reader", textMetric("Scan/Code", "a")))
	f.Add(birth, appendBytes(nil, 2, valued(typeBooleanArray, 16, []byte{12, 0, 0, 0, 0xaa, 0xf0})))
	f.Add(birth, appendBytes(nil, 2, valued(16, fieldDataSet, set([]string{"a", "b"}, 3, 2))))
	f.Fuzz(func(t *testing.T, birth, data []byte) {
		b, err := Parse(birth, 1<<20)
		if err != nil {
			return
		}
		p, err := Parse(data, 1<<20)
		if err != nil {
			return
		}
		whole, reads, _, err := p.Tree(Topic{}, BirthOf(b))
		if err != nil {
			return
		}
		if n := values(reads); n > maxValues+10*maxMetrics {
			t.Errorf("%d values", n)
		}
		if !json.Valid(whole.Raw()) || len(reads) == 0 {
			t.Errorf("%d reads, %s", len(reads), whole.Raw())
		}
	})
}
