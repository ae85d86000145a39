package mapping_test

import (
	"fmt"
	"strings"
	"testing"

	"scanrelay/agent/intake/mapping"
)

// Messages of devices that are not in the payload folder, and mistakes that whoever
// maps a device makes. What is wanted: the numbers with their times, then how many
// are ignored, then the codes of rejects.
func TestOtherDevices(t *testing.T) {
	const a, b = "YT6900634716900", "YT6900634716901"
	with := func(more ...string) map[string]string {
		f := map[string]string{"waybill_id": "/code", "action_type": "=200001", "action_msg": "=x"}
		for i := 0; i < len(more); i += 2 {
			f[more[i]] = more[i+1]
		}
		return f
	}
	text := func(more ...string) mapping.Source {
		f := with(more...)
		delete(f, "waybill_id")
		return mapping.Source{Decoder: "text", Fields: f}
	}
	timed := mapping.Source{Fields: with("action_time", "/at")}
	csv := mapping.Source{Decoder: "csv", Columns: []string{"n", "code", "at"}, Fields: with("action_time", "/at")}
	for _, row := range []struct {
		name, payload string
		m             mapping.Source
		want          string
	}{
		{"UTF-16 with BOM", "\xff\xfe" + wide(`{"code":"`+a+`"}`), timed, a + " 0"},
		{"UTF-16 text, big endian", "\xfe\xff\x00Y\x00T\x000\x000\x000\x000\x000\x000\x00\r\x00\n", text(), "YT000000 0"},
		{"GBK breaks JSON", "{\"code\":\"" + a + "\",\"name\":\"\xba\xb5\xe5\x5c\"}", timed, "0 not_json"},
		{"GBK elsewhere", "{\"code\":\"" + a + "\",\"name\":\"\xba\xb5\"}", timed, a + " 0"},
		{"a compact time as a number", `{"code":"` + a + `","at":20261123153000}`, timed, a + "@1795419000 0"},
		{"a spreadsheet's days", `{"code":"` + a + `","at":46349.64583333}`, mapping.Source{Fields: with("action_time", "/at"), TimeFormats: []string{"excel"}}, a + "@1795419000 0"},
		{".NET's ticks", `{"code":"` + a + `","at":639310446000000000}`, mapping.Source{Fields: with("action_time", "/at")}, a + "@1795419000 0"},
		{"a layout of its own", `{"code":"` + a + `","at":"23.11.26 15:30"}`, mapping.Source{Fields: with("action_time", "/at"), TimeFormats: []string{"02.01.06 15:04"}}, a + "@1795419000 0"},
		{"a Chinese date", `{"code":"` + a + `","at":"2026年11月23日 15:30:00"}`, timed, a + "@1795419000 0"},
		{"a large number", `{"code":12345678901234567890123}`, timed, "12345678901234567890123 0"},
		{"a number with an exponent", `{"code":1.2345678901234e13}`, timed, "12345678901234 0"},
		{"barcodeData by key", `{"data":{"barcodeData":{"x":{"code":"` + a + `"},"y":{"code":"` + b + `"}}}}`, mapping.Source{Split: "/data/barcodeData/*", Fields: with()}, a + " " + b + " 0"},
		{"* in the waybill's own place", `{"at":1795419000,"data":{"barcodeData":[{"code":"` + a + `"},{"code":"NOREAD"},{"code":"` + b + `"}]}}`,
			mapping.Source{Fields: with("waybill_id", "/data/barcodeData/*/code", "action_time", "/at")}, a + "@1795419000 " + b + "@1795419000 1"},
		{"an empty array in an envelope", `{"data":{"barcodeData":[]}}`, mapping.Source{Split: "/data/barcodeData", Fields: with()}, "1"},
		{"arrays in arrays of codes", `{"code":[["` + a + `"],["` + b + `",["4250168519463999999999999999999999999999"]]]}`, timed, a + " " + b + " 1"},
		{"a list of objects at the waybill", `{"code":[{"v":"` + a + `"}]}`, timed, "0 bad_waybill"},
		{"bare codes in an array", `["` + a + `","NOREAD",null,""]`, mapping.Source{Fields: with("waybill_id", "")}, a + " 2"},
		{"objects on lines with a heartbeat", `{"code":"` + a + `"}` + "\r\n" + `{"type":"heartbeat"}` + "\n" + `{"code":"` + b + `"}`, timed, a + " " + b + " 1"},
		{"a heartbeat on the data topic", `{"type":"heartbeat","uptime":5}`, timed, "0 no_waybill"},
		{"a zero byte behind", `{"code":"` + a + `"}` + "\x00", timed, a + " 0"},
		{"single quotes", `{'code':'` + a + `'}`, timed, a + " 0"},
		{"Cognex, group separator", a + "\x1d\r\n", text(), a + " 0"},
		{"Keyence, code and time in ms", a + ":0123\r", mapping.Source{Decoder: "text", Fields: text().Fields, Pattern: `^(?P<waybill_id>[A-Z0-9]+):[0-9]+$`}, a + " 0"},
		{"Keyence says an error", "ER,SYMB,01\rERROR\rER,23\r", mapping.Source{Decoder: "text", Fields: text().Fields, Ignore: []string{"^ER,"}}, "3"},
		{"Hikrobot, two codes a line", a + ";" + b, mapping.Source{Decoder: "text", Fields: text().Fields, Pattern: `^(?P<waybill_id>[A-Z0-9]{6,35})(;|$)`}, a + " 0"},
		{"no-reads of many makers", "NoRead\r\n<NOREAD>\nNo Code\nNO-READ\nNOBARCODE\ntimeout\n????\nundefined\nNODATA", text(), "9"},
		{"an AIM identifier", "]C1" + a, text(), "0 not_waybill"},
		{"an AIM identifier, mapped", "]C1" + a, mapping.Source{Decoder: "text", Fields: text().Fields, Pattern: `^(\][A-Za-z][0-9a-z])?(?P<waybill_id>.+)$`}, a + " 0"},
		{"an AIM identifier, taken off", "]C1" + a + "\r\n]Q3" + b, mapping.Source{Decoder: "text", Fields: text().Fields, AIM: true}, a + " " + b + " 0"},
		{"AIM and GS1 within JSON", `{"code":["]d2` + a + `\u001d","\u001dYT690063<GS>4716901{fnc1}","[YT]12345"]}`, mapping.Source{Fields: with(), AIM: true}, a + " " + b + " 1"},
		{"a no-read behind an AIM identifier", "]C0NOREAD", mapping.Source{Decoder: "text", Fields: text().Fields, AIM: true}, "1"},
		{"an AIM identifier alone", "]C1", mapping.Source{Decoder: "text", Fields: text().Fields, AIM: true}, "0 no_waybill"},
		{"XML", `<?xml version="1.0"?><scan at="2026-11-23 15:30:00"><code>` + a + `</code></scan>`, mapping.Source{Decoder: "xml", Fields: with("waybill_id", "/scan/code", "action_time", "/scan/@at")}, a + "@1795419000 0"},
		{"XML, several", `<scans at="1795419000"><scan><code>` + a + `</code></scan><scan><code>NOREAD</code></scan><scan><code>` + b + `</code></scan></scans>`,
			mapping.Source{Decoder: "xml", Split: "/scans/scan", Fields: with("action_time", "/scans/@at")}, a + "@1795419000 " + b + "@1795419000 1"},
		{"XML, several and only one came", `<scans><scan><code>` + a + `</code></scan></scans>`, mapping.Source{Decoder: "xml", Split: "/scans/scan", Fields: with()}, a + " 0"},
		{"XML, one of several is wrong", `<scans><scan><code>` + a + `</code></scan><scan><code>` + b + `</code><kind>9</kind></scan></scans>`,
			mapping.Source{Decoder: "xml", Split: "/scans/scan", Fields: with("action_type", "/kind")}, "0 no_action_type bad_action_type"},
		{"XML in GBK", "<?xml version=\"1.0\" encoding=\"GBK\"?><s><n>\xba\xbc\xd6\xdd</n><code>" + a + "</code></s>", mapping.Source{Decoder: "xml", Encoding: "gbk", Fields: with("waybill_id", "/s/code")}, a + " 0"},
		{"XML in GBK that nobody mentioned", "<s><n>\xba\xbc\xd6\xdd</n><code>" + a + "</code></s>", mapping.Source{Decoder: "xml", Fields: with("waybill_id", "/s/code")}, "0 not_xml"},
		{"XML that breaks off", "<s><code>" + a, mapping.Source{Decoder: "xml", Fields: with("waybill_id", "/s/code")}, "0 not_xml"},
		{"XML without the number", "<s><alive>1</alive></s>", mapping.Source{Decoder: "xml", Fields: with("waybill_id", "/s/code")}, "0 no_waybill"},
		{"XML to be ignored", "<s><alive n='1'/></s>", mapping.Source{Decoder: "xml", Fields: with("waybill_id", "/s/code"), Ignore: []string{"<alive "}}, "1"},
		{"CSV with semicolons", "1;" + a + ";2026-11-23 15:30:00\r\n2;NOREAD;\r\n", csv, a + "@1795419000 1"},
		{"CSV with BOM, header and quotes", "\xef\xbb\xbfn,code,at\r\n1,\"" + a + "\",\"2026-11-23 15:30:00\"\r\n", csv, a + "@1795419000 1"},
		{"Hikrobot, a list of codes", `{"DeviceSN":"K55","TriggerTime":"2026-11-23 15:30:00.123","CodeInfo":{"CodeNum":2,"CodeList":[{"Content":"` + a + `"},{"Content":"13800138000"}]}}`,
			mapping.Source{Split: "/CodeInfo/CodeList", Fields: with("waybill_id", "/Content", "action_time", "/TriggerTime", "device_id", "/DeviceSN")}, a + "@1795419000 1"},
		{"Hikrobot, nothing read", `{"DeviceSN":"K55","CodeInfo":{"CodeNum":0,"CodeList":[]}}`, mapping.Source{Split: "/CodeInfo/CodeList", Fields: with("waybill_id", "/Content")}, "1"},
		{"Cognex, no symbol", `{"device":{"name":"DM374"},"symbol":null,"result":"NOREAD"}`, mapping.Source{Fields: with("waybill_id", "/symbol/data"), Ignore: []string{`"NOREAD"`}}, "1"},
		{"Impinj R700, with its heartbeats", `[{"timestamp":"2026-11-23T07:30:00.123456789Z","tagInventoryEvent":{"epc":"4oBoBAAAQBEyNFZ4","epcHex":"E2806804000040113234567A"}},{"eventType":"heartbeat"}]`,
			mapping.Source{Fields: with("waybill_id", "/tagInventoryEvent/epcHex", "action_time", "/timestamp")}, "E2806804000040113234567A@1795419000 1"},
		{"Impinj R700, the number in base64", `[{"timestamp":"2026-11-23T07:30:00Z","tagInventoryEvent":{"epc":"WVQ2OTAwNjM0NzE2OTAw"}},{"tagInventoryEvent":{"epc":"4oBoBAAAQBEyNFZ4"}}]`,
			mapping.Source{Fields: with("waybill_id", "/tagInventoryEvent/epc", "action_time", "/timestamp"), Base64: []string{"waybill_id"}}, a + "@1795419000 1"},
		{"Newland, arrays by position", `{"sn":"N7","batches":[{"scans":[["` + a + `","2026-11-23 15:30:00"],["` + b + `",1795419000000000]]},{"scans":[["NOREAD",0]]}]}`,
			mapping.Source{Split: "/batches/*/scans", Fields: with("waybill_id", "/0", "action_time", "/1", "device_id", "/sn")}, a + "@1795419000 " + b + "@1795419000 1"},
		{"Datalogic, several codes in a line", "\x02" + a + ";" + b + ";4250168519463\x03", mapping.Source{Decoder: "text", Fields: text().Fields, Separator: ";", Pattern: "^(?P<waybill_id>YT[0-9]{13})$"}, a + " " + b + " 0 no_match"},
		{"codes between tabs and group separators", a + "\tNOREAD\x1d" + b + "\x1d\r\n", mapping.Source{Decoder: "text", Fields: text().Fields, Separator: `[\t\x1d]`}, a + " " + b + " 1"},
		{"JSON in a text in JSON", `{"deviceId":"x","payload":"{\"code\":\"` + a + `\",\"at\":1795419000000}"}`, mapping.Source{Fields: with("waybill_id", "/payload/code", "action_time", "/payload/at")}, a + "@1795419000 0"},
		{"reads in a text in JSON", `{"payload":"[{\"code\":\"` + a + `\"},{\"code\":\"` + b + `\"}]","at":"20261123153000123"}`, mapping.Source{Split: "/payload", Fields: with("action_time", "/at")}, a + "@1795419000 " + b + "@1795419000 0"},
		{"CSV with semicolons in quotes", `001;"` + a + `";"2026/11/23 15:30:00";"A;B"`, csv, a + "@1795419000 0"},
		{"a UTF-8 byte order mark", "\xef\xbb\xbf" + `{"code":"` + a + `"}`, timed, a + " 0"},
		{"nothing", "", timed, "1"},
		{"blanks", " \r\n\x00", timed, "1"},
		{"null", "null", timed, "1"},
		{"a bare number", "12345678901234", mapping.Source{Fields: with("waybill_id", "")}, "12345678901234 0"},
		{"a number too large for any float", `{"code":1e400}`, timed, "0 not_waybill"},
		{"not UTF-8 where the number is", "{\"code\":\"YT\xff\xfe00000\"}", timed, "0 not_waybill"},
		{"twice in one element", `{"code":["` + a + `","` + a + `"]}`, timed, a + " 1"},
		{"Chinese full-width digits", `{"code":"ＹＴ６９００６３４７"}`, timed, "0 not_waybill"},
	} {
		row.m.Topic = "#"
		m := canonical(t, func(c *mapping.Config) { c.Sources = []mapping.Source{row.m} })
		batch := m.Map("line/3", []byte(row.payload), mapping.Info{})
		var got []string
		for _, e := range batch.Events {
			one := string(e.Waybill)
			if e.ActionTime == 1795419000 {
				one += fmt.Sprintf("@%d", e.ActionTime)
			}
			got = append(got, one)
		}
		got = append(got, fmt.Sprint(batch.Ignored))
		for _, r := range batch.Rejects {
			got = append(got, r.Code)
		}
		if s := strings.Join(got, " "); s != row.want {
			t.Errorf("%s: %s, want %s: %+v", row.name, s, row.want, batch.Rejects)
		}
	}
}

