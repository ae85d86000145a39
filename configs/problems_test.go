package configs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each row: an agent's file, and the problems it must bring, in order.
var agentProblems = []struct{ name, text, want string }{
	{"unknown keys name the nearest", "depot: {id: a}\ncentral: {token: x}\nmqtt:\n  brokr: x\nhttpd: {}\n",
		`c.yaml:4: mqtt.brokr: unknown key "brokr"; the nearest known one is "broker"
c.yaml:5: httpd: unknown key "httpd"; the nearest known one is "http"`},
	{"several at once", "depot:\n  id: Hz_1\ncentral: {token: x}\nnotify:\n  concurrency: 0\n  rate: fast\n  max_age: 24\n  actions: [300001]\n",
		`c.yaml:2: depot.id: "Hz_1" must match ^[a-z0-9][a-z0-9-]{0,62}$
c.yaml:5: notify.concurrency: must lie between 1 and 1024, not be 0
c.yaml:6: notify.rate: "fast" is no number
c.yaml:7: notify.max_age: "24" is no duration; write one as 30s, 15m, 24h or 7d
c.yaml:8: notify.actions[0]: 300001 is none of WeChat's action types; they are 90001, 90002,`},
	{"missing", "central: {token: x}\n", "c.yaml:1: depot.id: is required"},
	{"empty file", "", "c.yaml:1: central.token: warning: is empty"},
	{"duplicate key", "depot: {id: a}\ncentral: {token: x}\ndepot: {id: b}\n", "c.yaml:3: depot: is given twice"},
	{"wrong shapes", "depot: a\nsources: {}\nstations: []\ncentral: {token: [x]}\n",
		`c.yaml:1: depot: must be a mapping of keys to values, not a single value
c.yaml:2: sources: must be a list, not a mapping
c.yaml:3: stations: must be a mapping of keys to values, not a list
c.yaml:4: central.token: must be a text, not a list`},
	{"no YAML", "depot: {id: a\n", "c.yaml:1: is no YAML: "},
	{"GBK", "depot: {id: a}\n# \xba\xbc\xd6\xdd\n", "c.yaml:2: is GBK (which some editors call ANSI): save it as UTF-8"},
	{"UTF-16", "\xff\xfed\x00:\x00", "c.yaml:1: is UTF-16: save it as UTF-8"},
	{"two documents", "depot: {id: a}\n---\nx: 1\n", "c.yaml:3: holds more than one YAML document"},
	{"addresses", base + "mqtt: {broker: 'mqtt://h:1', brokers: [embedded, 'tcp://h:99999', 'h:1883']}\n" +
		"http: {listen: '9108'}\nwechat: {base_url: 'ftp://x'}\n",
		`c.yaml:3: mqtt.broker: unknown scheme "mqtt"; the nearest known one is "tcp"; it may be tcp, ssl, ws, wss
c.yaml:3: mqtt.brokers[0]: "embedded" can only stand alone, as mqtt.broker
c.yaml:3: mqtt.brokers[1]: port 99999 is none; it must lie between 1 and 65535
c.yaml:3: mqtt.brokers[2]: is no address; write one as tcp://host:port
c.yaml:4: http.listen: "9108" is no address to listen on; write one as 127.0.0.1:8080
c.yaml:5: wechat.base_url: unknown scheme "ftp"`},
	{"central in clear", "depot: {id: a}\ncentral: {url: http://c.example, token: x}\n",
		"c.yaml:2: central.url: warning: sends the token and personal data in clear; use https"},
	{"a user in the address", "depot: {id: a}\ncentral: {url: https://u:p@c.example, token: x}\n",
		"c.yaml:2: central.url: must not hold a user or password"},
	{"token that fits no header", "depot: {id: a}\ncentral: {token: 密码}\n", "c.yaml:2: central.token: holds a character"},
	{"sizes", base + "store: {max_size: 1.5GiB}\nquarantine: {max_size: 1KiB, max_count: 0}\n",
		`c.yaml:3: store.max_size: "1.5GiB" is no size
c.yaml:4: quarantine.max_count: must lie between 1
c.yaml:4: quarantine.max_size: must be at least 64KiB, not 1KiB`},
	{"data_dir", base + "data_dir: /" + strings.Repeat("d", 100) + "\n", "c.yaml:3: data_dir: is too long: /ddd"},
	{"log", base + "log: {level: verbose, format: xml}\n",
		`c.yaml:3: log.format: unknown value "xml"; the nearest known one is "auto"; it may be auto, text, json
c.yaml:3: log.level: unknown value "verbose"`},
	{"embedded", base + "mqtt:\n  broker: embedded\n  listen: 0.0.0.0:1883\n  username: u\n  embedded: {max_clients: 0, users: [{username: a}, {username: a, password: p, publish: ['a/#/b']}]}\n",
		`c.yaml:6: mqtt.username: warning: has no effect with the embedded broker
`},
	{"one port twice", base + "mqtt: {broker: embedded, listen: ':9000', embedded: {listeners: [{listen: '[::1]:9001'}, {listen: 'localhost:9001'}, {listen: '127.0.0.1:0'}, {listen: '127.0.0.1:0'}]}}\nhttp: {listen: '127.0.0.1:9000'}\n",
		`c.yaml:4: http.listen: 127.0.0.1:9000 is taken by mqtt.listen
`},
	{"listeners", base + "mqtt:\n  broker: embedded\n  embedded:\n    max_clients_per_address: 2000\n    listeners:\n      - {listen: '127.0.0.1:1883'}\n      - {listen: 'x', websocket: true}\n      - {listen: ':8883', tls: {cert_file: /none}}\n",
		`c.yaml:6: mqtt.embedded.max_clients_per_address: must lie between 0 and 1000, not be 2000
c.yaml:8: mqtt.embedded.listeners[0].listen: 127.0.0.1:1883 is taken by mqtt.listen
c.yaml:9: mqtt.embedded.listeners[1].listen: "x" is no address
c.yaml:10: mqtt.embedded.listeners[2].listen: warning: lets everybody
c.yaml:10: mqtt.embedded.listeners[2].tls.key_file: is required
`},
	{"embedded open to all", base + "mqtt: {broker: embedded, listen: ':1883'}\n", "c.yaml:3: mqtt.listen: warning: lets everybody"},
	{"sources", base + `sources:
  - topic: a/#/b
    decoder: asn1
    qos: 3
    split: data
    pattern: (unnamed)
    base64: [nothing]
    ignore: ["("]
    columns: [a]
    time_formats: [yyyy-MM-dd]
    timezone: Mars/Olympus
    fields: {waybill: waybill, waybil_id: /x, device_id: "topic[x]", station: /a~2}
    values: {action_type: {GOT: 5, X: nine}}
  - qos: 0
`, `c.yaml:4: sources[0].topic: # must be the whole last level of a topic filter
c.yaml:5: sources[0].decoder: unknown value "asn1"
c.yaml:6: sources[0].qos: must lie between 0 and 2, not be 3
c.yaml:7: sources[0].split: "data" is no JSON pointer
c.yaml:8: sources[0].pattern: has no named group
c.yaml:9: sources[0].base64[0]: unknown field "nothing"
c.yaml:10: sources[0].ignore[0]: is no regular expression: missing closing ): ` + "`(`" + `
c.yaml:11: sources[0].columns: warning: has no effect with decoder asn1
c.yaml:12: sources[0].time_formats[0]: "yyyy-MM-dd" is no Go time layout
c.yaml:13: sources[0].timezone: "Mars/Olympus" is no time zone
c.yaml:14: sources[0].fields.device_id: "topic[x]" is no place
c.yaml:14: sources[0].fields.station: "/a~2" is no JSON pointer
c.yaml:14: sources[0].fields.waybil_id: unknown field "waybil_id"; the nearest known one is "waybill_id"
c.yaml:14: sources[0].fields.waybill: "waybill" is no JSON pointer
c.yaml:15: sources[0].values.action_type.GOT: 5 is none of WeChat's action types
c.yaml:15: sources[0].values.action_type.X: "nine" is no action_type
c.yaml:16: sources[1].qos: warning: 0 lets the broker forget scans
c.yaml:16: sources[1].topic: is required`},
	{"csv without columns, same topic twice", base + "sources:\n  - {topic: a, decoder: csv}\n  - {topic: a}\n",
		`c.yaml:4: sources[0].columns: is required with decoder csv
c.yaml:5: sources[1].topic: warning: is never reached: another source has the same filter and comes first`},
	{"encoding and separator", base + "sources:\n  - {topic: a, encoding: gb2312, separator: ';'}\n  - {topic: b, decoder: text, separator: ';*'}\n  - {topic: c, decoder: sparkplug, encoding: gbk}\n  - {topic: d, decoder: text, separator: '('}\n",
		`c.yaml:4: sources[0].encoding: unknown value "gb2312"; the nearest known one is
c.yaml:4: sources[0].separator: has a meaning with decoder text only
c.yaml:5: sources[1].separator: ";*" also matches nothing at all
c.yaml:6: sources[2].encoding: warning: has no effect with decoder sparkplug
c.yaml:7: sources[3].separator: is no regular expression`},
	{"stations", base + "stations:\n  gate:\n    action_type: 1\n    action_msg: '{{.Depot.City}}'\n  door: {action_msg: '{{'}\n",
		`c.yaml:5: stations.gate.action_type: 1 is none of WeChat's action types
c.yaml:6: stations.gate.action_msg: is no template: unknown field ".Depot.City"; the nearest known one is ".Depot.ID"
c.yaml:7: stations.door.action_msg: is no template: `},
	{"the depot page", base + "http: {listen: '0.0.0.0:9108', tls: {client_ca_file: /none}}\n", `c.yaml:3: http.listen: warning: 0.0.0.0:9108 is not this machine alone, and without http.password others get /healthz and /readyz only
c.yaml:3: http.tls.client_ca_file: cannot be read`},
	{"a depot page in clear", base + "http: {listen: ':9108', password: short}\n", `c.yaml:3: http.listen: warning: :9108 is not this machine alone and there is no TLS
c.yaml:3: http.password: warning: has 5 characters only and can be guessed`},
	{"alias of nothing", base + "http: *x\n", "c.yaml:3: http: is an alias of nothing"},
	{"certificates", base + "mqtt: {broker: 'ssl://h', tls: {ca_file: /none, cert_file: /none}}\n",
		`c.yaml:3: mqtt.tls.ca_file: cannot be read: open /none: no such file or directory
c.yaml:3: mqtt.tls.key_file: is required with cert_file`},
}

