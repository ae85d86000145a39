package mapping_test

import (
	"fmt"
	"strings"
	"testing"

	"scanrelay/agent/intake/mapping"
)

func TestExplain(t *testing.T) {
	cfg := loadSnippet(t, "star-cloudprnt.yaml")
	m := testMapper(t, cfg, noon)
	e := m.Explain("client-status", payloadOf(t, "@star-cloudprnt-barcode.json"), mapping.Info{}, false)
	if e.Source != 0 || e.Filter != "client-status" || e.Decoder != "json" || len(e.Reads) != 1 || len(e.Batch.Events) != 1 {
		t.Fatalf("explanation %+v", e)
	}
	got := make(map[string]string)
	for _, f := range e.Reads[0].Fields {
		got[f.Field] = f.Value + " from " + f.From
	}
	for field, want := range map[string]string{
		"waybill_id": "78636098066239 from /data, base64", "device_id": "*******-1 from /name of the message",
		"station": "counter from =counter", "action_type": "100001 from station counter",
		"action_msg": "【杭州转运中心】已收件 from station counter",
	} {
		if got[field] != want {
			t.Errorf("%s: %s, want %s", field, got[field], want)
		}
	}
	if e.Reads[0].Outcome != "event" || e.Reads[0].Event == nil {
		t.Errorf("read %+v", e.Reads[0])
	}
	e = m.Explain("client-status", []byte(`{"barcodeReader":[{"scan":[{"data":"?"}]}]}`), mapping.Info{}, false)
	if r := e.Reads[len(e.Reads)-1]; r.Outcome != "rejected" || !strings.Contains(r.Reason, "base64") {
		t.Errorf("read %+v", r)
	}
	if e = m.Explain("nowhere", []byte("x"), mapping.Info{}, false); e.Source != -1 || e.Reads[0].Outcome != "ignored" || e.Reads[0].Index != -1 {
		t.Errorf("explanation %+v", e)
	}
	// What stands around the number is shown without what may be a person's.
	line := canonical(t, func(c *mapping.Config) {
		c.Sources = []mapping.Source{{Topic: "#", Decoder: "text", Pattern: `^(?P<waybill_id>YT[0-9]+) `, Fields: map[string]string{"action_type": "=200001", "action_msg": "=x"}}}
	}).Explain("a", []byte("nothing\r\nYT6900634716900 13800138000"), mapping.Info{}, false)
	if line.Reads[0].Index != 0 || line.Reads[0].Outcome != "rejected" {
		t.Errorf("not in the order of the message: %+v", line.Reads)
	}
	if f := line.Reads[1].Fields[0]; f != (mapping.FieldExplanation{"waybill_id", "YT6900634716900", "the text, pattern", "YT690********00 138******00"}) {
		t.Errorf("waybill_id %+v", f)
	}
}

// What a device says is masked wherever it stands, unless one asks for it.
func TestExplainMasks(t *testing.T) {
	src := codeAt("/code")
	for field, place := range map[string]string{
		"action_time": "/at", "device_id": "/operator_name", "event_id": "/id", "action_msg": "/msg", "delivery_courier_name": "/courier",
		"delivery_courier_phone": "/tel", "action_type": "/kind",
	} {
		src.Fields[field] = place
	}
	m := canonical(t, func(c *mapping.Config) { c.Sources = []mapping.Source{src} })
	payload := func(kind string) []byte {
		return []byte(`{"code":"` + code1 + `","at":"王五 2026","operator_name":"Li Si","id":"李四-1795400000","msg":"请张三 Zhao Liu 在文一西路 收件",
			"courier":"Sun Qi","tel":"13800138000","kind":"` + kind + `"}`)
	}
	private := []string{"王五", "Li Si", "李四", "张三", "Zhao", "文一西路", "Sun", "13800138000", "周八"}
	for kind, shows := range map[string][]string{"200001": private[:8], "周八": private[8:]} {
		masked, raw := m.Explain("a", payload(kind), mapping.Info{}, false).Reads, m.Explain("a", payload(kind), mapping.Info{}, true).Reads
		for _, p := range private {
			if strings.Contains(fmt.Sprintf("%+v", masked[0].Reason), p) || strings.Contains(fmt.Sprintf("%+v", masked[0].Fields), p) {
				t.Errorf("%s shows: %+v", p, masked[0])
			}
		}
		for _, p := range shows {
			if !strings.Contains(fmt.Sprintf("%+v", raw[0].Fields)+raw[0].Reason, p) {
				t.Errorf("%s does not show though it should: %+v", p, raw[0])
			}
		}
	}
}
