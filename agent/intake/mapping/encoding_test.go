package mapping_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/scan"
)

// 杭州转运中心 and 錦, whose second byte is a backslash, in GBK.
const (
	gbkHub  = "\xba\xbc\xd6\xdd\xd7\xaa\xd4\xcb\xd6\xd0\xd0\xc4"
	gbkName = "\xe5\x5c"
)

func gbkMapper(t *testing.T, change ...func(*mapping.Source)) *mapping.Mapper {
	m := mapping.Source{Topic: "#", Encoding: "gbk", Fields: map[string]string{
		"waybill_id": "/code", "action_type": "/kind", "action_msg": "/where", "pickup_courier_name": "/who", "device_id": "/gun",
	}, Values: map[string]map[string]string{"action_type": {"到件": "200001"}}}
	for _, c := range change {
		c(&m)
	}
	return canonical(t, func(c *mapping.Config) { c.Sources = []mapping.Source{m} })
}

const gbkKind = "\xb5\xbd\xbc\xfe" // 到件

func TestGBKDevices(t *testing.T) {
	payload := `{"code":"YT0000001","kind":"` + gbkKind + `","where":"` + gbkHub + `","who":"` + gbkName + `"}`
	text := func(m *mapping.Source) {
		m.Decoder, m.Pattern = "text", `^(?P<waybill_id>YT[0-9]+) (?P<action_type>\pL+) (?P<action_msg>.+?) (?P<pickup_courier_name>.+)$`
		m.Fields = nil
	}
	csv := func(m *mapping.Source) {
		m.Decoder, m.Columns = "csv", []string{"code", "kind", "where", "who"}
		delete(m.Fields, "device_id")
	}
	for name, c := range map[string]struct {
		payload string
		change  func(*mapping.Source)
	}{
		"json": {payload, func(*mapping.Source) {}},
		"text": {"YT0000001 " + gbkKind + " " + gbkHub + " " + gbkName + "\r\n", text},
		"csv":  {"YT0000001;" + gbkKind + ";" + gbkHub + ";" + gbkName, csv},
		"UTF-8 with a byte order mark": {
			"\ufeff" + `{"code":"YT0000001","kind":"到件","where":"杭州转运中心","who":"錦"}`, func(*mapping.Source) {},
		},
		"in base64": {
			`{"code":"YT0000001","kind":200001,"where":"` + base64.StdEncoding.EncodeToString([]byte(gbkHub)) + `","who":"` + gbkName + `"}`,
			func(m *mapping.Source) { m.Base64 = []string{"action_msg"} },
		},
	} {
		b := gbkMapper(t, c.change).Map("gate/1", []byte(c.payload), mapping.Info{ReceivedAt: noon})
		if len(b.Events) != 1 || len(b.Rejects) != 0 {
			t.Errorf("%s: %+v", name, b)
			continue
		}
		if e := b.Events[0]; e.ActionMsg.Reveal() != "杭州转运中心" || e.ActionType != 200001 || e.Pickup.Name.Reveal() != "錦" {
			t.Errorf("%s: %s, %d, %s", name, e.ActionMsg.Reveal(), e.ActionType, e.Pickup.Name.Reveal())
		}
	}
}

// What is rejected is kept as it came, one element of several in UTF-8; both are
// understood when they are replayed.
func TestGBKAgain(t *testing.T) {
	first := gbkMapper(t, func(m *mapping.Source) { m.Values = nil })
	mended := gbkMapper(t)
	one := `{"code":"YT0000001","kind":"` + gbkKind + `","where":"` + gbkHub + `"}`
	whole := first.Map("gate/1", []byte(one), mapping.Info{ReceivedAt: noon}).Rejects[0]
	if string(whole.Payload) != one {
		t.Errorf("kept %q", whole.Payload)
	}
	part := first.Map("gate/1", []byte("["+one+`,{"code":"YT0000002","kind":200001,"where":"x"}]`), mapping.Info{ReceivedAt: noon}).Rejects[0]
	if !strings.HasPrefix(string(part.Payload), "\ufeff") || !strings.Contains(string(part.Payload), "杭州转运中心") {
		t.Errorf("kept %q", part.Payload)
	}
	// A source that had no encoding when it came.
	plain := canonical(t).Map("scans/1", []byte(`{"waybill_id":"YT0000001","action_type":1,"action_msg":"`+gbkHub+`"}`), mapping.Info{ReceivedAt: noon}).Rejects[0]
	plain.Payload = []byte(strings.NewReplacer("waybill_id", "code", "action_type", "kind", "action_msg", "where", ":1,", ":200001,").Replace(string(plain.Payload)))
	for name, r := range map[string]scan.Reject{"whole": whole, "an element": part, "plain": plain} {
		b, ok := mended.Again(r, 1)
		if !ok || len(b.Events) != 1 || b.Events[0].ActionMsg.Reveal() != "杭州转运中心" {
			t.Errorf("%s: %+v, %v", name, b, ok)
		}
	}
}

func TestNotGBK(t *testing.T) {
	for name, c := range map[string]struct {
		payload, code string
		change        func(*mapping.Source)
	}{
		"half a character": {`{"code":"YT0000001` + "\xba", "not_gbk", func(*mapping.Source) {}},
		"in base64": {
			`{"code":"YT0000001","kind":200001,"where":"` + base64.StdEncoding.EncodeToString([]byte("\xff\xff")) + `"}`, "not_gbk",
			func(m *mapping.Source) { m.Base64 = []string{"action_msg"} },
		},
		"GBK that nobody named": {
			`{"code":"YT0000001","kind":200001,"where":"` + gbkHub + `"}`, "not_utf8", func(m *mapping.Source) { m.Encoding = "" },
		},
	} {
		b := gbkMapper(t, c.change).Map("gate/1", []byte(c.payload), mapping.Info{ReceivedAt: noon})
		if len(b.Rejects) != 1 || b.Rejects[0].Code != c.code || string(b.Rejects[0].Payload) != c.payload {
			t.Errorf("%s: %+v", name, b)
		}
		if c.code == "not_utf8" && !strings.Contains(b.Rejects[0].Reason, "give source 0 (#) encoding: gbk") {
			t.Errorf("the reason is %s", b.Rejects[0].Reason)
		}
	}
	if _, problems := mapping.Compile(mapping.Config{Sources: []mapping.Source{{Topic: "#", Encoding: "latin1"}}}); problems.Err() == nil || !strings.Contains(problems.Err().Error(), `unknown value "latin1"`) {
		t.Errorf("an encoding that is none: %v", problems)
	}
}
