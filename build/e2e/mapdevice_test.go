package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"scanrelay/build/rig"
)

// device is one of testdata's, and how it is mapped: role and place of each click.
type device struct {
	topic, file string
	clicks      [][2]string
	want        []string // waybills
}

var devices = []device{
	{"fx9600-01/d-evt", "zebra-fx-iotc-simple.json", [][2]string{{"waybill_id", "/data/idHex"}, {"action_time", "/timestamp"}, {"device_id", "topic[0]"}}, []string{"E2C24500200000668534009C"}},
	{"fx9600-02/d-evt", "zebra-fx-iotc-custom.json", [][2]string{{"waybill_id", "/data/idHex"}, {"action_time", "/timestamp"}}, []string{"AA0004EF55555555AA21BF43"}},
	{"fx9600-03/d-evt", "zebra-fx-iotc-batch-array.json", [][2]string{{"waybill_id", "/0/data/idHex"}, {"action_time", "/0/timestamp"}}, []string{"112233445566778899001134"}},
	{"acme/DATA/clients/data1event/RFD40", "zebra-rfd-dataevt-tag.json", [][2]string{{"waybill_id", "/data/tagData/0/EPCid"}, {"action_time", "/timestamp"}, {"station", "topic[4]"}}, []string{"BEDD11112222333344445555"}},
	{"zebra/dock-1/taglist", "zebra-dna-taglist.json", [][2]string{{"waybill_id", "/TagList/0/IDHex"}, {"station", "topic[1]"}, {"device_id", "topic[1]"}}, []string{"AABBCCDD"}},
	{"proglove/gateway/gw-1/scan", "proglove-scan.json", [][2]string{{"waybill_id", "/scan_code"}, {"action_time", "/time_created"}, {"device_id", "/device_serial"}}, []string{"YVQGZZNSXU"}},
	{"ia/acme/hz/m1/barcode", "umh-barcodereader.json", [][2]string{{"waybill_id", "/barcode"}, {"action_time", "/timestamp_ms"}}, []string{"4250168519463"}},
	{"barcode-server/barcode", "barcode-server.json", [][2]string{{"waybill_id", "/barcode"}, {"action_time", "/date"}, {"device_id", "/serverId"}}, []string{"4250168519463"}},
	{"line/1", "plain-barcode.txt", nil, []string{"78636098066239"}},
	{"line/2", "plain-barcode-crlf.txt", nil, []string{"773194917396313"}},
	{"line/3", "plain-stx-etx.txt", nil, []string{"YT6900634716900"}},
	{"panasonic/a", "panasonic-myname.txt", [][2]string{{"waybill_id", "0:1"}, {"device_id", "0:0"}}, []string{"A123456A"}},
	{"panasonic/b", "panasonic-quality-prefix.txt", [][2]string{{"waybill_id", "0:3"}}, []string{"A123456A"}},
	{"client-status", "star-cloudprnt-barcode.json", [][2]string{{"waybill_id", "/barcodeReader/0/scan/0/data"}, {"device_id", "/barcodeReader/0/name"}}, []string{"78636098066239"}},
	{"dws/dws-1/scanbag", "dws-etower-scanbag.json", [][2]string{{"waybill_id", "/bagNo"}}, nil}, // its pattern is written by hand, see below
	{"dws/dws-1/scanweight", "dws-etower-scanweight-batch.json", [][2]string{{"waybill_id", "/0/refNo"}, {"action_time", "/0/weightTime"}, {"station", "topic[1]"}}, []string{"ETO2310100111-1", "ETO2310100111-2"}},
	{"datawedge/pda-1", "datawedge-intent.json", [][2]string{{"waybill_id", "/com.symbol.datawedge.data_string"}, {"device_id", "topic[1]"}}, []string{"YT6900634716900"}},
	{"yunda/step", "yunda-openapi-step.json", [][2]string{{"waybill_id", "/mailno"}, {"action_time", "/time"}, {"action_type", "/action"}}, []string{"3160000261634"}},
	{"kuaidi100/trace", "trace-yto-kuaidi100-masked.json", [][2]string{{"waybill_id", "/nu"}, {"action_time", "/data/0/ftime"}}, []string{"YT0000000000001"}},
	{"neuron/modbus/grp", "neuron-values.json", [][2]string{{"waybill_id", "/values/tag0"}, {"action_time", "/timestamp"}, {"device_id", "/node"}}, []string{"7863609800"}},
	{"neuron/modbus/tags", "neuron-tags.json", [][2]string{{"waybill_id", "/tags/0/value"}, {"action_time", "/timestamp"}}, []string{"7863609800"}},
	{"spBv1.0/express/DDATA/depot-571/scanner-07", "sparkplug-ddata.bin", nil, []string{"78636098066239"}}, // mapped by its birth
}

