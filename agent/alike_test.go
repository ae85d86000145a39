package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"scanrelay/configs"
)

// oneSource is a configuration with these keys in its one source; users and the like
// follow.
func oneSource(keys, more string) string {
	return "mqtt: {broker: embedded}\nsources: [{" + keys + "}]\n" + more + "\n"
}

// alike are configurations, and whether they are right.
var alike = []struct {
	name, text string
	right      bool
}{
	{"nothing at all", "", true},
	{"an offset as time zone", oneSource(`topic: a, timezone: "+08:00"`, ""), true},
	{"empty is the default", oneSource(`topic: a, decoder: "", encoding: "", timezone: ""`, ""), true},
	{"a shared filter", oneSource(`topic: $share/g/a/#`, ""), true},
	{"a right of a user", "mqtt: {broker: embedded, embedded: {users: [{username: u, password: p, publish: [a/+]}]}}\n", true},
	{"a station's template", oneSource("topic: a", "stations: {x: {action_type: 200001, action_msg: '{{if .Event.DeviceID}}a{{end}}'}}"), true},

	{"no source", "sources: []\n", false},
	{"a group without a filter", oneSource("topic: $share/g", ""), false},
	{"a filter that is none", oneSource("topic: a/#/b", ""), false},
	{"no filter", oneSource("qos: 1", ""), false},
	{"a right that is no filter", "mqtt: {broker: embedded, embedded: {users: [{username: u, password: p, publish: [$share/g]}]}}\n", false},
	{"a user twice", "mqtt: {broker: embedded, embedded: {users: [{username: u, password: p}, {username: u, password: p}]}}\n", false},
	{"a user without a password", "mqtt: {broker: embedded, embedded: {users: [{username: u}]}}\n", false},
	{"a pattern without groups", oneSource(`topic: a, pattern: "[0-9]+"`, ""), false},
	{"a group that is an object", oneSource(`topic: a, pattern: "(?P<waybill>x)"`, ""), false},
	{"a group that is no field", oneSource(`topic: a, pattern: "(?P<code>x)"`, ""), false},
	{"a broken pattern", oneSource(`topic: a, pattern: "("`, ""), false},
	{"an unknown zone", oneSource("topic: a, timezone: Mars/Olympus", ""), false},
	{"an unknown decoder", oneSource("topic: a, decoder: asn1", ""), false},
	{"an unknown encoding", oneSource("topic: a, encoding: latin1", ""), false},
	{"QoS 3", oneSource("topic: a, qos: 3", ""), false},
	{"csv without columns", oneSource("topic: a, decoder: csv", ""), false},
	{"a column twice", oneSource("topic: a, decoder: csv, columns: [a, a]", ""), false},
	{"a pointer into a text", oneSource("topic: a, decoder: text, fields: {device_id: /x}", ""), false},
	{"a pointer with a bad escape", oneSource("topic: a, fields: {device_id: /x~2}", ""), false},
	{"no pointer", oneSource("topic: a, fields: {device_id: x}", ""), false},
	{"no topic level", oneSource(`topic: a, fields: {device_id: "topic[x]"}`, ""), false},
	{"an unknown field", oneSource("topic: a, fields: {code: /x}", ""), false},
	{"split of a text", oneSource("topic: a, decoder: text, split: /x", ""), false},
	{"a separator of JSON", oneSource(`topic: a, separator: ";"`, ""), false},
	{"a separator that is nothing", oneSource(`topic: a, decoder: text, separator: ";*"`, ""), false},
	{"a layout that is none", oneSource("topic: a, time_formats: [yyyy-MM-dd]", ""), false},
	{"a broken ignore", oneSource(`topic: a, ignore: ["["]`, ""), false},
	{"base64 of nothing", oneSource("topic: a, base64: [code]", ""), false},
	{"a value that is no action", oneSource(`topic: a, values: {action_type: {GOT: "7"}}`, ""), false},
	{"a station's action", oneSource("topic: a", "stations: {x: {action_type: 7}}"), false},
	{"a broken template", oneSource("topic: a", "stations: {x: {action_msg: '{{range .Depot.ID}}{{end}}'}}"), false},
	{"a phone of 33 bytes", oneSource("topic: a", "stations: {x: {pickup_courier_phone: 电话电话电话电话电话电话}}"), false},
	{"a broken waybill_pattern", "waybill_pattern: (\n", false},
}

// What check says of sources, stations and users is what a start and a reload
// say, for every example and for all that can be wrong.
func TestCheckStartAndReloadAreAlike(t *testing.T) {
	rows := alike
	files, err := filepath.Glob("../configs/sources/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no sources: %v", err)
	}
	for _, file := range append(files, "../configs/agent.example.yaml") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, struct {
			name, text string
			right      bool
		}{file, string(text), true})
	}
	running, err := New(config(t), Options{Listeners: Listeners{MQTT: mqttListener(t)}})
	if err != nil {
		t.Fatal(err)
	}
	runs(t, running)
	for _, row := range rows {
		text := row.text
		if !strings.Contains(text, "\ndepot:") {
			text = "depot: {id: hz-01}\ncentral: {token: x}\n" + text
		}
		cfg, problems := configs.ReadAgent("agent.yaml", []byte(text), nil)
		if problems.Failed() == row.right {
			t.Errorf("%s: check says %v", row.name, problems)
		}
		cfg.DataDir = t.TempDir()
		a, err := New(cfg, Options{Listeners: Listeners{MQTT: mqttListener(t)}})
		if (err == nil) != row.right {
			t.Errorf("%s: the start says %v", row.name, err)
		}
		if err == nil {
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		}
		if _, err := running.Reload(cfg); (err == nil) != row.right {
			t.Errorf("%s: a reload says %v", row.name, err)
		}
	}
}

