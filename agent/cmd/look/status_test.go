package look

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/control"
	"scanrelay/uplink/syncapi/health"
)

// Of scanners only what is known is said: a broker that listens has none yet, and an
// external one tells of none.
func TestScannersAreWhatIsKnown(t *testing.T) {
	l := &looker{shared: &shared{}}
	for want, c := range map[string]struct {
		m        control.MQTT
		embedded bool
	}{
		"listening, none is connected":     {control.MQTT{Connected: true}, true},
		"3 connected":                      {control.MQTT{Connected: true, Clients: 3}, true},
		"NOT LISTENING":                    {control.MQTT{}, true},
		"subscribed at the MQTT broker":    {control.MQTT{Connected: true}, false},
		"NOT CONNECTED to the MQTT broker": {control.MQTT{}, false},
	} {
		if got := l.scanners(c.m, c.embedded); got != want {
			t.Errorf("%+v: %q, want %q", c.m, got, want)
		}
	}
}

// shown is a status as somebody sees it.
func shown(t *testing.T, s control.Status, running bool, io cli.IO) string {
	t.Helper()
	var out bytes.Buffer
	io.Out = &out
	if err := (&looker{shared: &shared{IO: io}}).printStatus(s, running, true); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestAlarmsComeFirst: what is wrong stands on top with what to do, in the reader's
// language, whole however narrow the terminal is, and coloured only where that is wanted.
func TestAlarmsComeFirst(t *testing.T) {
	var s control.Status
	s.Depot, s.Store.Full, s.Store.LiveBytes, s.Store.MaxBytes = "hz-01", true, 30<<20, 40<<20
	s.SetAlarms(true)
	if got := fmt.Sprint(s.Alarms); got != "[mqtt_down store_full]" {
		t.Fatal(got)
	}
	zh := []string{"LANG=zh_CN.UTF-8"}
	for name, row := range map[string]struct {
		io    cli.IO
		wants []string
		not   string
	}{
		"a pipe":         {cli.IO{}, []string{"ALARM\t" + health.WordOf("en", "mqtt_down").What + "; ", "depot\thz-01", "store\t0 B on disk"}, "\x1b"},
		"Chinese":        {cli.IO{Env: zh}, []string{"告警\t" + health.WordOf("zh", "mqtt_down").What + ";", "网点\thz-01", "已满"}, "ALARM"},
		"a terminal":     {cli.IO{Terminal: true, Width: 40}, []string{"\x1b[1;31mALARM\x1b[0m\t", health.WordOf("en", "store_full").Do, "███████████████░░░░░ 75 %"}, "告警"},
		"without colour": {cli.IO{Terminal: true, Env: []string{"NO_COLOR=1"}}, []string{"ALARM\t"}, "\x1b[1;31m"},
	} {
		got := shown(t, s, true, row.io)
		for _, want := range row.wants {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %q in\n%s", name, want, got)
			}
		}
		if strings.Contains(got, row.not) || strings.Index(got, "hz-01") < strings.Index(got, health.WordOf(map[bool]string{true: "zh", false: "en"}[row.io.Chinese()], "store_full").Do) {
			t.Errorf("%s:\n%s", name, got)
		}
	}
	if got := shown(t, s, false, cli.IO{Env: zh}); !strings.Contains(got, "没有运行") {
		t.Error(got)
	}
}

// TestChineseStatus: no English word is left on the picture but names and commands.
func TestChineseStatus(t *testing.T) {
	var s control.Status
	s.MQTT.QoS0, s.MQTT.Clients, s.MQTT.Connected, s.Intake.Forgotten, s.Outcome.Dead, s.Store.Crowded, s.Store.NoRoom = 1, 1, true, 1, 1, true, 1
	s.Store.UnreservedBytes, s.Store.Damaged, s.WeChat.State = 1, "1", "no_token"
	s.WeChat.Reason = "pathnotify: the account is frozen: look into WeChat's console (errcode 50007)"
	s.MQTT.Problem = "mqtt broker tcp://127.0.0.1:1883: there is no room for further scans"
	s.SetAlarms(true)
	for _, running := range []bool{true, false} {
		got := shown(t, s, running, cli.IO{Env: []string{"LC_ALL=zh_CN"}})
		for _, name := range []string{"pathnotify", "errcode", "tcp://", "MQTT", "scanrelay", "quarantine", "deadletter", "store check", "list", "QoS", "no_room", "no_token"} {
			got = strings.ReplaceAll(got, name, "")
		}
		if i := strings.IndexFunc(got, func(r rune) bool { return r >= 'a' && r <= 'z' && !strings.ContainsRune("sMiKB", r) }); i >= 0 {
			t.Errorf("English at %q in\n%s", got[i:], got)
		}
	}
}

// screen takes pictures and ends the watching after some.
type screen struct {
	pictures []string
	end      context.CancelFunc
}

func (s *screen) Write(p []byte) (int, error) {
	if s.pictures = append(s.pictures, string(p)); len(s.pictures) == 3 {
		s.end()
	}
	return len(p), nil
}

// TestWatch: the picture is drawn until Ctrl-C, also while something is wrong.
func TestWatch(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &screen{end: cancel}
	l := &looker{shared: &shared{IO: cli.IO{Out: s, Terminal: true}}, config: "nowhere.yaml"}
	if err := l.watch(ctx, time.Nanosecond); err != nil || len(s.pictures) != 3 {
		t.Fatal(err, len(s.pictures))
	}
	for _, p := range s.pictures {
		if !strings.HasPrefix(p, "\x1b[H\x1b[J") || !strings.Contains(p, "nowhere.yaml") {
			t.Errorf("%q", p)
		}
	}
}
