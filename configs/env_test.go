package configs

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/scan"
)

func TestEnvironmentBeatsFile(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(secret, []byte("from file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a, ps := LoadAgent(write(t, base+"mqtt: {broker: tcp://file:1, username: u, password: p}\nhttp: {listen: 'x:1'}\nsources: [{topic: file}]\n"), []string{
		"HOME=/root", "SCANRELAY_MQTT_BROKER=tcp://env:2", "SCANRELAY_MQTT_PASSWORD_FILE=" + secret,
		"SCANRELAY_DEPOT_ID=b", "SCANRELAY_NOTIFY_MAX_AGE=3h", "SCANRELAY_HTTP_LISTEN=", "SCANRELAY_NOTIFY_CONCURRENCY=",
		"SCANRELAY_SOURCES=[{topic: env, decoder: text}]", "SCANRELAY_NOTIFY_ACTIONS=[300003]",
		"SCANRELAY_STORE={max_size: 1GiB}", "SCANRELAY_STORE_RETAIN=1h", "SCANRELAY_CENTRAL_TOKEN={\"not:yaml-0123456789",
	})
	if len(ps) > 0 {
		t.Fatal(ps)
	}
	for name, got := range map[string][2]any{
		"broker": {a.MQTT.Broker, "tcp://env:2"}, "depot": {a.Depot.ID, scan.DepotID("b")}, "max_age": {a.Notify.MaxAge, 3 * time.Hour},
		"password": {a.MQTT.Password.Reveal(), "from file"}, "listen": {a.HTTP.Listen, ""}, "concurrency": {a.Notify.Concurrency, 8},
		"source": {a.Sources[0].Topic, "env"}, "source default": {a.Sources[0].QoS, 1}, "sources": {len(a.Sources), 1},
		"actions": {a.Notify.Actions[0], scan.ActionType(300003)}, "store": {a.Store, OutboxStore{time.Hour, GiB}},
		"token": {a.Central.Token.Reveal(), `{"not:yaml-0123456789`},
	} {
		if got[0] != got[1] {
			t.Errorf("%s = %v, want %v", name, got[0], got[1])
		}
	}
}

func TestEnvironmentProblems(t *testing.T) {
	for _, row := range []struct{ env, want string }{
		{"SCANRELAY_MQTT_BROKR=x", `environment: SCANRELAY_MQTT_BROKR: warning: is ignored: unknown variable "SCANRELAY_MQTT_BROKR"; the nearest known one is "SCANRELAY_MQTT_BROKER"`},
		{"SCANRELAY_NOTIFY_RATE=x", `environment SCANRELAY_NOTIFY_RATE: notify.rate: "x" is no number`},
		{"SCANRELAY_NOTIFY_CONCURRENCY=0", `environment SCANRELAY_NOTIFY_CONCURRENCY: notify.concurrency: must lie between`},
		{"SCANRELAY_SOURCES=[{topc: x}]", `environment SCANRELAY_SOURCES: sources[0].topc: unknown key "topc"; the nearest known one is "topic"`},
		{"SCANRELAY_DEPOT_NAME=\xba\xbc\xd6\xdd", `environment SCANRELAY_DEPOT_NAME: depot.name: is GBK`},
		{"SCANRELAY_SOURCES=[", `environment SCANRELAY_SOURCES: sources: is no YAML: `},
		{"SCANRELAY_CENTRAL_TOKEN_FILE=/none", `environment SCANRELAY_CENTRAL_TOKEN_FILE: central.token_file: cannot be read`},
		{"SCANRELAY_CENTRAL_TOKEN=x;SCANRELAY_CENTRAL_TOKEN_FILE=/none", `environment SCANRELAY_CENTRAL_TOKEN_FILE: central.token_file: is set together with SCANRELAY_CENTRAL_TOKEN`},
	} {
		_, ps := LoadAgent(write(t, base), strings.Split(row.env, ";"))
		if !strings.Contains("\n"+ps.String(), "\n"+row.want) {
			t.Errorf("%s:\n%s\nwant %s", row.env, ps, row.want)
		}
	}
}

// Two keys that wrote the same variable would make it mean both.
func TestEnvironmentNamesAreUnique(t *testing.T) {
	for _, v := range []any{DefaultAgent(), defaultCentral()} {
		seen := map[string]string{}
		for _, k := range envKeys(reflect.ValueOf(v).Elem(), "") {
			if other, ok := seen[k.name]; ok {
				t.Errorf("%s means %s and %s", k.name, other, k.key)
			}
			seen[k.name] = k.key
		}
	}
}
