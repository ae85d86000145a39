package agent

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"scanrelay/agent/intake/user"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"scanrelay/agent/control"
	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/intake/sparkplug"
	"scanrelay/agent/scan"
	"scanrelay/configs"
	"scanrelay/store"
	"scanrelay/store/durable"
)

func TestReload(t *testing.T) {
	a, err := New(config(t), Options{Listeners: Listeners{MQTT: mqttListener(t)}})
	if err != nil {
		t.Fatal(err)
	}
	runs(t, a)
	next := *a.cfg
	next.Sources = []mapping.Source{{Topic: "a", QoS: 1, Decoder: "json"}}
	next.MQTT.Embedded.Users = []user.User{{Username: "u", Password: "p"}}
	next.Depot.Name, next.DedupeWindow, next.Log.Level = "other", time.Second, "debug"
	if restart, err := a.Reload(&next); err != nil || restart != nil {
		t.Errorf("reload: %v, %v", restart, err)
	}
	next.Update.Auto, next.MQTT.Listen = false, "127.0.0.1:2"
	if restart, err := a.Reload(&next); err != nil || !slices.Equal(restart, []string{"mqtt", "update"}) {
		t.Errorf("what needs a restart: %v, %v", restart, err)
	}
	next.Sources = []mapping.Source{{Topic: "#/a"}}
	if _, err := a.Reload(&next); err == nil {
		t.Error("a broken source was taken")
	}
	b := a.pipe.Mapper().Map("a", []byte(`{"waybill_id":"YT1234567890123","action_type":200001,"action_msg":"x"}`), messageNow())
	if len(b.Events) != 1 {
		t.Errorf("after it the mapping is %+v", b)
	}
}

// TestReloadOfNotify: the relays run anew with what notify says now, and only where it
// says something else; the centre hears them, and a stop is as before.
func TestReloadOfNotify(t *testing.T) {
	var syncs atomic.Int64
	centre := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		syncs.Add(1)
		fmt.Fprintf(w, `{"v":1,"store_id":"s","process":"p","time":%d,"have":0,"rate":1,"wechat":{"state":"ok"}}`, time.Now().Unix())
	}))
	defer centre.Close()
	cfg := config(t)
	cfg.Central.URL, cfg.Central.Token = centre.URL, "a token of the depot"
	a, err := New(cfg, Options{Listeners: Listeners{MQTT: mqttListener(t)}, Clock: confirmed()})
	if err != nil {
		t.Fatal(err)
	}
	stop := runs(t, a)
	next, first := *a.cfg, a.up()
	if restart, err := a.Reload(&next); err != nil || len(restart) > 0 || len(a.relays.change) > 0 {
		t.Errorf("the same: %v, %v", restart, err)
	}
	for rate := range 3 {
		next.Notify.Rate, next.Notify.Actions = float64(rate+1), []scan.ActionType{scan.ActionTransport}
		was := a.up()
		if restart, err := a.Reload(&next); err != nil || len(restart) > 0 {
			t.Errorf("reload: %v, %v", restart, err)
		}
		eventually(t, "other relays run", func() bool { return a.up() != was })
		if got := a.relays.config.Notify; got.Rate != next.Notify.Rate || len(got.Actions) != 1 {
			t.Errorf("they run with %+v", got)
		}
		seen := syncs.Load()
		eventually(t, "they sync", func() bool { return syncs.Load() > seen && a.up().Status().Central.Connected })
	}
	if a.up() == first {
		t.Error("the first relays run on")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// A reload is whole or not at all: users that are refused leave the sources as they
// were, and sources that are refused the users.
func TestReloadIsWhole(t *testing.T) {
	a, err := New(config(t), Options{Listeners: Listeners{MQTT: mqttListener(t)}})
	if err != nil {
		t.Fatal(err)
	}
	runs(t, a)
	before := a.pipe.Mapper().Map("gate/1", []byte(`[`), messageNow())
	right := *a.cfg
	right.Sources = []mapping.Source{{Topic: "gate/+", QoS: 1, Decoder: "json"}}
	right.MQTT.Embedded.Users = []user.User{{Username: "u", Password: "p"}}
	for name, spoil := range map[string]func(*configs.Agent){
		"a user without a password": func(c *configs.Agent) { c.MQTT.Embedded.Users[0].Password = "" },
		"a right that is no filter": func(c *configs.Agent) { c.MQTT.Embedded.Users[0].Publish = []string{"a/#/b"} },
		"a source without a topic":  func(c *configs.Agent) { c.Sources[0].Topic = "" },
		"a broken waybill_pattern":  func(c *configs.Agent) { c.WaybillPattern = "(" },
	} {
		next := right
		next.Sources, next.MQTT.Embedded.Users = slices.Clone(right.Sources), slices.Clone(right.MQTT.Embedded.Users)
		spoil(&next)
		if _, err := a.Reload(&next); err == nil {
			t.Errorf("%s was taken", name)
		}
		if after := a.pipe.Mapper().Map("gate/1", []byte(`[`), messageNow()); after.Ignored != before.Ignored || len(after.Rejects) != len(before.Rejects) {
			t.Errorf("%s: the sources are new", name)
		}
		if client := dialMQTT(t, a.opts.Listeners.MQTT[0].Addr().String()); client != 0 {
			t.Errorf("%s: the users are new: a stranger gets return code %d", name, client)
		}
	}
	if _, err := a.Reload(&right); err != nil {
		t.Fatal(err)
	}
	if after := a.pipe.Mapper().Map("gate/1", []byte(`[`), messageNow()); len(after.Rejects) != 1 {
		t.Errorf("what is right was not taken: %+v", after)
	}
	if code := dialMQTT(t, a.opts.Listeners.MQTT[0].Addr().String()); code == 0 {
		t.Error("a stranger still gets in")
	}
}

// dialMQTT connects to a broker without a name and returns what it is answered.
func dialMQTT(t *testing.T, addr string) byte {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("\x10\x0d\x00\x04MQTT\x04\x02\x00\x0a\x00\x01x")); err != nil {
		t.Fatal(err)
	}
	var connack [4]byte
	if _, err := io.ReadFull(conn, connack[:]); err != nil {
		t.Fatal(err)
	}
	return connack[3]
}

