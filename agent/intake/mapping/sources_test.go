package mapping_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/scan"
)

const snippets = "../../../configs/sources"

// loadSnippet reads a file of configs/sources.
func loadSnippet(t testing.TB, file string) mapping.Config {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(snippets, file))
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		Sources  []mapping.Source           `yaml:"sources"`
		Stations map[string]mapping.Station `yaml:"stations"`
	}
	if err := yaml.UnmarshalWithOptions(raw, &s, yaml.Strict()); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return mapping.Config{Depot: "hz-01", DepotName: "杭州转运中心", Sources: s.Sources, Stations: s.Stations}
}

// deviceCase is one message of one device and what it becomes.
type deviceCase struct {
	file    string // of configs/sources
	topic   string
	payload string // inline, or with @ a file of testdata
	now     string // the gateway's clock
	want    []wantEvent
	rejects []string // codes
	ignored int
}

type wantEvent struct {
	waybill string
	action  scan.ActionType
	at      string // action_time; "": time of arrival
	device  string
	id      string // event_id; "": derived or none
	weak    bool
	msg     string // contained in action_msg
}

const arrived = "快件到达 【杭州转运中心】"

var deviceCases = []deviceCase{
	{"zebra-fx.yaml", "fx9600-01/d-evt", "@zebra-fx-iotc-simple.json", "2024-11-21T19:21:00Z",
		[]wantEvent{{"E2C24500200000668534009C", 200001, "2024-11-21T19:20:53Z", "fx9600-01", "", false, arrived}}, nil, 0},
	{"zebra-fx.yaml", "fx9600-01/d-evt", "@zebra-fx-iotc-custom.json", "2026-08-13T10:00:00Z",
		[]wantEvent{{"AA0004EF55555555AA21BF43", 200001, "2026-08-13T09:14:28Z", "fx9600-01", "", false, arrived}}, nil, 0},
	{"zebra-fx.yaml", "fx9600-01/d-evt", "@zebra-fx-iotc-batch-array.json", "2023-04-03T20:00:00Z",
		[]wantEvent{
			{"112233445566778899001134", 200001, "2023-04-03T19:50:16Z", "fx9600-01", "", false, arrived},
			{"112233445566778899001134", 200001, "2023-04-03T19:50:18Z", "fx9600-01", "", false, arrived},
		}, nil, 2},
	{"zebra-fx.yaml", "fx9600-01/d-evt", `{"type": "HEARTBEAT", "data": {"radio": "on"}}`, "", nil, nil, 1},
	{"zebra-fx.yaml", "fx9600-01/d-evt", `{"data": {"temperature": 31}, "type": "TEMP"}`, "", nil, nil, 1},
	{"zebra-fx.yaml", "fx9600-01/d-evt", `[]`, "", nil, nil, 1},
	{"zebra-rfd.yaml", "acme/DATA/clients/data1event/RFD40-0001", "@zebra-rfd-dataevt-tag.json", "2026-05-19T14:16:00Z",
		[]wantEvent{{"BEDD11112222333344445555", 200001, "2026-05-19T14:15:22Z", "RFD40-0001", "", false, arrived}}, nil, 0},
	{"zebra-rfd-barcode.yaml", "acme/DATA/clients/data1event/RFD40-0001",
		`{"timestamp":"2026-05-19T14:15:22Z","data":{"barcodeData":[{"decodedBarcode":"YT6900634716900","type":"CODE128"},{"decodedBarcode":"6901028075831","type":"EAN13"}]}}`,
		"2026-05-19T14:16:00Z",
		[]wantEvent{
			{"YT6900634716900", 200001, "2026-05-19T14:15:22Z", "RFD40-0001", "", false, arrived},
			{"6901028075831", 200001, "2026-05-19T14:15:22Z", "RFD40-0001", "", false, arrived},
		}, nil, 0},
	{"zebra-dna-taglist.yaml", "zebra/dock-1/taglist", "@zebra-dna-taglist.json", "",
		[]wantEvent{{"AABBCCDD", 200001, "", "dock-1", "", true, arrived}}, nil, 0},
	{"proglove.yaml", "main/gateway/PGGW-0001/scan", "@proglove-scan.json", "2023-11-10T13:07:00Z",
		[]wantEvent{{"YVQGZZNSXU", 200001, "2023-11-10T13:06:49Z", "MDMR102104863", "22d4a950-b373-42a3-8428-7a3887e78583", false, "已发出"}}, nil, 0},
	{"umh-barcodereader.yaml", "ia/c/l/packing-1/barcode", "@umh-barcodereader.json", "2021-03-15T09:21:00Z",
		[]wantEvent{{"4250168519463", 100001, "2021-03-15T09:20:00Z", "packing-1", "", false, "已收件"}}, nil, 0},
	{"barcode-server.yaml", "barcode-server/barcode", "@barcode-server.json", "2020-08-03T10:01:00Z",
		[]wantEvent{{"4250168519463", 100001, "2020-08-03T10:00:00Z", "cash-register-1", "33cb5677-3d0b-4faf-9dc4-d19a8ee7d8a1", false, "已收件"}}, nil, 0},
	{"hikrobot.yaml", "hikrobot/sorter-1/result",
		`{"DeviceSN":"K55192","TriggerTime":"2026-11-23 20:00:00.123","CodeInfo":{"CodeNum":2,"CodeList":[{"Content":"YT6900634716900","CodeType":"CODE128"},{"Content":"13800138000","CodeType":"CODE39"}]}}`, "2026-11-23T12:01:00Z",
		[]wantEvent{{"YT6900634716900", 200001, "2026-11-23T12:00:00Z", "K55192", "", false, arrived}}, nil, 1},
	{"hikrobot.yaml", "hikrobot/sorter-1/result", `{"DeviceSN":"K55192","CodeInfo":{"CodeNum":0,"CodeList":[]}}`, "", nil, nil, 1},
	{"impinj-r700.yaml", "impinj/dock-2/events",
		`[{"timestamp":"2026-11-23T12:00:00.123456789Z","hostname":"impinj-14","eventType":"tagInventory","tagInventoryEvent":{"epc":"4oBoBAAAQBEyNFZ4","epcHex":"E2806804000040113234567A"}},{"eventType":"heartbeat"}]`, "2026-11-23T12:01:00Z",
		[]wantEvent{{"E2806804000040113234567A", 200001, "2026-11-23T12:00:00Z", "impinj-14", "", false, arrived}}, nil, 1},
	{"handheld-gbk.yaml", "pda/pda-7/gbk", "\x02\xc5\xc9\xbc\xfe:YT6900634716900;JT1234567890123;NOREAD\x03\r\n", "",
		[]wantEvent{
			{"YT6900634716900", 300002, "", "pda-7", "", true, "已扫描"}, {"JT1234567890123", 200001, "", "pda-7", "", true, "已扫描"},
		}, nil, 1},
	{"plain-text.yaml", "barcode", "@plain-barcode.txt", "",
		[]wantEvent{{"78636098066239", 200001, "", "line-1", "", true, arrived}}, nil, 0},
	{"plain-text.yaml", "barcode", "@plain-barcode-crlf.txt", "",
		[]wantEvent{{"773194917396313", 200001, "", "line-1", "", true, arrived}}, nil, 0},
	{"plain-text.yaml", "barcode", "@plain-stx-etx.txt", "",
		[]wantEvent{{"YT6900634716900", 200001, "", "line-1", "", true, arrived}}, nil, 0},
	{"plain-text.yaml", "barcode", "@plain-noread-ab.txt", "", nil, nil, 1},
	{"plain-text.yaml", "barcode", "@plain-noread-microscan.txt", "", nil, nil, 1},
	{"plain-text.yaml", "barcode", "YT6900634716900\r\nNOREAD\r\n690\r\n", "",
		[]wantEvent{{"YT6900634716900", 200001, "", "line-1", "", true, arrived}}, nil, 2},
	{"plain-text.yaml", "barcode", "690\r\n", "", nil, []string{"not_waybill"}, 0},
	{"panasonic.yaml", "panasonic/gate-3", "@panasonic-quality-prefix.txt", "",
		[]wantEvent{{"A123456A", 200001, "", "", "", true, arrived}}, nil, 0},
	{"panasonic.yaml", "panasonic/gate-3", "@panasonic-myname.txt", "",
		[]wantEvent{{"A123456A", 200001, "", "My Reader", "", true, arrived}}, nil, 0},
	{"panasonic.yaml", "panasonic/gate-3", "(C000E000D000) BR\r", "", nil, nil, 1},
	{"panasonic.yaml", "panasonic/gate-3", "a,b,c,d\r", "", nil, []string{"no_match"}, 0},
	{"star-cloudprnt.yaml", "client-status", "@star-cloudprnt-barcode.json", "",
		[]wantEvent{{"78636098066239", 100001, "", "scanner-1", "", true, "已收件"}}, nil, 0},
	{"star-cloudprnt.yaml", "star/cloudprnt/to-server/00-11-62/client-status", "@star-cloudprnt-barcode.json", "",
		[]wantEvent{{"78636098066239", 100001, "", "00-11-62", "", true, "已收件"}}, nil, 0},
	{"star-cloudprnt.yaml", "client-status", `{"printer":"ok","barcodeReader":[{"name":"s","status":{}}]}`, "", nil, nil, 1},
	{"star-cloudprnt.yaml", "client-status", `{"barcodeReader":[{"name":"s","scan":[{"data":"!!"},{"data":"Nzg2MzYwOTgwNjYyMzk"}]}]}`, "",
		[]wantEvent{{"78636098066239", 100001, "", "s", "", true, "已收件"}}, []string{"bad_base64"}, 0},
	{"neuron-values.yaml", "/neuron/modbus/modbus-tcp/grp", "@neuron-values.json", "", nil, []string{"not_waybill"}, 0},
	{"neuron-values.yaml", "/neuron/modbus/modbus-tcp/grp",
		`{"timestamp":1650006388943,"node":"modbus","group":"grp","values":{"tag0":78636098066239},"errors":{}}`, "2022-04-15T07:10:00Z",
		[]wantEvent{{"78636098066239", 200001, "2022-04-15T07:06:28Z", "modbus", "", false, arrived}}, nil, 0},
	{"neuron-values.yaml", "/neuron/modbus/modbus-tcp/grp", `{"timestamp":1650006388943,"values":{},"errors":{"tag0":2014}}`, "", nil, nil, 1},
	{"neuron-tags.yaml", "/neuron/modbus/modbus-tcp/grp", "@neuron-tags.json", "", nil, []string{"not_waybill"}, 1},
	{"neuron-tags.yaml", "/neuron/modbus/modbus-tcp/grp",
		`{"node":"modbus","timestamp":1647497389075,"tags":[{"name":"code","value":"JT1234567890123"},{"name":"weight","value":123456},{"name":"x","error":2014}]}`,
		"2022-03-17T06:10:00Z",
		[]wantEvent{{"JT1234567890123", 200001, "2022-03-17T06:09:49Z", "modbus", "", false, arrived}}, nil, 2},
	{"dws.yaml", "dws/dws-1/scanbag", "@dws-etower-scanbag.json", "",
		[]wantEvent{{"680009900001", 200001, "", "dws-1", "", true, arrived}}, nil, 0},
	{"dws.yaml", "dws/dws-1/scanweight", "@dws-etower-scanweight-batch.json", "2023-10-10T06:00:00Z",
		[]wantEvent{
			{"ETO2310100111-1", 200001, "", "dws-1", "", true, arrived},
			{"ETO2310100111-2", 200001, "2023-10-10T05:50:44Z", "dws-1", "", false, arrived},
		}, nil, 0},
	{"datawedge.yaml", "datawedge/tc21-07", "@datawedge-intent.json", "",
		[]wantEvent{{"YT6900634716900", 300002, "", "tc21-07", "", true, "派件中"}}, nil, 0},
	{"yunda-step.yaml", "yunda/steps", "@yunda-openapi-step.json", "2020-10-24T10:00:00Z",
		[]wantEvent{{"3160000261634", 100001, "2020-10-24T09:26:06Z", "430003", "", false, "已揽收"}}, nil, 0},
	{"kuaidi100-trace.yaml", "kuaidi100/trace", "@trace-yto-kuaidi100-masked.json", "2022-01-14T00:00:00Z", yto, nil, 0},
	{"thingsboard.yaml", "v1/gateway/telemetry", `{"Scanner A":[{"ts":1795435200000,"values":{"code":"YT6900634716900"}}]}`, "2026-11-23T12:01:00Z",
		[]wantEvent{{"YT6900634716900", 200001, "2026-11-23T12:00:00Z", "Scanner A", "", false, arrived}}, nil, 0},
	{"packages.yaml", "packages/belt-1", "VA01234567890-1-200-SDSFS\r\n123456789N1S1H1\r\nJDX012345678901", "",
		[]wantEvent{
			{"VA01234567890", 200001, "", "belt-1", "", true, arrived}, {"123456789", 200001, "", "belt-1", "", true, arrived},
			{"JDX012345678901", 200001, "", "belt-1", "", true, arrived},
		}, nil, 0},
	{"csv-handheld.yaml", "handheld/pda-12/upload", "code,kind,at,courier\nYT6900634716900;派件;10.10.2023 13:50;王五\nYT6900634716901,到件,2023-10-10 13:51:00\n", "2023-10-10T06:00:00Z",
		[]wantEvent{
			{"YT6900634716900", 300002, "2023-10-10T05:50:00Z", "pda-12", "", false, "【杭州转运中心】已扫描"},
			{"YT6900634716901", 200001, "2023-10-10T05:51:00Z", "pda-12", "", false, "【杭州转运中心】已扫描"},
		}, nil, 1},
}

