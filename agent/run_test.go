package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/agent/clock"
	"scanrelay/agent/control"
	"scanrelay/agent/intake"
	"scanrelay/agent/scan"
	"scanrelay/configs"
	"scanrelay/configs/limit"
	"scanrelay/store"
)

// config is an agent's on loopback with nothing around it.
func config(t *testing.T) *configs.Agent {
	t.Helper()
	cfg := configs.DefaultAgent()
	cfg.Depot.ID = "hz-01"
	cfg.DataDir = t.TempDir()
	cfg.MQTT.Broker = configs.EmbeddedBroker
	cfg.Central.URL = "http://127.0.0.1:1"
	cfg.WeChat.BaseURL = "http://127.0.0.1:1"
	cfg.Store.MaxSize = 32 * configs.MiB
	cfg.Complete()
	return cfg
}

// confirmed is the machine's clock, which somebody keeps right.
func confirmed() *clock.Clock {
	return clock.New(clock.Options{Synced: func() bool { return true }})
}

func mqttListener(t *testing.T) []net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return []net.Listener{ln}
}

// runs runs an agent and returns what stops it and gives Run's error.
func runs(t *testing.T, a *Agent) func() error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	stop := sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { _ = stop() })
	<-a.Ready()
	return stop
}

// patience is how long a test waits for what must happen, however slow the machine.
const patience = 5 * time.Minute

// ends waits for a stop whose parts have more time than the test has patience: it
// ends because they do, or because it is cut short.
func ends(t *testing.T, stop func() error) error {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	select {
	case err := <-ended:
		return err
	case <-time.After(patience):
		t.Fatal("the stop waits for a part that does not end")
		return nil
	}
}

// eventually waits for something that another goroutine brings about.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func event(waybill scan.WaybillID, clockless *scan.BootTime, now time.Time) scan.Batch {
	return scan.Batch{Events: []scan.Event{{
		EventID: "e-" + string(waybill), Waybill: waybill, ActionType: scan.ActionTransport, ActionMsg: "x",
		ActionTime: now.Unix(), ReceivedAt: now, Clockless: clockless, Marks: scan.MarkClock,
	}}}
}

func TestRunAndStop(t *testing.T) {
	a, err := New(config(t), Options{Version: "v1", Listeners: Listeners{MQTT: mqttListener(t)}, Clock: confirmed()})
	if err != nil {
		t.Fatal(err)
	}
	if a.shares.all > 9400*time.Millisecond { // at 9.5 s the program ends without it
		t.Errorf("a stop has %v, want 9.4s at most", a.shares.all)
	}
	a.shares = shares{time.Hour, time.Hour, time.Hour, time.Hour}
	stop := runs(t, a)
	eventually(t, "scans are taken", func() bool { return a.TakesScans() == nil })
	s := a.Status()
	if s.Depot != "hz-01" || s.Version != "v1" || !s.MQTT.Connected || s.Central.Connected || s.Clock != control.ClockOK {
		t.Errorf("status: %+v", s)
	}
	if err := a.Live(); err != nil {
		t.Errorf("Live() = %v", err)
	}
	if err := ends(t, stop); err != nil {
		t.Errorf("Run() = %v", err)
	}
}