// TestNumberInTheTopic: such a message needs no payload.
func TestNumberInTheTopic(t *testing.T) {
	for decoder, payloads := range map[string][]string{
		"json": {"", " \r\n", `{"at":1}`, "null", "[]", "7"}, "text": {"", "\r\n", "x", "null"}, "csv": {"", "1;2"}, "xml": {"", "\n", "<a/>"},
	} {
		m := canonical(t, func(c *mapping.Config) {
			one := mapping.Source{Topic: "read/+/+", Decoder: decoder, Fields: map[string]string{"waybill_id": "topic[2]", "device_id": "topic[1]", "action_type": "=200001", "action_msg": "=x"}}
			if decoder == "csv" {
				one.Columns = []string{"a", "b"}
			}
			c.Sources = []mapping.Source{one, {Topic: "#", Fields: map[string]string{"waybill_id": "/code", "action_type": "=200001", "action_msg": "=x"}}}
		})
		for _, payload := range payloads {
			b := m.Map("read/gun-7/YT6900634716900", []byte(payload), mapping.Info{})
			if len(b.Events) != 1 || b.Events[0].Waybill != "YT6900634716900" || b.Events[0].DeviceID != "gun-7" {
				t.Errorf("%s %q: %+v", decoder, payload, b)
			}
			for _, topic := range []string{"read/gun-7/NOREAD", "read/gun-7/alive"} {
				if b := m.Map(topic, []byte(payload), mapping.Info{}); len(b.Events) > 0 {
					t.Errorf("%q: %+v", topic, b.Events)
				}
			}
		}
		if b := m.Map("other", nil, mapping.Info{}); b.Ignored != 1 {
			t.Errorf("an empty payload elsewhere: %+v", b)
		}
	}
}