// What births said is there after a restart; a file that cannot be read is as
// none.
func TestBirthsAreKept(t *testing.T) {
	cfg := config(t)
	topic, _ := sparkplug.ParseTopic("spBv1.0/g/DBIRTH/n/d")
	start := func() (*Agent, func() error) {
		a, err := New(cfg, Options{Listeners: Listeners{MQTT: mqttListener(t)}, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		return a, runs(t, a)
	}
	a, stop := start()
	a.births.SetBirth(topic, sparkplug.Birth{Aliases: map[uint64]sparkplug.BirthMetric{7: {Name: "Code"}}})
	file := filepath.Join(cfg.DataDir, BirthsName)
	eventually(t, "written while it runs", func() bool { _, err := os.Stat(file); return err == nil })
	a.births.SetBirth(topic, sparkplug.Birth{Aliases: map[uint64]sparkplug.BirthMetric{7: {Name: "Barcode"}}})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	a, stop = start()
	if b, ok := a.births.Birth(topic); !ok || b.Aliases[7].Name != "Barcode" {
		t.Errorf("after a restart %+v, %v", b, ok)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	a, stop = start()
	if _, ok := a.births.Birth(topic); ok || !durable.Exists(file+durable.Unreadable) {
		t.Error("a broken file was read, or is not kept")
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

func TestReplayThroughTheMappingInUse(t *testing.T) {
	a, err := New(config(t), Options{Listeners: Listeners{MQTT: mqttListener(t)}, Clock: confirmed()})
	if err != nil {
		t.Fatal(err)
	}
	runs(t, a)
	b := a.pipe.Mapper().Map("scans/x", []byte(`{"waybill_id":"YT1234567890123","action_type":"GOT","action_msg":"x"}`), messageNow())
	if _, err := a.outbox.Append(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if r, err := a.replay(t.Context(), nil); err != nil || r != (control.Replayed{Entries: 1, Remaining: 1}) {
		t.Errorf("before it is mended: %+v, %v", r, err)
	}
	next := *a.cfg
	next.Sources = slices.Clone(next.Sources)
	next.Sources[0].Values = map[string]map[string]string{"action_type": {"GOT": "100001"}}
	if _, err := a.Reload(&next); err != nil {
		t.Fatal(err)
	}
	if r, err := a.replay(t.Context(), nil); err != nil || r != (control.Replayed{Entries: 1, Left: 1, Events: 1}) {
		t.Errorf("after it: %+v, %v", r, err)
	}
	if c := a.outbox.Counts(); c.Received != 1 || c.Quarantined != 0 || c.Rejected != 1 {
		t.Errorf("counts %+v", c)
	}
	var got []scan.WaybillID
	records, err := a.outbox.Unsynced(10, 1<<20)
	for _, r := range records {
		got = append(got, r.Event.Waybill)
	}
	if err != nil || !slices.Equal(got, []scan.WaybillID{"YT1234567890123"}) {
		t.Errorf("stored %v, %v", got, err)
	}
}

// Of several entries only those that are named are replayed, and what is none is
// said.
func TestReplayOfSomeEntries(t *testing.T) {
	a, err := New(config(t), Options{Listeners: Listeners{MQTT: mqttListener(t)}, Clock: confirmed()})
	if err != nil {
		t.Fatal(err)
	}
	runs(t, a)
	for i := range 4 {
		text := fmt.Sprintf(`{"waybill_id":"YT123456789012%d","action_type":"GOT","action_msg":"x"}`, i)
		if _, err := a.outbox.Append(t.Context(), a.pipe.Mapper().Map("scans/x", []byte(text), messageNow())); err != nil {
			t.Fatal(err)
		}
	}
	next := *a.cfg
	next.Sources = slices.Clone(next.Sources)
	next.Sources[0].Values = map[string]map[string]string{"action_type": {"GOT": "100001"}}
	if _, err := a.Reload(&next); err != nil {
		t.Fatal(err)
	}
	r, err := a.replay(t.Context(), []uint64{2, 99, 4, 2})
	if err == nil || err.Error() != "not in quarantine: rejected-99" || r != (control.Replayed{Entries: 2, Left: 2, Events: 2}) {
		t.Errorf("%+v, %v", r, err)
	}
	var left []uint64
	err = a.outbox.Quarantine(t.Context(), func(q store.Quarantined) error {
		left = append(left, q.Seq)
		return nil
	})
	if err != nil || !slices.Equal(left, []uint64{1, 3}) {
		t.Errorf("%v left, %v", left, err)
	}
	if r, err := a.replay(t.Context(), []uint64{2}); err == nil || r != (control.Replayed{}) {
		t.Errorf("once more: %+v, %v", r, err)
	}
}

func messageNow() mapping.Info { return mapping.Info{ReceivedAt: time.Now()} }
