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
	e := m.Explain("client-status", payloadOf(t, "@star-cloudprnt-barcode.json"), mapping.Info{})
	if e.Source != 0 || e.Filter != "client-status" || e.Decoder != "json" || len(e.Reads) != 1 || len(e.Batch.Events) != 1 {
		t.Fatalf("explanation %+v", e)
	}
	got := make(map[string]string)
	for _, f := range e.Reads[0].Fields {
		got[f.Field] = f.Value + " from " + f.From
	}
	for field, want := range map[string]string{
		"waybill_id": "78636098066239 from /data, base64", "device_id": "scanner-1 from /name of the message",
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
	e = m.Explain("client-status", []byte(`{"barcodeReader":[{"scan":[{"data":"?"}]}]}`), mapping.Info{})
	if r := e.Reads[len(e.Reads)-1]; r.Outcome != "rejected" || !strings.Contains(r.Reason, "base64") {
		t.Errorf("read %+v", r)
	}
	if e = m.Explain("nowhere", []byte("x"), mapping.Info{}); e.Source != -1 || e.Reads[0].Outcome != "ignored" || e.Reads[0].Index != -1 {
		t.Errorf("explanation %+v", e)
	}
	// What stands around the number is shown without what may be a person's.
	line := canonical(t, func(c *mapping.Config) {
		c.Sources = []mapping.Source{{Topic: "#", Decoder: "text", Pattern: `^(?P<waybill_id>YT[0-9]+) `, Fields: map[string]string{"action_type": "=200001", "action_msg": "=x"}}}
	}).Explain("a", []byte("nothing\r\nYT6900634716900 13800138000"), mapping.Info{})
	if line.Reads[0].Index != 0 || line.Reads[0].Outcome != "rejected" {
		t.Errorf("not in the order of the message: %+v", line.Reads)
	}
	if f := line.Reads[1].Fields[0]; f != (mapping.FieldExplanation{"waybill_id", "YT6900634716900", "the text, pattern", "YT690********00 138******00"}) {
		t.Errorf("waybill_id %+v", f)
	}
	// Personal data is masked.
	e = canonical(t).Explain("scans/a", []byte(fields(`"delivery_courier_name":"王五","delivery_courier_phone":"13800138000","action_msg":"电话13800138000"`)), mapping.Info{})
	if text := fmt.Sprintf("%+v", e.Reads[0].Fields); strings.Contains(text, "王五") || strings.Contains(text, "13800138000") {
		t.Errorf("personal data shows: %s", text)
	}
}
