package look

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/control"
	"scanrelay/store"
)

// TestNewestAreShown: of many lines the newest that are asked for, in their order.
func TestNewestAreShown(t *testing.T) {
	for _, row := range []struct {
		lines, limit int
		waybill      string
		want         string
	}{
		{0, 3, "", ""}, {2, 3, "", "0 1 "}, {3, 3, "", "0 1 2 "}, {7, 3, "", "4 5 6 "}, {3000, 2, "", "2998 2999 "}, {3, 0, "", "0 1 2 "}, {9, 2, "yt1", "5 7 "}, {4, 0, "YT0", "0 2 "},
	} {
		l := &looker{shared: &shared{}, pick: pick{limit: row.limit, waybill: row.waybill}}
		got := ""
		err := l.through(func(each func(json.RawMessage) error) error {
			line := []byte{} // used again, as a stream does
			for i := range row.lines {
				line = fmt.Appendf(line[:0], `{"id":"%d","waybill_id":"YT%d"}`, i, i%2)
				if err := each(line); err != nil {
					return err
				}
			}
			return nil
		}, func(line json.RawMessage) error {
			got += strings.Split(string(line), `"`)[3] + " "
			return nil
		})
		if err != nil || got != row.want {
			t.Errorf("%+v: %s, %v", row, got, err)
		}
	}
}

// TestLimitIsBounded: its lines are kept in memory.
func TestLimitIsBounded(t *testing.T) {
	for limit, ok := range map[int]bool{-1: false, maxPicked: true, maxPicked + 1: false} {
		l := &looker{shared: &shared{}, pick: pick{limit: limit}}
		err := l.through(func(func(json.RawMessage) error) error { return nil }, nil)
		if (err == nil) != ok {
			t.Errorf("%d: %v", limit, err)
		}
	}
}

func TestSince(t *testing.T) {
	now := time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)
	for in, want := range map[string]string{
		"": "0001-01-01T00:00:00Z", "2h": "2026-11-30T06:00:00Z", "7d": "2026-11-23T08:00:00Z", "2026-11-30T08:00:00+08:00": "2026-11-30T08:00:00+08:00",
		"0": "", "-1h": "", "yesterday": "", "2026-11-30": "", "99999999d": "",
	} {
		at, err := (&pick{since: in}).from(now)
		if got := at.Format(time.RFC3339); err == nil && got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %s, %v", in, got, err)
		}
	}
}

// TestChineseReasons: what was not understood and what could not be pushed have their
// reasons in the language of who looks; JSON stays as it is.
func TestChineseReasons(t *testing.T) {
	const reason = "pathnotify: WeChat refuses a parameter (errcode 40097): x"
	line := json.RawMessage(`{"id":"q1","state":"rejected","topic":"scans/g","payload":"e30=","last_error":"element 2: not JSON: if the device sends bare text, source 0 (scans/#) needs decoder text"}`)
	for lang, want := range map[string][2]string{
		"en": {"element 2: not JSON: if the device sends bare text, source 0 (scans/#) needs decoder text", reason},
		"zh": {"第 2 个元素:不是 JSON:若设备发的是纯文本,来源 0(scans/#) 要用 decoder text", "pathnotify:微信不接受某个参数(errcode 40097):x"},
	} {
		var out bytes.Buffer
		l := &looker{shared: &shared{IO: cli.IO{Out: &out, Env: []string{"LC_ALL=" + lang}}}}
		w := bufio.NewWriter(&out)
		if err := errors.Join(l.eventLine(w, control.StateRejected, line), w.Flush(), l.nodeTable([]control.Node{{Event: control.Event{LastError: reason}}}).Print(l.IO),
			l.deadTable([]control.Node{{Event: control.Event{LastError: reason, WaybillID: "YT1"}}}).Print(l.IO)); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); !strings.Contains(got, want[0]) || strings.Count(got, want[1]) != 2 {
			t.Errorf("%s: %s", lang, got)
		}
		l.json = true
		out.Reset()
		if err := errors.Join(l.eventLine(w, control.StateRejected, line), w.Flush()); err != nil || out.String() != string(line)+"\n" {
			t.Errorf("%s: JSON: %s, %v", lang, out.String(), err)
		}
	}
}

// TestEveryStateHasAWord: what the filter of states takes is shown in Chinese, and times are
// the reader's.
func TestEveryStateHasAWord(t *testing.T) {
	for _, s := range append([]store.State{store.Unsynced, store.AwaitingWaybill, store.ToPush}, store.Outcomes()...) {
		if stateWords[s.String()] == "" {
			t.Errorf("%s has no word in Chinese", s)
		}
	}
	was := time.Local
	defer func() { time.Local = was }()
	time.Local = time.FixedZone("CST", 8*3600)
	var b bytes.Buffer
	out := bufio.NewWriter(&b)
	l := &looker{shared: &shared{IO: cli.IO{Env: []string{"LANG=zh_CN.UTF-8"}}}}
	err := l.eventLine(out, "", json.RawMessage(`{"id":"1","received_at":"2026-11-30T20:00:00.5Z","action_time":1764532800,"state":"to_push","waybill_id":"YT1"}`))
	if err := errors.Join(err, out.Flush()); err != nil {
		t.Fatal(err)
	}
	if want := "1\t2026-12-01T04:00:00+08:00\t待推送\tYT1\t0\t2025-12-01T04:00:00+08:00\t0\t-\n"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}
