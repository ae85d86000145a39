package mapping_test

import (
	"os"
	"path/filepath"
	"testing"
	"unicode/utf8"

	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/scan"
)

// FuzzMap holds what must be true of every message on every source: nothing
// vanishes without a count, every event is valid, every reject says why, and
// Explain finds the same as Map.
func FuzzMap(f *testing.F) {
	for _, c := range deviceCases {
		f.Add(c.topic, payloadOf(f, c.payload), false)
	}
	f.Add("spBv1.0/g/DDATA/n/d", payloadOf(f, "@sparkplug-ddata.bin"), true)
	f.Add("spBv1.0/express/DBIRTH/depot-571/scanner-07", payloadOf(f, "@sparkplug-dbirth.bin"), false)
	f.Add("star/cloudprnt/to-server/00-11\x8562/client-status", payloadOf(f, "@star-cloudprnt-barcode.json"), false)
	f.Add("spBv1.0//DDATA/n\xfd", payloadOf(f, "@sparkplug-ddata.bin"), true)
	f.Add("gbk/1", []byte("{\"waybill_id\":\"YT6900634716900\",\"action_type\":200001,\"action_msg\":\"\xba\xbc\xd6\xdd\"}"), false)
	f.Add("wrapped/1", []byte(`{"payload":"[{\"code\":\"YT6900634716900\",\"inner\":\"{\\\"at\\\":1}\"}]"}`), false)
	f.Add("lines/1", []byte("YT6900634716900;NOREAD\tYT6900634716901\r\n"), true)
	f.Add("hex/1", []byte(hexed(`{"waybill_id":"YT6900634716900"}`)), false)
	f.Add("wrapped/1", []byte(`{"payload":"`+base(gzipped(`[{"code":"YT6900634716900"}]`))+`"}`), false)
	f.Add("scans/1", []byte(`{"waybill_id":{"type":"Buffer","data":`+numbered("YT6900634716900")+`},"w":NaN,}`), false)
	f.Add("spBv1.0/g/DDATA/n/d", []byte(pbBytes(4, "SPBV1.0_COMPRESSED")+pbBytes(5, gzipped(metricOf("Scan/Code", 12, pbBytes(15, code1))))), false)
	m := everySource(f)
	f.Fuzz(func(t *testing.T, topic string, payload []byte, flag bool) {
		info := mapping.Info{ReceivedAt: noon, DUP: flag, Retained: flag}
		e := m.Explain(topic, payload, info, false)
		b := m.Map(topic, payload, info)
		if len(b.Events)+len(b.Rejects)+b.Ignored == 0 {
			t.Fatal("the message vanished")
		}
		if len(b.Events) != len(e.Batch.Events) || len(b.Rejects) != len(e.Batch.Rejects) || b.Ignored != e.Batch.Ignored {
			t.Errorf("Map finds %+v, Explain %+v", b, e.Batch)
		}
		seen := make(map[string]bool)
		for _, ev := range b.Events {
			checkEvent(t, &ev)
			if key := string(ev.Waybill) + ev.EventID; ev.Weak != (scan.WeakKey{}) && seen[key] {
				t.Errorf("two reads of one message share the id %s", ev.EventID)
			} else {
				seen[key] = true
			}
		}
		for _, r := range b.Rejects {
			if r.Code == "" || r.Reason == "" || r.Topic != topic || !utf8.ValidString(r.Reason) {
				t.Errorf("reject %+v", r)
			}
		}
	})
}

func checkEvent(t *testing.T, ev *scan.Event) {
	if err := ev.Validate(); err != nil {
		t.Errorf("event is not valid: %v", err)
	}
	if scan.LooksLikePhone(string(ev.Waybill)) || scan.NormalizeWaybill(string(ev.Waybill)) != ev.Waybill {
		t.Errorf("waybill %q", ev.Waybill)
	}
	for _, text := range []string{ev.EventID, ev.DeviceID, ev.Pickup.Name.Reveal(), ev.Delivery.Phone.Reveal()} {
		if !utf8.ValidString(text) {
			t.Errorf("%q is not UTF-8", text)
		}
	}
	if ev.ActionTime <= 0 || ev.ReceivedAt.IsZero() {
		t.Errorf("times %d, %s", ev.ActionTime, ev.ReceivedAt)
	}
}

// everySource maps the topics of all ready-made sources, and the default one.
func everySource(t testing.TB) *mapping.Mapper {
	cfg := mapping.Config{Depot: "hz-01", Stations: map[string]mapping.Station{}}
	files, err := filepath.Glob(filepath.Join(snippets, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no snippets: %v", err)
	}
	for _, file := range files {
		if _, err := os.Stat(file); err != nil {
			t.Fatal(err)
		}
		part := loadSnippet(t, filepath.Base(file))
		cfg.Sources = append(cfg.Sources, part.Sources...)
		for id, st := range part.Stations {
			cfg.Stations[id] = st
		}
	}
	cfg.Sources = append(cfg.Sources, mapping.Source{Topic: "gbk/#", Encoding: "gbk", Base64: []string{"device_id"}},
		mapping.Source{Topic: "wrapped/#", Split: "/payload", Fields: map[string]string{"waybill_id": "/code", "action_time": "/inner/at", "action_type": "=200001", "action_msg": "=x"}},
		mapping.Source{Topic: "lines/#", Decoder: "text", Separator: `[;\t]`, Fields: map[string]string{"action_type": "=200001", "action_msg": "=x"}},
		mapping.Source{Topic: "hex/#", Hex: []string{"payload", "device_id"}},
		mapping.Source{Topic: "#"})
	return testMapper(t, cfg, noon)
}