func TestTheDataFolderIsTakenOnce(t *testing.T) {
	cfg := config(t)
	a, err := New(cfg, Options{Listeners: Listeners{MQTT: mqttListener(t)}})
	if err != nil {
		t.Fatal(err)
	}
	opened := false
	_, err = New(cfg, Options{Listen: func() (Listeners, error) { opened = true; return Listeners{}, nil }})
	if !errors.Is(err, store.ErrInUse) || opened {
		t.Errorf("a second agent: %v, listeners opened: %v", err, opened)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if a, err = New(cfg, Options{Listeners: Listeners{MQTT: mqttListener(t)}}); err != nil {
		t.Fatalf("after the first was closed: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
}

// What was opened before something failed must be given back.
func TestAFailedStartGivesEverythingBack(t *testing.T) {
	cfg := config(t)
	taken := errors.New("port is taken")
	if _, err := New(cfg, Options{Listen: func() (Listeners, error) { return Listeners{}, taken }}); !errors.Is(err, taken) {
		t.Fatalf("err = %v", err)
	}
	ln := mqttListener(t)
	cfg.Central.URL = "ftp://x"
	if _, err := New(cfg, Options{Listeners: Listeners{MQTT: ln}}); err == nil {
		t.Fatal("a wrong central.url was taken")
	}
	if _, err := ln[0].Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is still open: %v", err)
	}
	cfg.Central.URL = "http://127.0.0.1:1"
	a, err := New(cfg, Options{Listeners: Listeners{MQTT: mqttListener(t)}})
	if err != nil {
		t.Fatalf("the store was not given back: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
}

// A part that ends by itself ends the agent, with its name.
func TestAPartThatEndsIsAnError(t *testing.T) {
	a, err := New(config(t), Options{Listeners: Listeners{MQTT: mqttListener(t)}})
	if err != nil {
		t.Fatal(err)
	}
	a.intake = ended{}
	if err := a.Run(t.Context()); err == nil || err.Error() != "intake: no more" {
		t.Errorf("Run() = %v", err)
	}
	if err := a.Live(); err == nil || err.Error() != "intake ended" {
		t.Errorf("Live() = %v", err)
	}
}

type ended struct{}

func (ended) Run(context.Context) error { return errors.New("no more") }
func (ended) Status() intake.Status     { return intake.Status{Connected: true} }

// A part that hangs must not hang the stop when a second signal comes.
func TestAbortCutsTheStopShort(t *testing.T) {
	abort := make(chan struct{})
	a, err := New(config(t), Options{Listeners: Listeners{MQTT: mqttListener(t)}, Abort: abort})
	if err != nil {
		t.Fatal(err)
	}
	// A stop that is cut short leaves the store open; its folder goes after it.
	t.Cleanup(func() { _ = a.outbox.Close(context.Background()) })
	hung := hangs{make(chan struct{}), make(chan struct{})}
	defer func() { close(hung.free); <-hung.gone }()
	a.intake, a.shares.intake = hung, time.Hour
	stop := runs(t, a)
	close(abort)
	_ = ends(t, stop) // its error doesn't matter here
}

// Intake that takes all the time it gives its acknowledgements is not left behind,
// and the relays end beside it.
func TestTheStopLeavesIntakeItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		a, err := New(config(t), Options{Listeners: Listeners{MQTT: mqttListener(t)}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		a.opts.Listeners.Close()
		a.intake = drains{}
		stop := runs(t, a)
		time.Sleep(time.Minute)
		began := time.Now()
		if err := stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != 2*time.Second || strings.Contains(log.String(), "left behind") {
			t.Errorf("the stop took %v: %s", took, log.String())
		}
	})
}

type drains struct{ ended }

func (drains) Run(ctx context.Context) error {
	<-ctx.Done()
	time.Sleep(2 * time.Second)
	return nil
}

type hangs struct{ free, gone chan struct{} }

func (h hangs) Run(context.Context) error { <-h.free; close(h.gone); return nil }
func (hangs) Status() intake.Status       { return intake.Status{Connected: true} }

// wall is a wall clock that the test sets.
type wall struct {
	mu  sync.Mutex
	now time.Time
}

func (w *wall) get() time.Time  { w.mu.Lock(); defer w.mu.Unlock(); return w.now }
func (w *wall) set(t time.Time) { w.mu.Lock(); defer w.mu.Unlock(); w.now = t }

// Events that came under an unbelievable clock get their times when it becomes
// known.
func TestClocklessEventsAreResolved(t *testing.T) {
	w := &wall{now: time.Unix(3600, 0)}
	up := time.Hour
	a, err := New(config(t), Options{
		Listeners: Listeners{MQTT: mqttListener(t)},
		Clock: clock.New(clock.Options{
			Now: w.get, Boot: func() (string, time.Duration) { return "boot", up }, Synced: func() bool { return true },
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	stop := runs(t, a)
	clockless := &scan.BootTime{Boot: "boot", Since: 30 * time.Minute}
	if _, err := a.outbox.Append(t.Context(), event("YT0000000000001", clockless, w.get())); err != nil {
		t.Fatal(err)
	}
	if s := a.Status(); s.Clock != control.ClockUnknown {
		t.Errorf("clock = %q in 1970", s.Clock)
	}
	if records, err := a.outbox.Unsynced(10, 1<<20); err != nil || len(records) != 0 {
		t.Errorf("in 1970 %d events may be synced (%v)", len(records), err)
	}
	today := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	w.set(today)
	eventually(t, "the event may be synced", func() bool {
		records, err := a.outbox.Unsynced(10, 1<<20)
		return err == nil && len(records) == 1 && records[0].Event.ReceivedAt.Equal(today.Add(-30*time.Minute))
	})
	if s := a.Status(); s.Clock != control.ClockOK {
		t.Errorf("clock = %q today", s.Clock)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// A topic whose messages have no waybill number is named once an hour.
func TestTopicsWithoutNumbersAreNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		u := limit.NewLog(slog.New(slog.NewTextHandler(&log, nil)), tellAgain, maxUnmapped)
		for i, c := range []struct {
			topic, code string
			after       time.Duration
			told        bool
		}{
			{"a/1", "no_waybill", 0, true}, {"a/1", "no_waybill", time.Minute, false}, {"a/2", "no_waybill", 0, true},
			{"a/3", "not_json", 0, false}, {"a/1", "no_waybill", time.Hour, true},
		} {
			time.Sleep(c.after)
			log.Reset()
			tell(u, scan.Reject{Topic: c.topic, Code: c.code, Reason: "give it ignore: ['alive']"})
			if told := strings.Contains(log.String(), "topic="+c.topic) && strings.Contains(log.String(), "alive"); told != c.told {
				t.Errorf("%d: told %v: %s", i, told, log.String())
			}
		}
		log.Reset()
		for i := range 3 * maxUnmapped {
			tell(u, scan.Reject{Topic: fmt.Sprint(i), Code: "no_waybill"})
		}
		if lines := strings.Count(log.String(), "\n"); lines > maxUnmapped+1 {
			t.Errorf("%d lines for topics that somebody invents", lines)
		}
	})
}

// A gateway without a battery boots with the time of its last stop, which nobody can
// tell from a right one. What comes before somebody confirms the clock waits, keeps
// what its device told, and gets its time when the clock has stepped.
func TestAStaleClockAtBoot(t *testing.T) {
	for _, behind := range []time.Duration{3 * time.Hour, 30 * time.Hour, -3 * time.Hour} {
		now := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
		w, up := &wall{now: now.Add(-behind)}, time.Minute
		var synced atomic.Bool
		a, err := New(config(t), Options{
			Listeners: Listeners{MQTT: mqttListener(t)},
			Clock: clock.New(clock.Options{
				Now: w.get, Boot: func() (string, time.Duration) { return "boot", up }, Synced: synced.Load,
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		stop := runs(t, a)
		told := now.Add(-20 * time.Second)
		for i, sent := range []string{"", `,"action_time":` + strconv.FormatInt(told.Unix(), 10)} {
			payload := fmt.Sprintf(`{"waybill_id":"YT690063471690%d","action_type":200001,"action_msg":"x"%s}`, i, sent)
			b := a.pipe.Take(intake.Message{Topic: "scans/g", Payload: []byte(payload)})
			done := make(chan error, 1)
			if err := a.pipe.Submit("scans/g", b, func(_ scan.Stored, err error) { done <- err }); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		if records, err := a.outbox.Unsynced(10, 1<<20); err != nil || len(records) != 0 || a.Status().Clock != control.ClockUnknown {
			t.Errorf("%v behind: %d may be synced under a clock that is %s (%v)", behind, len(records), a.Status().Clock, err)
		}
		w.set(now)
		synced.Store(true)
		var records []store.Record
		eventually(t, "the events may be synced", func() bool {
			records, err = a.outbox.Unsynced(10, 1<<20)
			return err == nil && len(records) == 2
		})
		if e := records[0].Event; e.ActionTime != now.Unix() || !e.ReceivedAt.Equal(now) {
			t.Errorf("%v behind: what came without a time came at %v", behind, e.ReceivedAt)
		}
		if e := records[1].Event; e.ActionTime != told.Unix() || e.Marks.Has(scan.MarkClock) {
			t.Errorf("%v behind: the device's time became %v", behind, time.Unix(e.ActionTime, 0))
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
}

// Rejects are counted by reason; a code that is no label becomes other.
func TestRejectsAreCountedByReason(t *testing.T) {
	var stored scan.Stored
	a, err := New(config(t), Options{
		Listeners: Listeners{MQTT: mqttListener(t)},
		Hooks:     Hooks{OnStored: func(_ scan.Batch, s scan.Stored) { stored = s }},
	})
	if err != nil {
		t.Fatal(err)
	}
	j := &meteredOutbox{outbox: a.outbox, set: a.metrics, onStored: a.opts.Hooks.OnStored}
	done := make(chan error, 1)
	b := scan.Batch{Rejects: []scan.Reject{
		{Code: "not_json", Reason: "x", ReceivedAt: time.Now()}, {Code: `a"b`, Reason: "x", ReceivedAt: time.Now()},
	}}
	if err := j.Submit(b, func(_ scan.Stored, err error) { done <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || stored.Rejected != 2 {
		t.Fatalf("stored %+v, %v", stored, err)
	}
	var m bytes.Buffer
	a.metrics.WritePrometheus(&m)
	marked := scan.Batch{Events: []scan.Event{
		{Waybill: "A1", EventID: "1", ActionType: 200001, ActionMsg: "x", Marks: scan.MarkMended | scan.MarkClock | scan.MarkDerivedID},
	}}
	if err := j.Submit(marked, func(_ scan.Stored, err error) { done <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	a.metrics.WritePrometheus(&m)
	for _, want := range []string{`scanrelay_events_marked_total{mark="mended"} 1`, `scanrelay_events_marked_total{mark="clock"} 1`, `scanrelay_events_rejected_total{reason="not_json"} 1`, `scanrelay_events_rejected_total{reason="other"} 1`} {
		if !strings.Contains(m.String(), want) {
			t.Errorf("no %s", want)
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
}