// yto is the masked path of trace-yto-kuaidi100-masked.json.
var yto = []wantEvent{
	{"YT0000000000001", 300007, "2022-01-13T10:52:32Z", "", "", false, "已签收"},
	{"YT0000000000001", 300005, "2022-01-13T09:16:34Z", "", "", false, "菜鸟驿站代收"},
	{"YT0000000000001", 300002, "2022-01-13T05:47:04Z", "", "", false, "派件中"},
}

func TestEveryDevice(t *testing.T) {
	for _, c := range deviceCases {
		t.Run(c.file+"/"+c.payload, func(t *testing.T) {
			now := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
			if c.now != "" {
				now = mustTime(t, c.now)
			}
			b := testMapper(t, loadSnippet(t, c.file), now).Map(c.topic, payloadOf(t, c.payload), mapping.Info{})
			if c.file == "kuaidi100-trace.yaml" { // twelve nodes; the first three are looked at closely
				if len(b.Events) != 12 {
					t.Fatalf("%d nodes of 12", len(b.Events))
				}
				b.Events = b.Events[:3]
			}
			compare(t, b, c, now)
		})
	}
}

func compare(t *testing.T, b scan.Batch, c deviceCase, now time.Time) {
	t.Helper()
	var codes []string
	for _, r := range b.Rejects {
		codes = append(codes, r.Code)
		if r.Reason == "" || r.Topic != c.topic || len(r.Payload) == 0 {
			t.Errorf("reject %+v lacks something", r)
		}
	}
	if !slices.Equal(codes, c.rejects) || b.Ignored != c.ignored {
		t.Errorf("rejects %v, ignored %d; want %v, %d: %+v", codes, b.Ignored, c.rejects, c.ignored, b.Rejects)
	}
	if len(b.Events) != len(c.want) {
		t.Fatalf("%d events, want %d: %+v", len(b.Events), len(c.want), b.Rejects)
	}
	for i, w := range c.want {
		e := b.Events[i]
		at, marked := now, true
		if w.at != "" {
			at, marked = mustTime(t, w.at), false
		}
		switch {
		case string(e.Waybill) != w.waybill, e.ActionType != w.action, e.DeviceID != w.device:
			t.Errorf("event %d: %s %d of %q, want %s %d of %q", i, e.Waybill, e.ActionType, e.DeviceID, w.waybill, w.action, w.device)
		case e.ActionTime != at.Unix() || e.Marks.Has(scan.MarkClock) != marked:
			t.Errorf("event %d: time %s (marks %d), want %s", i, time.Unix(e.ActionTime, 0).UTC(), e.Marks, at)
		case w.id != "" && e.EventID != w.id, e.Marks.Has(scan.MarkDerivedID) != (w.id == ""):
			t.Errorf("event %d: id %s (marks %d), want %s", i, e.EventID, e.Marks, w.id)
		case (e.Weak != scan.WeakKey{}) != w.weak:
			t.Errorf("event %d: weak %x", i, e.Weak)
		case !strings.Contains(e.ActionMsg.Reveal(), w.msg):
			t.Errorf("event %d: says %s, want %s", i, e.ActionMsg.Reveal(), w.msg)
		}
	}
}

