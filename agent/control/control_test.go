package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"scanrelay/configs"
	"scanrelay/configs/serve"
	"scanrelay/store"
)

// serving runs the local API on a socket and returns its data folder.
func serving(t *testing.T, o Outbox) string {
	t.Helper()
	return serveOptions(t, options(o))
}

func serveOptions(t *testing.T, o Options) string {
	t.Helper()
	dir := t.TempDir()
	ln, err := net.Listen("unix", filepath.Join(dir, configs.SocketName))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- serve.HTTP(ctx, ln, Local(o), slog.New(slog.DiscardHandler), serve.Few(), time.Second)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return dir
}

func dial(t *testing.T, dir string) *Client {
	t.Helper()
	c, err := Dial(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func lines(t *testing.T, ask func(func(json.RawMessage) error) error) string {
	t.Helper()
	var b strings.Builder
	if err := ask(func(m json.RawMessage) error { b.Write(m); b.WriteByte('\n'); return nil }); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestEventsOverTheSocket(t *testing.T) {
	c := dial(t, serving(t, sample()))
	for _, row := range []struct {
		name, state string
		reveal      bool
		want        string
	}{
		{"all", "", false, `{"id":"0000000000000abc-1","event_id":"e1","waybill_id":"YT1234567890123","action_type":200001,"action_time":1795420800,"received_at":"2026-11-23T08:00:00.25Z","state":"pushed","attempts":1,"last_error":"","finished_at":"2026-11-23T08:00:01.25Z"}
{"id":"0000000000000abc-2","event_id":"e2","waybill_id":"YT1234567890123","action_type":300002,"action_time":1795420900,"received_at":"2026-11-23T08:00:01.25Z","state":"dead","attempts":5,"last_error":"refused for ** 138******00","finished_at":"2026-11-23T08:01:00.25Z"}
`},
		{"one state", "pushed", false, `{"id":"0000000000000abc-1","event_id":"e1","waybill_id":"YT1234567890123","action_type":200001,"action_time":1795420800,"received_at":"2026-11-23T08:00:00.25Z","state":"pushed","attempts":1,"last_error":"","finished_at":"2026-11-23T08:00:01.25Z"}
`},
		{"rejected", "rejected", false, `{"id":"rejected-7","event_id":"","waybill_id":"","action_type":0,"action_time":0,"received_at":"2026-11-23T08:00:00.25Z","state":"rejected","attempts":0,"last_error":"element 2: is no JSON","finished_at":null,"topic":"scans/x","payload":"dGVsIDEzOCoqKioqKjAw"}
`},
		{"rejected, revealed", "rejected", true, `{"id":"rejected-7","event_id":"","waybill_id":"","action_type":0,"action_time":0,"received_at":"2026-11-23T08:00:00.25Z","state":"rejected","attempts":0,"last_error":"element 2: is no JSON","finished_at":null,"topic":"scans/x","payload":"dGVsIDEzODAwMTM4MDAw"}
`},
		{"none", "muted", false, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := lines(t, func(fn func(json.RawMessage) error) error { return c.Events(t.Context(), row.state, row.reveal, fn) })
			if got != row.want {
				t.Errorf("got\n%swant\n%s", got, row.want)
			}
		})
	}
	if err := c.Events(t.Context(), "nonsense", false, nil); err == nil || !strings.Contains(err.Error(), "it may be unsynced, awaiting_waybill") {
		t.Errorf("an unknown state: %v", err)
	}
}

func TestTraceOverTheSocket(t *testing.T) {
	c := dial(t, serving(t, sample()))
	tr, err := c.Trace(t.Context(), " yt1234567890123 ", false)
	if err != nil {
		t.Fatal(err)
	}
	if len(tr.Nodes) != 2 || tr.Nodes[1].ErrCode != 932003 || tr.Nodes[1].RID != "5f-1" || tr.Nodes[1].ActionMsg != "***,**138******00" {
		t.Errorf("trace: %+v", tr)
	}
	if tr, err = c.Trace(t.Context(), "YT1234567890123", true); err != nil || tr.Nodes[1].ActionMsg != "派件中,电话13800138000" {
		t.Errorf("revealed: %+v %v", tr, err)
	}
	if _, err = c.Trace(t.Context(), "NONE", false); !errors.Is(err, ErrUnknownWaybill) {
		t.Errorf("an unknown waybill: %v", err)
	}
}

func TestDeadLettersOverTheSocket(t *testing.T) {
	box := sample()
	c := dial(t, serving(t, box))
	got := lines(t, func(fn func(json.RawMessage) error) error { return c.DeadLetters(t.Context(), false, fn) })
	if !strings.Contains(got, `"errcode":932003,"rid":"5f-1"`) || strings.Count(got, "\n") != 1 {
		t.Errorf("dead letters: %s", got)
	}
	if _, err := c.Retry(t.Context(), false, "nonsense"); err == nil || !strings.Contains(err.Error(), "is no event id") {
		t.Errorf("retry of nonsense: %v", err)
	}
	if _, err := c.Retry(t.Context(), false, "0000000000000abc-1"); err == nil || err.Error() != store.ErrNotDead.Error() {
		t.Errorf("retry of a pushed event: %v", err)
	}
	if _, err := c.Discard(t.Context(), "", "0000000000000abc-2"); err == nil {
		t.Error("a discard without a reason was taken")
	}
	if n, err := c.Discard(t.Context(), "as agreed", "0000000000000abc-2"); n != 1 || err != nil || box.reason != "as agreed" {
		t.Errorf("discard: %d %v %q", n, err, box.reason)
	}
	if n, err := c.Retry(t.Context(), true); n != 0 || err != nil {
		t.Errorf("retry of all when none is dead: %d %v", n, err)
	}
	box.records[1].State = store.Dead
	if n, err := c.Retry(t.Context(), true); n != 1 || err != nil || box.records[1].State != store.ToPush {
		t.Errorf("retry of all: %d %v", n, err)
	}
}

func TestAStreamThatBreaksOffIsAnError(t *testing.T) {
	box := sample()
	box.breaks = errors.New("segment 3 can't be read")
	c := dial(t, serving(t, box))
	err := c.Events(t.Context(), "", false, func(json.RawMessage) error { return nil })
	if err == nil || err.Error() != "segment 3 can't be read" {
		t.Errorf("err = %v", err)
	}
}

func TestStatusJSON(t *testing.T) {
	var s Status
	s.Depot, s.Version, s.UptimeSeconds, s.Clock = "hz-01", "v1", 12.5, ClockOK
	s.MQTT.Connected, s.Central.Connected = true, true
	s.Central.LastSync = Stamp{time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)}
	s.WeChat.State = "ok"
	c := store.Counts{Received: 28, Duplicate: 2, Ignored: 3, Rejected: 4, FileBytes: 5, LiveBytes: 6, Full: true, Oldest: at.Add(-90 * time.Second)}
	for i := range c.State {
		c.State[i] = uint64(i + 1)
	}
	s.SetCounts(c, at)
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/status.json")
	if err != nil {
		t.Fatal(err)
	}
	if string(data)+"\n" != string(want) {
		t.Errorf("status:\n%s\nwant:\n%s", data, want)
	}
	var back Status
	if err := json.Unmarshal(data, &back); err != nil || !back.Central.LastSync.Equal(s.Central.LastSync.Time) {
		t.Errorf("read back: %+v %v", back.Central, err)
	}
}

// What status --json and the metrics show of intake beyond the counts.
func TestMQTTStatus(t *testing.T) {
	m := MQTT{
		Connected: true, Problem: "p", Full: true, Clients: 2, Waiting: 3, QoS0: 4, Lost: 5, Redelivered: 6,
		Sessions: 7, Refused: 8, Denied: 9, Cut: 10, SparkplugGaps: 11, RebirthsAsked: 12, Broken: 16,
		Forgotten: 17, Takeovers: 18,
	}
	data, err := json.Marshal(m)
	want := `{"connected":true,"problem":"p","full":true,"clients":2,"waiting_bytes":3,"qos0":4,"lost":5,"redelivered":6,` +
		`"sessions":7,"sessions_forgotten":17,"refused":8,"denied":9,"cut":10,"broken":16,"takeovers":18,"sparkplug_gaps":11,"rebirths_asked":12}`
	if err != nil || string(data) != want {
		t.Errorf("%s, %v, want %s", data, err, want)
	}
	var s Status
	s.SetCounts(store.Counts{Rejected: 3, Quarantined: 2, Forgotten: 1}, at)
	if data, err := json.Marshal(s.Intake); err != nil || string(data) != `{"received":0,"duplicate":0,"ignored":0,"rejected":3,"forgotten":1}` {
		t.Errorf("%s, %v", data, err)
	}
	if data, err := json.Marshal(MQTT{}); err != nil || string(data) != `{"connected":false}` {
		t.Errorf("of nothing %s, %v", data, err)
	}
	var b strings.Builder
	WriteMetrics(&b, Status{MQTT: m}, store.Counts{Quarantined: 13, Forgotten: 14, Ignored: 15, Damaged: "x"}, at)
	for name, want := range map[string]int{
		"mqtt_connected": 1, "mqtt_full": 1, "mqtt_clients": 2, "mqtt_waiting_bytes": 3, "mqtt_qos0_total": 4, "mqtt_lost_total": 5,
		"mqtt_redelivered_total": 6, "mqtt_sessions_total": 7, "mqtt_sessions_forgotten_total": 17, "mqtt_takeovers_total": 18, "mqtt_connections_refused_total": 8, "mqtt_publishes_denied_total": 9,
		"mqtt_connections_cut_total": 10, "mqtt_connections_broken_total": 16, "sparkplug_gaps_total": 11, "sparkplug_rebirths_total": 12, "quarantine_entries": 13,
		"quarantine_forgotten_total": 14, "events_ignored_total": 15, "store_damaged": 1,
	} {
		if line := fmt.Sprintf("scanrelay_%s %d\n", name, want); !strings.Contains(b.String(), line) {
			t.Errorf("no %s in\n%s", line, b.String())
		}
	}
}

func TestReplayOverTheSocket(t *testing.T) {
	var asked [][]uint64
	o := options(sample())
	o.Replay = func(_ context.Context, seqs []uint64) (Replayed, error) {
		asked = append(asked, seqs)
		if slices.Contains(seqs, 9) {
			return Replayed{Entries: 1, Left: 1, Events: 2}, errors.New("not in quarantine: rejected-9")
		}
		return Replayed{Entries: 3, Remaining: 3}, nil
	}
	c := dial(t, serveOptions(t, o))
	if r, err := c.Replay(t.Context()); err != nil || r != (Replayed{Entries: 3, Remaining: 3}) {
		t.Errorf("of all %+v, %v", r, err)
	}
	if _, err := c.Replay(t.Context(), "rejected-7", "rejected-9"); err == nil || err.Error() != "1 entries done, 2 events stored, but not in quarantine: rejected-9" {
		t.Errorf("of some: %v", err)
	}
	for _, id := range []string{"7", "rejected-", "rejected-0", "rejected-x", "0000000000000abc-1"} {
		if _, err := c.Replay(t.Context(), id); err == nil || !strings.Contains(err.Error(), "is no id of the quarantine") {
			t.Errorf("of %s: %v", id, err)
		}
		if CheckRejected([]string{id}) == nil {
			t.Errorf("%s is an id", id)
		}
	}
	if len(asked) != 2 || asked[0] != nil || !slices.Equal(asked[1], []uint64{7, 9}) {
		t.Errorf("asked for %v", asked)
	}
}