// A store that check lets pass is not too small to start with.
func TestCheckAndStartAgreeOnTheLeastStore(t *testing.T) {
	for size, right := range map[string]bool{"2MiB": false, "4095KiB": false, "4MiB": true} {
		text := "depot: {id: hz-01}\ncentral: {token: x}\nmqtt: {broker: embedded}\nstore: {max_size: " + size + "}\n"
		cfg, problems := configs.ReadAgent("agent.yaml", []byte(text), nil)
		if problems.Failed() == right {
			t.Errorf("%s: check says %v", size, problems)
		}
		cfg.DataDir = t.TempDir()
		a, err := New(cfg, Options{Listeners: Listeners{MQTT: mqttListener(t)}})
		if (err == nil) != right {
			t.Errorf("%s: the start says %v", size, err)
		}
		if err == nil {
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// A number that check lets pass must not keep the agent from starting, nor from
// taking it with a reload.
func TestCheckAndStartAgreeOnNumbers(t *testing.T) {
	running, err := New(config(t), Options{Listeners: Listeners{MQTT: mqttListener(t)}})
	if err != nil {
		t.Fatal(err)
	}
	runs(t, running)
	durations := []string{"0s", "1ns", "1ms", "1s", "876000h"}
	sizes := []string{"0", "1", "1KiB", "64KiB", "1MiB", "2MiB", "3MiB", "4MiB", "5MiB", "16MiB", "255MiB"}
	counts := []string{"0", "1", "1000000", "10000000"}
	rates := []string{"0", "0.001", "1000000000000"}
	taken := 0
	for key, values := range map[string][]string{
		"dedupe_window: %s": durations, "store: {retain: %s}": durations, "notify: {fresh_for: %s}": durations, "notify: {max_age: %s}": durations,
		"notify: {binding_ttl: {bound: %s, unbound: 0s}}": durations, "store: {max_size: %s}": sizes, "quarantine: {max_size: %s}": sizes,
		"quarantine: {max_count: %s}": counts, "notify: {concurrency: %s}": counts, "notify: {rate: %s}": rates,
		"mqtt: {broker: embedded, embedded: {max_packet: %s}}": sizes, "mqtt: {broker: embedded, embedded: {max_clients: %s}}": counts,
		"mqtt: {broker: embedded, embedded: {rate: %s}}": rates,
	} {
		for _, value := range values {
			text := fmt.Sprintf(key, value)
			cfg, problems := configs.ReadAgent("agent.yaml", []byte("depot: {id: hz-01}\ncentral: {token: x}\n"+text+"\n"), nil)
			if problems.Failed() {
				continue
			}
			taken++
			cfg.DataDir = t.TempDir()
			a, err := New(cfg, Options{Listeners: Listeners{MQTT: mqttListener(t)}})
			if err != nil {
				t.Errorf("%s: check lets pass what the start refuses: %v", text, err)
				continue
			}
			if err := a.Close(); err != nil {
				t.Error(err)
			}
			if _, err := running.Reload(cfg); err != nil {
				t.Errorf("%s: check lets pass what a reload refuses: %v", text, err)
			}
		}
	}
	if taken < 40 {
		t.Errorf("check lets pass %d", taken)
	}
}

// An address that check lets pass must not keep the agent from starting.
func TestCheckAndStartAgreeOnAddresses(t *testing.T) {
	for _, address := range []string{
		"http://h", "https://h", "HTTPS://h", "http://h/", "http://h/a/b", "http://h:0", "http://h:", "http://[::1]:8080", "http://[::1", "http://:80",
		"http://h:65536", "http://u:p@h", "http://h?a=b", "http://h#a", "http://h/a%zz", "http://h/%20", "http:///a", "http:h", "ftp://h", "h", "//h", "http://h h",
		"tcp://h", "tcp://h/", "tcp://h/a", "ssl://h", "mqtt://h", "TCP://h", "ws://h", "ws://h/mqtt", "wss://h:8884", "tcp://h:1", "tcp://[fe80::1%25eth0]:1",
	} {
		for key, text := range map[string]string{
			"central.url": "central: {token: x, url: %q}", "wechat.base_url": "central: {token: x}\nwechat: {base_url: %q}",
			"wechat.fallback_url": "central: {token: x}\nwechat: {fallback_url: %q}", "mqtt.broker": "central: {token: x}\nmqtt: {broker: %q}",
		} {
			cfg, problems := configs.ReadAgent("agent.yaml", []byte("depot: {id: hz-01}\n"+fmt.Sprintf(text, address)+"\n"), nil)
			if problems.Failed() {
				continue
			}
			cfg.DataDir = t.TempDir()
			a, err := New(cfg, Options{})
			if err != nil {
				t.Errorf("%s: %s: check lets pass what the start refuses: %v", key, address, err)
				continue
			}
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