const base = "depot: {id: a}\ncentral: {token: x}\n"

func TestAgentProblems(t *testing.T) {
	for _, row := range agentProblems {
		t.Run(row.name, func(t *testing.T) {
			path := write(t, row.text)
			_, ps := LoadAgent(path, nil)
			wantLines(t, short(ps, path), row.want)
		})
	}
}

// wantLines asks that each line of want begins a line of got, in order.
func wantLines(t *testing.T, got, want string) {
	t.Helper()
	rest := strings.Split(got, "\n")
next:
	for _, w := range strings.Split(strings.TrimSpace(want), "\n") {
		for i, g := range rest {
			if strings.HasPrefix(g, w) {
				rest = rest[i+1:]
				continue next
			}
		}
		t.Errorf("missing (or out of order): %s\nin:\n%s", w, got)
	}
}

func TestCentralProblems(t *testing.T) {
	for _, row := range []struct{ name, text, want string }{
		{"required", "depots: []\n", `c.yaml:1: admin_token: warning: is empty
c.yaml:1: wechat.appid: is required
c.yaml:1: wechat.callback.encoding_aes_key: is required
c.yaml:1: wechat.callback.token: is required
c.yaml:1: wechat.secret: is required`},
		{"key length", strings.Replace(centralBase, "ABCDEFG", "", 1), "c.yaml:4: wechat.callback.encoding_aes_key: has 36 characters; WeChat's EncodingAESKey has 43"},
		{"key letters", strings.Replace(centralBase, "ABCDEFG", "ABCD-FG", 1), "c.yaml:4: wechat.callback.encoding_aes_key: is not the EncodingAESKey"},
		{"mode", strings.Replace(centralBase, "{token: t3t,", "{mode: safe, path: /v1/x, token: t3t,", 1), `c.yaml:4: wechat.callback.mode: unknown value "safe"; the nearest known one is "secure"
c.yaml:4: wechat.callback.path: "/v1/x" is taken`},
		{"depots", strings.Replace(centralBase, "depots: [{id: hz-01, token: t1-0123456789-abc}]", "depots:\n  - {id: hz-01, token: t1}\n  - {id: hz-01, token: t1}\n  - {id: X, token: a-0123456789-abcdef}\n  - {id: y}\n  - {token: z}", 1),
			`c.yaml:8: depots[1].id: "hz-01" is depots[0] already
c.yaml:8: depots[1].token: is the same as depots[0].token
c.yaml:9: depots[2].id: "X" must match
c.yaml:9: depots[2].token: is the same as admin_token
c.yaml:10: depots[3].token: is required unless
c.yaml:11: depots[4].id: is required`},
		{"cells", centralBase + "cells:\n  - {key: a, name: n, link: http://x}\n  - {key: a, link: 'pages/x?id={id}'}\n  - {key: 123456789012345678901, name: n, link: 'pages/x?id={waybill_id}'}\n",
			`c.yaml:8: cells[0].link: must be an https URL
c.yaml:9: cells[1].key: "a" is given twice
c.yaml:9: cells[1].link: may hold {waybill_id}
c.yaml:9: cells[1].name: is required
c.yaml:10: cells[2].key: is longer than 20 characters`},
		{"rest", centralBase + "jsonp: {per_waybill: 10}\ntrusted_proxies: [proxy]\nretain: 1s\nstore: {driver: postgre, max_conns: 1}\nlisten: 8080\n",
			`c.yaml:7: jsonp.per_waybill: "10" is no rate; write one as 10/m
c.yaml:8: trusted_proxies[0]: "proxy" is no address
c.yaml:9: retain: must be at least 1h0m0s
c.yaml:10: store.driver: unknown value "postgre"; the nearest known one is "postgres"
c.yaml:10: store.max_conns: must lie between 2 and 1000
c.yaml:11: listen: "8080" is no address`},
		{"no database", centralBase + "store: {driver: postgres}\n", "c.yaml:7: store.dsn: is required"},
		{"no dsn", centralBase + "store: {driver: postgres, dsn: database}\n", "c.yaml:7: store.dsn: is neither a URL nor key=value"},
		{"another's dsn", centralBase + "store: {driver: postgres, dsn: \"mysql://u:pass-word@h/db\"}\n", "c.yaml:7: store.dsn: is no URL of a database"},
		{"backup", centralBase + "data_dir: /var/data\nbackup: {dir: /var/data/copies, every: 1s, keep: 0}\n",
			`c.yaml:8: backup.dir: lies in data_dir
c.yaml:8: backup.every: must be at least 1m0s
c.yaml:8: backup.keep: must lie between 1 and 1000`},
		{"backup to nowhere", centralBase + "backup: {every: 24h}\n", "c.yaml:7: backup.dir: is required"},
		{"backup of no time", centralBase + "backup: {dir: /var/copies}\n", "c.yaml:7: backup.every: is required"},
		{"backup of a database", centralBase + "store: {driver: postgres, dsn: host=/x}\nbackup: {dir: /var/copies, every: 24h}\n", "c.yaml:8: backup: is for bbolt"},
		{"no master keys", centralBase + "store: {key: \"00ff " + strings.Repeat("xy", 32) + " " + strings.Repeat("AB", 32) + " " + strings.Repeat("ab", 32) + "\"}\n",
			`c.yaml:7: store.key: key 1 is not 64 hex digits
c.yaml:7: store.key: key 2 is not 64 hex digits
c.yaml:7: store.key: key 4 is the same as key 3`},
		{"old ones", strings.NewReplacer("secret: s\n", "secret: s\n  secret_old: s\n", "ABCDEFG", "ABCDEFG, encoding_aes_key_old: abc, token_old: a b").Replace(centralBase),
			`c.yaml:4: wechat.secret_old: warning: is the same as wechat.secret
c.yaml:5: wechat.callback.encoding_aes_key_old: has 3 characters
c.yaml:5: wechat.callback.encoding_aes_key_old: warning: counts beside wechat.callback.encoding_aes_key
c.yaml:5: wechat.callback.token_old: holds a blank
c.yaml:5: wechat.callback.token_old: warning: counts beside wechat.callback.token: take it away once`},
		{"bbolt has none", centralBase + "store: {dsn: host=x}\n", "c.yaml:7: store.dsn: is for postgres"},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := write(t, row.text)
			_, ps := LoadCentral(path, nil)
			wantLines(t, short(ps, path), row.want)
		})
	}
}

func TestSecretFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, empty, two := file("good", "  s3cret-0123456789 \n"), file("empty", " \n"), file("two", "a\nb\n")

	marked, wide := file("marked", "\ufeffs3cret-0123456789\r\n"), file("wide", "\xff\xfes\x003\x00")

	if a, ps := LoadAgent(write(t, "depot: {id: a}\ncentral: {token_file: "+marked+"}\n"), nil); len(ps) > 0 || a.Central.Token.Reveal() != "s3cret-0123456789" {
		t.Errorf("with a byte order mark: %q %s", a.Central.Token.Reveal(), ps)
	}
	a, ps := LoadAgent(write(t, "depot: {id: a}\ncentral: {token_file: "+good+"}\n"), nil)
	if len(ps) > 0 || a.Central.Token.Reveal() != "s3cret-0123456789" {
		t.Errorf("token_file: %q %s", a.Central.Token.Reveal(), ps)
	}
	for text, want := range map[string]string{
		"central: {token_file: " + empty + "}":                                               "central.token_file: " + empty + " is empty",
		"central: {token_file: " + two + "}":                                                 "central.token_file: " + two + " has more than one line",
		"central: {token_file: " + wide + "}":                                                "central.token_file: " + wide + ":1: is UTF-16: save it as UTF-8",
		"central: {token_file: /none}":                                                       "central.token_file: cannot be read: open /none: no such file or directory",
		"central: {token: x, token_file: " + good + "}":                                      "central.token_file: is given together with token; keep one of the two",
		"central: {token: x, url_file: " + good + "}":                                        `central.url_file: unknown key "url_file"`,
		"central: {token: x}\nmqtt: {username: u, password: p, password_file: " + good + "}": "mqtt.password_file: is given together with password",
	} {
		_, ps := LoadAgent(write(t, "depot: {id: a}\n"+text), nil)
		if !strings.Contains(ps.String(), want) {
			t.Errorf("%s:\n%s\nwant %s", text, ps, want)
		}
	}
	c, ps := LoadCentral(write(t, strings.Replace(centralBase, "token: t1-0123456789-abc", "token_file: "+good, 1)), nil)
	if len(ps) > 0 || c.Depots[0].Token.Reveal() != "s3cret-0123456789" {
		t.Errorf("depots token_file: %v %s", c.Depots, ps)
	}
	three := strings.Repeat("a1", 32) + "\n" + strings.Repeat("b2", 32) + "\r\n" + strings.Repeat("c3", 32) + "\n"
	keys := file("keys", three)
	c, ps = LoadCentral(write(t, centralBase+"store: {key_file: "+keys+"}\n"), nil)
	e, psEnv := LoadCentral(write(t, centralBase), []string{"SCANRELAY_STORE_KEY_FILE=" + keys})
	if want := strings.TrimSpace(three); len(ps)+len(psEnv) > 0 || c.Store.Key.Reveal() != want || e.Store.Key.Reveal() != want {
		t.Errorf("store.key_file of three lines: %s%s", ps, psEnv)
	}
	if err := os.Chmod(keys, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, ps = LoadCentral(write(t, centralBase+"store: {key_file: "+keys+"}\n"), nil); !strings.Contains(ps.String(), "store.key_file: warning: is a secret in a file that every user of this machine can read") {
		t.Errorf("readable by others: %s", ps)
	}
}