// Every file of configs/sources has a case above, and every payload too.
func TestEveryFileHasACase(t *testing.T) {
	covered := map[string]bool{"README.md": true, "sparkplug-expected.json": true}
	for _, c := range deviceCases {
		covered[c.file] = true
		covered[strings.TrimPrefix(c.payload, "@")] = true
	}
	for _, f := range []string{"sparkplug.yaml", "sparkplug-dbirth.bin", "sparkplug-ddata.bin"} {
		covered[f] = true // TestSparkplugDevice
	}
	for _, dir := range []string{snippets, "../testdata"} {
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if !f.IsDir() && !covered[f.Name()] {
				t.Errorf("%s/%s has no case", dir, f.Name())
			}
		}
	}
}

func payloadOf(t testing.TB, payload string) []byte {
	t.Helper()
	file, isFile := strings.CutPrefix(payload, "@")
	if !isFile {
		return []byte(payload)
	}
	raw, err := os.ReadFile(filepath.Join("../testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func mustTime(t testing.TB, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// testClock is a clock that a test sets.
type testClock struct {
	now        time.Time
	believable bool
	boot       string
	since      time.Duration
}

func (c *testClock) Now() time.Time                { return c.now }
func (c *testClock) Believable() bool              { return c.believable }
func (c *testClock) Boot() (string, time.Duration) { return c.boot, c.since }
