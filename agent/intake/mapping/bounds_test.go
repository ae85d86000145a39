package mapping_test

import (
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
