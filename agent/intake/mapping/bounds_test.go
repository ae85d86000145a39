package mapping_test

import (
	"encoding/binary"
	"runtime"
	"strings"
	"testing"

	"scanrelay/agent/intake/mapping"
)

// A message of very many lines or values takes no gigabyte, and a broken one comes to
// one reject, not to half a million.
func TestManyLinesTakeLittle(t *testing.T) {
	m := everySource(t)
	const many = 120_000
	for topic, c := range map[string]struct{ payload, code string }{
		"lines/1":           {strings.Repeat("a\n", many), "too_many"},
		"lines/2":           {strings.Repeat("a;", many), "too_many"},
		"handheld/7/upload": {strings.Repeat("a\n", many), "too_many"},
		"x/1":               {"{\"a\":1}\n" + strings.Repeat("}\n", many), "not_json"},
		"x/2":               {strings.Repeat("1 ", many), "too_large"},
		"x/3":               {"[" + strings.Repeat("1,", 50_000) + "1]", "no_waybill"},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		b := m.Map(topic, []byte(c.payload), mapping.Info{ReceivedAt: noon})
		runtime.ReadMemStats(&after)
		if len(b.Events) != 0 || len(b.Rejects) != 1 || b.Rejects[0].Code != c.code {
			t.Errorf("%s: %d events, %d rejects, want one, %s: %.200v", topic, len(b.Events), len(b.Rejects), c.code, b.Rejects)
		}
		if took := (after.TotalAlloc - before.TotalAlloc) >> 20; took > 80 {
			t.Errorf("%s: it allocated %d MiB", topic, took)
		}
	}
}

// What the metrics or cells of one message wrap is bounded together, as if it were one
// JSON.
func TestManyWrappedTextsTakeLittle(t *testing.T) {
	text := "[" + strings.Repeat("1,", 90_000) + "1]"
	bytesField := func(number byte, b string) string {
		return string(binary.AppendUvarint([]byte{number<<3 | 2}, uint64(len(b)))) + b
	}
	var spb, csv string
	for i := range 5 {
		name := string(rune('a' + i))
		spb += bytesField(2, bytesField(1, name)+"\x20\x0c"+bytesField(15, text))
		csv += `"` + text + `",`
	}
	for topic, c := range map[string]struct {
		source  mapping.Source
		payload string
	}{
		"spBv1.0/g/DDATA/n/d": {mapping.Source{Decoder: "sparkplug", Fields: map[string]string{"waybill_id": "/metrics/*/*"}}, spb},
		"csv":                 {mapping.Source{Decoder: "csv", Columns: []string{"a", "b", "c", "d", "e"}, Fields: map[string]string{"waybill_id": "/a/x", "device_id": "/b/x", "event_id": "/c/x", "station": "/d/x", "action_msg": "/e/x"}}, csv},
	} {
		c.source.Topic = "#"
		m := testMapper(t, mapping.Config{Sources: []mapping.Source{c.source}}, noon)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		b := m.Map(topic, []byte(c.payload), mapping.Info{})
		runtime.ReadMemStats(&after)
		took := (after.TotalAlloc - before.TotalAlloc) >> 20
		if t.Logf("%s: %d MiB, %d ignored", topic, took, b.Ignored); took > 200 || len(b.Rejects) != 1 {
			t.Errorf("%s: it allocated %d MiB, %d rejects", topic, took, len(b.Rejects))
		}
	}
}
