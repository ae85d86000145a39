package main

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/intake"
	"scanrelay/configs"
)

// What a device sends is shown so that whoever maps it sees its framing, that it is
// not UTF-8, and that it was cut short.
func TestListenShowsWhatADeviceSends(t *testing.T) {
	m := mapperOf(configs.DefaultAgent(), nil)
	for _, row := range []struct {
		heard intake.Message
		want  string
	}{
		{intake.Message{Topic: "a", Payload: []byte("\x02YT1\xba\xbc\x03\r\n")}, `9 bytes (not UTF-8; it may be GBK): \x02YT1\xba\xbc\x03\r\n` + "\n"},
		{intake.Message{Topic: "a", Payload: []byte("\xffYT1"), DUP: true}, `4 bytes dup (not UTF-8): \xffYT1` + "\n"},
		{intake.Message{Topic: "scans/a", Payload: []byte("YT1"), Size: 3 << 20, Retained: true}, "3145728 bytes retained: YT1\n"},
	} {
		var out bytes.Buffer
		l := &ear{checker: &checker{app: &app{IO: cli.IO{Out: &out}}, reveal: true}, mapper: m}
		row.heard.ReceivedAt = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
		if err := l.show(row.heard); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(out.String(), "08:00:00.000 "+row.want) {
			t.Errorf("got %s, want %s", out.String(), row.want)
		}
	}
}

// Names, phones and addresses are masked in all that listen shows, unless it is told
// otherwise; keys and codes stay.
func TestListenMasks(t *testing.T) {
	m := mapperOf(configs.DefaultAgent(), nil)
	private := []string{"李四", "Li Si", "文一西路", "13800138000"}
	for _, payload := range []string{
		`{"waybill_id":"YT1234567890123","action_type":200001,"action_msg":"请李四 Li Si 到文一西路 13800138000","device_id":"李四13800138000"}`,
		`{"waybill_id":"YT1234567890123","action_type":"李四","receiver":{"name":"Li Si","address":"文一西路1号","tel":"13800138000"}}`,
	} {
		for _, json := range []bool{false, true} {
			var shown [2]string // masked, revealed
			for i := range shown {
				var out bytes.Buffer
				l := &ear{
					checker: &checker{app: &app{IO: cli.IO{Out: &out}}, json: json, reveal: i == 1}, mapper: m,
				}
				if err := l.show(intake.Message{Topic: "scans/李四", Payload: []byte(payload)}); err != nil {
					t.Fatal(err)
				}
				shown[i] = out.String()
			}
			for _, p := range private {
				if strings.Contains(shown[0], p) || strings.Contains(shown[0], base64.StdEncoding.EncodeToString([]byte(payload))) {
					t.Errorf("%s shows: %s", p, shown[0])
				}
				if !json && !strings.Contains(shown[1], p) {
					t.Errorf("%s does not show though it should: %s", p, shown[1])
				}
			}
			if !json && !strings.Contains(shown[0], `"waybill_id":"YT123`) {
				t.Errorf("no key shows: %s", shown[0])
			}
		}
	}
}

func TestPayloadsShowTheirFraming(t *testing.T) {
	for in, want := range map[string]string{
		"\x02YT1;YT2\x03\r\n": `\x02YT1;YT2\x03\r\n`, "YT1\tYT2\x1d": `YT1\tYT2\x1d`, "\ufeffYT1": `\ufeffYT1`, "\xba\xbcYT1\ufffd": `\xba\xbcYT1` + "\ufffd",
		"{\r\n\t\"a\": 1}\x00": `{   "a": 1}\x00`, "杭州'\"\\": `杭州'"\`,
	} {
		if got := plainly(in); got != want {
			t.Errorf("%q is shown as %s, want %s", in, got, want)
		}
	}
}