func TestSecretsPrintMasked(t *testing.T) {
	c, _ := LoadCentral(write(t, strings.ReplaceAll(centralBase, "secret: s", "secret: topsecret")), nil)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if out := fmt.Sprintf(verb, *c); strings.Contains(out, "topsecret") || strings.Contains(out, "746f70") {
			t.Errorf("%s prints a secret: %s", verb, out)
		}
	}
}

func TestLoadOfAFileThatIsNotThere(t *testing.T) {
	_, ps := LoadAgent("/none/agent.yaml", nil)
	if got := ps.String(); got != "/none/agent.yaml: cannot be read: no such file or directory" {
		t.Error(got)
	}
}

// data_dir is tried as a start does: what nobody can write is an error, what this user may
// not write a warning, since the service runs as another.
func TestDataDirIsTried(t *testing.T) {
	want := "a.yaml:3: data_dir: /proc cannot be written: "
	if os.Geteuid() != 0 {
		want = "a.yaml:3: data_dir: warning: /proc cannot be written by this user: "
	}
	file := filepath.Join(t.TempDir(), "a.yaml")
	if err := os.WriteFile(file, []byte(base+"data_dir: /proc/scanrelay/data\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Dir(file))
	if _, problems := CheckAgent("a.yaml", nil); !strings.Contains(problems.String(), want) {
		t.Errorf("%v, want %s", problems, want)
	}
	if _, problems := LoadAgent("a.yaml", nil); strings.Contains(problems.String(), "data_dir") {
		t.Errorf("a start says it itself: %v", problems)
	}
}