// TestPartsOfXML: what is rejected of a message is mapped on its own when it is replayed.
func TestPartsOfXML(t *testing.T) {
	with := func(action string) *mapping.Mapper {
		return canonical(t, func(c *mapping.Config) {
			c.Sources = []mapping.Source{{Topic: "#", Decoder: "xml", Split: "/scans/scan", Fields: map[string]string{
				"waybill_id": "/code", "device_id": "/scans/@by", "action_type": action, "action_msg": "=x"}}}
		})
	}
	b := with("/kind").Map("a", []byte(`<scans by="d&lt;1"><scan><code>YT6900634716900</code></scan><scan><code>YT6900634716901</code></scan></scans>`), mapping.Info{})
	if len(b.Rejects) != 2 {
		t.Fatal(b)
	}
	for i, r := range b.Rejects {
		got, ok := with("=200001").Again(r, uint64(i))
		if !ok || len(got.Events) != 1 || got.Events[0].DeviceID != "d<1" || string(got.Events[0].Waybill) != fmt.Sprintf("YT690063471690%d", i) {
			t.Errorf("%s: %+v", r.Payload, got)
		}
	}
}

// TestPayloadInAMessage: a station's template has what the message says beside the fields.
func TestPayloadInAMessage(t *testing.T) {
	m := canonical(t, func(c *mapping.Config) {
		c.Sources = []mapping.Source{{Topic: "+/#", Split: "/reads", Fields: map[string]string{"waybill_id": "/code", "station": "=gate"}}}
		c.Stations = map[string]mapping.Station{"gate": {ActionType: 300003, ActionMsg: `快件离开{{with .Field "/next/name"}},下一站【{{.}}】{{end}}{{if eq (.Field "topic[1]") "x"}}!{{end}}{{.Field "/by + /shift"}}`}}
	})
	for payload, want := range map[string]string{
		`{"by":" 张三","shift":2,"reads":[{"code":"YT6900634716900","next":{"name":"宁波转运中心"}}]}`: "快件离开,下一站【宁波转运中心】!张三 2",
		`{"next":{"name":["a"]},"reads":[{"code":"YT6900634716900"}]}`:                         "快件离开!",
	} {
		if ev := one(t, m, "line/x", payload, mapping.Info{}); string(ev.ActionMsg) != want {
			t.Errorf("%q, want %q", ev.ActionMsg, want)
		}
	}
}

// wide is ASCII in UTF-16, little endian.
func wide(s string) string {
	var out strings.Builder
	for i := range len(s) {
		out.Write([]byte{s[i], 0})
	}
	return out.String()
}