// TestMapDevices maps every device that testdata has on the depot page, by clicking in a
// real Chromium: each message is published, found on the page, its values are clicked, the
// mapping is saved, and from then on the agent takes the device's scans.
func TestMapDevices(t *testing.T) {
	t.Parallel()
	site := newSite(t, rig.Options{Binary: plainBinary, Embedded: true, Env: []string{"SCANRELAY_HTTP_PASSWORD=" + pagePassword}})
	site.Start()
	publish := connect(t, site, "devices")
	send := func(topic, file string) {
		t.Helper()
		payload, err := os.ReadFile(filepath.Join("../../agent/intake/testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(file, "neuron") {
			payload = []byte(strings.ReplaceAll(string(payload), " 123", " 7863609800"))
		}
		publish(topic, payload)
	}

	b := openBrowser(t)
	signInToDepot(b, site, "en")
	b.js(`location.hash = "map"`)
	b.until(`!document.getElementById("tab-map").hidden && document.getElementById("code").options.length === 20`)
	listed := func(topic string) string {
		return fmt.Sprintf(`[...document.querySelectorAll("#messages button")].find(b => b.querySelector("b").textContent === %q && !b.disabled)`, topic)
	}
	// arrive publishes until the page shows it: recording begins with the first look.
	arrive := func(topic, file string) {
		t.Helper()
		for range 100 {
			send(topic, file)
			for range 30 {
				if b.is(listed(topic) + ` !== undefined`) {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
		}
		t.Fatalf("%s does not appear on the page", topic)
	}
	click := func(role, at string) {
		t.Helper()
		b.js(fmt.Sprintf(`document.querySelector("#roles [data-role=%s]").click(); document.querySelector('#tab-map [data-at="%s"]').click()`, role, at))
	}
	understood := func() {
		t.Helper()
		b.until(`document.querySelector("#tried .good") !== null && !document.getElementById("save").disabled && document.querySelector("#problems .fault") === null`)
	}
	save := func() {
		t.Helper()
		b.js(`document.getElementById("save").click()`)
		b.until(`document.getElementById("saved").className === "good" && document.getElementById("saved").textContent.includes("sources.d/")`)
	}
	var want []string
	for _, d := range devices {
		topic, file, clicks := d.topic, d.file, d.clicks
		if strings.HasSuffix(file, ".bin") {
			topic, file, clicks = strings.Replace(topic, "DDATA", "DBIRTH", 1), "sparkplug-dbirth.bin", [][2]string{{"waybill_id", "/metrics/Scan~1Code"}, {"any", "topic[2]"}}
		}
		arrive(topic, file)
		b.js(listed(topic) + `.click()`)
		b.until(fmt.Sprintf(`document.getElementById("levels").textContent === %q`, strings.ReplaceAll(topic, "/", " / ")))
		for _, c := range clicks {
			click(c[0], c[1])
		}
		switch {
		case strings.HasSuffix(file, ".bin"): // a birth holds no read
			b.until(`document.querySelector("#tried .badge") !== null && !document.getElementById("save").disabled`)
		case d.want == nil: // "680009900001/0055-76" is none
			b.until(`document.querySelector("#tried .fault") !== null`)
			b.js(`const y = document.getElementById("yaml"); y.value = y.value.replace("stations:", "    pattern: '^(?P<waybill_id>[0-9]{12})/'\nstations:"); y.dispatchEvent(new Event("input"))`)
			understood()
			d.want = []string{"680009900001"}
		default:
			understood()
		}
		if topic == "yunda/step" {
			b.until(`document.querySelector("#values code")?.textContent === "GOT" && document.querySelector("#values select").value === "100001"`)
			b.until(`document.querySelector("#tried .facts")?.textContent.includes("100001 picked up")`)
			b.fits("depot-map")
		}
		save()
		if strings.HasSuffix(file, ".bin") {
			send(topic, file)
		}
		send(d.topic, d.file)
		want = append(want, d.want...)
	}
	var got []string
	rig.Await(t, "every device's scan is stored", func() (bool, string) {
		got = got[:0]
		for _, e := range site.Events() {
			got = append(got, e.WaybillID)
		}
		missing := slices.DeleteFunc(slices.Clone(want), func(w string) bool { return slices.Contains(got, w) })
		return len(missing) == 0, fmt.Sprint("missing ", missing)
	})

	// What is wrong is said, and nothing is saved of it.
	b.js(`const y = document.getElementById("yaml"); y.value = "sources: [{topic: x, decodr: json}]"; y.dispatchEvent(new Event("input"))`)
	b.until(`document.getElementById("save").disabled && document.querySelector("#problems .fault").textContent.includes("decodr")`)
	// Of an empty message only the topic is there to choose from.
	publish("empty/1", "")
	b.until(listed("empty/1") + ` !== undefined`)
	b.js(listed("empty/1") + `.click()`)
	b.until(`document.getElementById("levels").textContent === "empty / 1" && document.getElementById("yaml").value.includes("empty/1")`)
	// A message that was rejected is found in the quarantine.
	publish("scans/new", `{"waybill_id":"13800138000","action_type":200001,"action_msg":"x"}`)
	b.js(`document.querySelector("[data-of=quarantine]").click()`)
	b.until(`document.querySelector("#messages button b")?.textContent === "scans/new"`)
	// Pasted ones do as well, in Chinese.
	b.js(`document.getElementById("lang").click(); document.querySelector("[data-of=paste]").click();
		const f = document.getElementById("paste"); f.elements.topic.value = "new/gate-9"; f.elements.payload.value = "<scan><code>YT6900634716900</code><when>2026-11-30 08:00:00</when></scan>"; f.requestSubmit()`)
	b.until(`document.querySelector('[data-at="/scan/code"]') !== null`)
	click("waybill_id", "/scan/code")
	click("action_time", "/scan/when")
	understood()
	b.until(`document.getElementById("yaml").value.includes("decoder: xml") && document.querySelector("#tried .badge").textContent === "扫描"`)
	b.fits("depot-map-zh")
}
