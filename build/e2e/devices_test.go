package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"scanrelay/build/rig"
)

const deviceSources = `
sources:
  - topic: json/+
    fields: {waybill_id: /code, action_time: /at, device_id: "topic[1]", station: "=g"}
  - topic: env/+
    fields: {waybill_id: /p/code, device_id: "topic[1]", station: "=g"}
  - topic: hex/+
    hex: [payload]
    fields: {waybill_id: /code, device_id: "topic[1]", station: "=g"}
  - topic: keyed
    split: /*
    fields: {waybill_id: /c, device_id: "key[0]", station: "=g"}
  - topic: plc/+
    on_change: true
    fields: {waybill_id: /v, action_time: /t, device_id: "topic[1]", station: "=g"}
    ignore: ['"v":""']
stations:
  g: {action_type: 200001, action_msg: "快件到达"}
`

// TestDevicesNobodyHereWrote publishes what devices, gateways and scripts make of a
// scan: each is stored once or kept in quarantine, and only what certainly is no read
// is neither.
func TestDevicesNobodyHereWrote(t *testing.T) {
	t.Parallel()
	site := newSite(t, rig.Options{Binary: raceBinary, Embedded: true, Agent: deviceSources})
	site.Start()
	publish := connect(t, site, "gateway")
	var stored, kept []string
	number := func() string { return fmt.Sprintf("YT%013d", len(stored)+len(kept)+1) }
	send := func(topic, format string, form func(string) string) string {
		n := number()
		publish(topic, form(strings.ReplaceAll(format, "N", n)))
		return n
	}
	plain := func(s string) string { return s }
	for _, good := range []struct {
		topic, payload string
		form           func(string) string
	}{
		{"json/a", `{"code":"N","w":1}`, plain},
		{"json/a", "{\"code\":\"N\r\",\"lv\":\"\x05\"}", plain},
		{"json/a", `{"code":"N","w":nan,"dir":"C:\scan"}`, plain},
		{"json/a", `{'code':'N',}`, plain},
		{"json/a", `{"code":"N"}`, gzipped},
		{"json/a", `{"code":"N"}`, func(s string) string { return base64.StdEncoding.EncodeToString([]byte(gzipped(s))) }},
		{"env/a", `{"code":"N"}`, func(s string) string { return `{"p":"` + base64.StdEncoding.EncodeToString([]byte(s)) + `"}` }},
		{"env/a", `{"code":"N"}`, func(s string) string { return `{"p":` + buffer(s) + `}` }},
		{"hex/a", `{"code":"N"}`, func(s string) string { return hex.EncodeToString([]byte(s)) }},
		{"keyed", `{"Scanner A":[{"c":"N"}]}`, plain},
		{"json/a", `[{"code":"N"},{"code":"N"},{"type":"alive"}]`, plain},
	} {
		stored = append(stored, send(good.topic, good.payload, good.form))
	}
	for _, bad := range []struct {
		topic, payload string
		form           func(string) string
	}{
		{"json/b", `{"barcode":"N"}`, plain},
		{"json/b", `{"code":"N`, plain},
		{"env/b", `{"p":"N"}`, plain},
		{"hex/b", `{"code":"N"}`, plain},
		{"json/b", `{"code":"N"}`, func(s string) string { return gzipped(s)[:20] }},
		{"json/b", strings.Repeat(" ", 2<<20) + `{"code":"N"}`, gzipped},
	} {
		kept = append(kept, send(bad.topic, bad.payload, bad.form))
	}
	plc := number()
	stored = append(stored, plc)
	for i := range 20 { // a PLC that holds its value, whatever its clock says
		publish("plc/1", fmt.Sprintf(`{"v":"%s","t":%d}`, plc, time.Now().Add(time.Duration(i-20)*time.Minute).UnixMilli()))
	}
	publish("plc/1", `{"v":"","t":1}`)
	st := site.AwaitStatus("everything is taken", func(s rig.Status) bool { return s.Intake.Rejected >= uint64(len(kept)) })
	if st.Intake.Rejected != uint64(len(kept)) {
		t.Errorf("%d rejected, want %d", st.Intake.Rejected, len(kept))
	}
	var got []string
	for _, line := range site.Events("--reveal") {
		if line.State != "rejected" {
			got = append(got, line.WaybillID)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, stored) {
		t.Errorf("stored %v, want %v", got, stored)
	}
	if log := site.Agent.Log(); !strings.Contains(log, "without a waybill number") {
		t.Error("the log does not name the topic whose messages have no number")
	}
}

func gzipped(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(s)) // to memory
	_ = w.Close()
	return b.String()
}

// buffer is a text as JavaScript prints a buffer of it.
func buffer(s string) string {
	var bytes []string
	for i := range len(s) {
		bytes = append(bytes, fmt.Sprint(s[i]))
	}
	return `{"type":"Buffer","data":[` + strings.Join(bytes, ",") + `]}`
}
