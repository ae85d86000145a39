package mapping_test

import (
	"strings"
	"testing"
	"time"

	"scanrelay/agent/intake/decode"
	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/scan"
)

// What was rejected is understood once the mapping was mended, one element of
// several too, with what the message says around it; and twice is the same.
func TestAgain(t *testing.T) {
	sources := []mapping.Source{
		{Topic: "split/#", Split: "/data/*/reads", Fields: map[string]string{"waybill_id": "/code", "action_type": "/kind", "action_time": "/at", "action_msg": "=x", "device_id": "/gate"}},
		{Topic: "array/#", Fields: map[string]string{"waybill_id": "/code", "action_type": "/kind", "action_msg": "=x"}},
		{Topic: "lines/#", Decoder: "csv", Columns: []string{"code", "kind"}, Fields: map[string]string{"waybill_id": "/code", "action_type": "/kind", "action_msg": "=x"}},
	}
	mended := make([]mapping.Source, len(sources))
	for i, s := range sources {
		s.Values = map[string]map[string]string{"action_type": {"GOT": "100001"}}
		mended[i] = s
	}
	for topic, payload := range map[string]string{
		"split/a": `{"gate":"g7","at":1795420800,"kind":"GOT","data":[{"reads":[]},{"reads":[{"code":"YT0000001","kind":200001},{"code":"YT0000002"}]}]}`,
		"array/a": `[{"code":"YT0000001","kind":200001},[{"code":"YT0000002","kind":"GOT"}]]`,
		"lines/a": "YT0000001,200001\nYT0000002,GOT",
	} {
		m := canonical(t, func(c *mapping.Config) { c.Sources = sources })
		b := m.Map(topic, []byte(payload), mapping.Info{})
		if len(b.Events) != 1 || len(b.Rejects) != 1 || b.Rejects[0].Index != 1 {
			t.Fatalf("%s: %+v", topic, b)
		}
		r := b.Rejects[0]
		if strings.Contains(string(r.Payload), "YT0000001") || !strings.Contains(string(r.Payload), "YT0000002") {
			t.Errorf("%s: the bad element is not alone: %s", topic, r.Payload)
		}
		if b, ok := m.Again(r, 5); !ok || len(b.Rejects) != 1 || b.Rejects[0].Index != 1 || string(b.Rejects[0].Payload) != string(r.Payload) {
			t.Errorf("%s: with the mapping of before %+v, %v", topic, b, ok)
		}
		m.Update(rulesOf(t, mapping.Config{Sources: mended}))
		first, ok := m.Again(r, 5)
		if !ok || len(first.Events) != 1 || len(first.Rejects) != 0 {
			t.Fatalf("%s: with the mended one %+v, %v", topic, first, ok)
		}
		e := first.Events[0]
		if e.Waybill != "YT0000002" || e.ActionType != 100001 || e.Weak != (scan.WeakKey{}) || !e.ReceivedAt.Equal(r.ReceivedAt) {
			t.Errorf("%s: %+v", topic, e)
		}
		if topic == "split/a" && (e.DeviceID != "g7" || e.ActionTime != 1795420800) {
			t.Errorf("what the message says around the element is lost: %+v", e)
		}
		second, _ := m.Again(r, 5)
		other, _ := m.Again(r, 6)
		if second.Events[0].EventID != e.EventID {
			t.Errorf("%s: replayed twice it is %s and %s", topic, e.EventID, second.Events[0].EventID)
		}
		if timed := topic == "split/a"; (other.Events[0].EventID == e.EventID) != timed {
			t.Errorf("%s: two entries are %s and %s", topic, e.EventID, other.Events[0].EventID)
		}
	}
}

func TestAgainLeavesWhatItCannotKnow(t *testing.T) {
	m := canonical(t, func(c *mapping.Config) {
		c.Sources = []mapping.Source{{Topic: "a", Decoder: "text", Fields: map[string]string{"action_type": "=200001", "action_msg": "=x"}}}
	})
	for _, r := range []scan.Reject{
		{Topic: "b", Payload: []byte("YT0000001")},
		{Topic: "a", Payload: []byte("YT0000001"), Code: "too_large"},
		{Topic: "a"},
	} {
		if b, ok := m.Again(r, 1); ok {
			t.Errorf("%+v became %+v", r, b)
		}
	}
}

// The envelope of many bad elements is not kept with each of them.
func TestApartIsBounded(t *testing.T) {
	m := canonical(t, func(c *mapping.Config) {
		c.Sources = []mapping.Source{{Topic: "a", Split: "/reads", Fields: map[string]string{"waybill_id": "/code", "action_type": "/kind"}}}
	})
	payload := `{"blob":"` + strings.Repeat("x", 100_000) + `","reads":[` + strings.Repeat(`{"code":"YT0000001"},`, 999) + `{"code":"YT0000002"}]}`
	b := m.Map("a", []byte(payload), mapping.Info{})
	bytes := 0
	for _, r := range b.Rejects {
		bytes += len(r.Payload)
	}
	if len(b.Rejects) != 1000 || bytes > 256<<10+len(payload) {
		t.Errorf("%d rejects of %d bytes", len(b.Rejects), bytes)
	}
}

// One of several moments of a Sparkplug message; what is replayed is no news of
// the edge node.
func TestAgainSparkplug(t *testing.T) {
	cfg := loadSnippet(t, "sparkplug.yaml")
	m := testMapper(t, cfg, time.Date(2020, 9, 15, 7, 0, 0, 0, time.UTC))
	const topic = "spBv1.0/express/DDATA/depot-571/scanner-07"
	data := payloadOf(t, "@sparkplug-ddata.bin")
	early := m.Map(topic, data, mapping.Info{}).Rejects[0]
	m.Map("spBv1.0/express/DBIRTH/depot-571/scanner-07", payloadOf(t, "@sparkplug-dbirth.bin"), mapping.Info{})
	if b, ok := m.Again(early, 1); !ok || len(b.Events) != 1 {
		t.Errorf("after the birth %+v, %v", b, ok)
	}
	gaps, _ := m.Births().Counts()
	if b, ok := m.Again(early, 1); !ok || len(b.Events) != 1 {
		t.Errorf("%+v", b)
	}
	if now, _ := m.Births().Counts(); now != gaps {
		t.Error("a replay counts as a gap")
	}
	moment := scan.Reject{Topic: topic, Payload: []byte(`{"device":"scanner-07","metrics":{"Scan/Code":"78636098066239"},"timestamps":{"Scan/Code":1600152165000}}`), Index: 2}
	if b, ok := m.Again(moment, 1); !ok || len(b.Events) != 1 || b.Events[0].ActionTime != 1600152165 {
		t.Errorf("one moment %+v, %v", b, ok)
	}
}

func TestApart(t *testing.T) {
	docs, err := decode.JSON([]byte(`{"a":1,"b":[{"c":[[7,8],[9]],"d":null},{"c":[]}]}`), false)
	if err != nil {
		t.Fatal(err)
	}
	path, _ := decode.ParsePointer("/b/*/c/*")
	for i, want := range []string{`{"a":1,"b":[{"c":[[7]],"d":null}]}`, `{"a":1,"b":[{"c":[[8]],"d":null}]}`, `{"a":1,"b":[{"c":[[9]],"d":null}]}`} {
		e := docs[0].Root.Expand(path)[i]
		if got := string(decode.Apart(e.Node, e.Around)); got != want {
			t.Errorf("element %d: %s, want %s", i, got, want)
		}
	}
}
