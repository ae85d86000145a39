package configs

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/wechat"
)

// write puts a configuration into a file of its own.
func write(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// short prints problems without the folder of their file.
func short(ps Problems, path string) string {
	return strings.ReplaceAll(ps.String(), filepath.Dir(path)+string(filepath.Separator), "")
}

func TestExamplesLoadWithoutAProblem(t *testing.T) {
	// All that there is to say is that their secrets are examples in a file for all.
	asExpected := func(p Problem) bool {
		return p.Warning && (strings.Contains(p.Text, "is the example's") || strings.Contains(p.Text, "every user of this machine"))
	}
	if _, ps := LoadAgent("agent.example.yaml", nil); !slices.ContainsFunc(ps, asExpected) || len(slices.DeleteFunc(slices.Clone(ps), asExpected)) > 0 {
		t.Errorf("agent.example.yaml:\n%s", ps)
	}
	if _, ps := LoadCentral("central.example.yaml", nil); !slices.ContainsFunc(ps, asExpected) || len(slices.DeleteFunc(slices.Clone(ps), asExpected)) > 0 {
		t.Errorf("central.example.yaml:\n%s", ps)
	}
	for file, want := range map[string]Role{"agent.example.yaml": RoleAgent, "central.example.yaml": RoleCentral} {
		if got, ps := DetectRole(file); got != want || len(ps) > 0 {
			t.Errorf("DetectRole(%s) = %q %s, want %q", file, got, ps, want)
		}
	}
}

// What the examples show as defaults must be the defaults.
func TestExamplesCommentsAreTrue(t *testing.T) {
	for file, load := range map[string]func(string) Problems{
		"agent.example.yaml":   func(p string) Problems { _, ps := LoadAgent(p, nil); return ps.Errors() },
		"central.example.yaml": func(p string) Problems { _, ps := LoadCentral(p, nil); return ps.Errors() },
	} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, line := range strings.Split(string(data), "\n") {
			bare := strings.TrimPrefix(strings.TrimLeft(line, " "), "# ")
			if strings.HasPrefix(strings.TrimLeft(line, " "), "# ") && isSetting(bare) {
				line = strings.Replace(line, "# ", "", 1)
			}
			lines = append(lines, line)
		}
		if ps := load(write(t, strings.Join(lines, "\n"))); len(ps) > 0 {
			t.Errorf("%s with its comments taken in:\n%s", file, ps)
		}
	}
}

// isSetting tells a setting that is commented out from a sentence. Settings
// that need files or another broker are left alone.
func isSetting(s string) bool {
	key, _, ok := strings.Cut(strings.TrimLeft(s, " "), ":")
	return ok && !strings.ContainsAny(key, " ,.\"") && !strings.HasSuffix(key, "_file") && key != "username" && key != "brokers"
}

func TestMinimalAgentTakesDefaults(t *testing.T) {
	a, ps := LoadAgent(write(t, "depot: {id: hz-01}\ncentral: {token: x-0123456789-abc}\n"), nil)
	if len(ps) > 0 {
		t.Fatal(ps)
	}
	if a.MQTT.ClientID != "scanrelay-hz-01" || a.WeChat.FallbackURL != wechat.DefaultFallbackURL || a.WaybillPatternSet {
		t.Errorf("derived defaults: %q %q %v", a.MQTT.ClientID, a.WeChat.FallbackURL, a.WaybillPatternSet)
	}
	if s := a.Sources; len(s) != 1 || s[0].Topic != "scans/#" || s[0].QoS != 1 || s[0].Decoder != "json" {
		t.Errorf("default sources: %+v", s)
	}
	if a.Notify.MaxAge != 24*time.Hour || a.Store.MaxSize != 2*GiB || a.HTTP.Listen != "127.0.0.1:9108" {
		t.Errorf("defaults: %+v %+v %+v", a.Notify, a.Store, a.HTTP)
	}
}

func TestEverythingIsRead(t *testing.T) {
	a, ps := LoadAgent(write(t, `
depot: {id: 007, name: 中心}
data_dir: /d
mqtt:
  broker: ssl://b
  brokers: [tcp://c:99, wss://d/mqtt]
  username: u
  password: p w
waybill_pattern: ^[0-9]+$
dedupe_window: 2s
quarantine: {max_size: 1MiB, max_count: 5}
sources:
  - topic: a/+/b
    qos: 2
    decoder: text
    pattern: (?P<waybill_id>\d+)
    ignore: NOREAD
  - topic: c
    values: {action_type: {1: 100001, Y: 300002, "*": 500001}}
    base64: waybill_id
stations:
  gate: &gate {action_type: 200001, action_msg: "{{.Depot.Name}} {{.Event.WaybillID}}"}
  door: {<<: *gate, name: Tür}
central: {url: https://c.example/x, token: abc-0123456789-abc}
wechat: {base_url: http://localhost:1}
notify: {concurrency: 3, rate: 1.5, actions: [300003], fresh_for: 1m, max_age: 2h, binding_ttl: {bound: 3h, unbound: 4m}}
store: {retain: 0s, max_size: 512MiB}
http: {listen: ""}
log: {level: debug, format: json}
`), nil)
	if len(ps) > 0 {
		t.Fatal(ps)
	}
	check := func(name string, got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
	}
	check("depot.id", a.Depot.ID, scan.DepotID("007"))
	check("broker gets its port", a.MQTT.Broker, "ssl://b:8883")
	check("brokers[1]", a.MQTT.Brokers[1], "wss://d:443/mqtt")
	check("password", a.MQTT.Password.Reveal(), "p w")
	check("pattern set", a.WaybillPatternSet, true)
	check("one word is a list of one", a.Sources[0].Ignore[0], "NOREAD")
	check("element default", a.Sources[1].QoS, 1)
	check("values", a.Sources[1].Values["action_type"]["Y"], "300002")
	check("numeric key", a.Sources[1].Values["action_type"]["1"], "100001")
	check("merge", a.Stations["door"].ActionType, 200001)
	check("merge keeps own", a.Stations["door"].Name, "Tür")
	check("fallback", a.WeChat.FallbackURL, "")
	check("rate", a.Notify.Rate, 1.5)
	check("ttl", a.Notify.BindingTTL.Unbound, 4*time.Minute)
	check("off", a.HTTP.Listen, "")
	check("size", a.Store.MaxSize, 512*MiB)
}

func TestCentralIsRead(t *testing.T) {
	c, ps := LoadCentral(write(t, centralBase+"jsonp: {per_waybill: 3/s}\ntrusted_proxies: [10.0.0.0/8, '::1']\n"), nil)
	if len(ps) > 0 {
		t.Fatal(ps)
	}
	if c.JSONP.PerWaybill != (Quota{3, time.Second}) || c.JSONP.PerAddress != (Quota{60, time.Minute}) {
		t.Errorf("jsonp: %v", c.JSONP)
	}
	if !c.WeChat.Callback.SwapNames || c.WeChat.Callback.MaxSkew != 10*time.Minute || c.WeChat.Rate != 500 {
		t.Errorf("defaults: %+v", c.WeChat)
	}
}

const centralBase = `wechat:
  appid: wx1
  secret: s
  callback: {token: t3t, encoding_aes_key: abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG}
admin_token: a-0123456789-abcdef
depots: [{id: hz-01, token: t1-0123456789-abc}]
`

func TestDetectRole(t *testing.T) {
	for text, want := range map[string]Role{
		"depot: {id: a}":                        RoleAgent,
		"depots: []":                            RoleCentral,
		"wechat: {appid: x}":                    RoleCentral,
		"depot: {id: a}\nwechat: {base_url: x}": RoleAgent,
		"":                                      "",
		"mqtt: {}":                              "",
		"depot: {}\ndepots: []":                 "",
		"- a":                                   "",
	} {
		got, ps := DetectRole(write(t, text))
		if got != want || (want == "") != ps.Failed() {
			t.Errorf("DetectRole(%q) = %q, %s; want %q", text, got, ps, want)
		}
	}
}

// Only a secret has a _file beside it: a station may be called so.
func TestNamesThatEndInFile(t *testing.T) {
	_, problems := ReadAgent("agent.yaml", []byte("depot: {id: hz-01}\ncentral: {token: x-0123456789-abc}\nstations:\n  dock: {name: a}\n  dock_file: {name: b}\n"), nil)
	if len(problems) > 0 {
		t.Error(problems)
	}
}

// tooDeep are short files of which a parser makes very much.
var tooDeep = []string{
	strings.Repeat("[", 16<<10), strings.Repeat("{", 16<<10), strings.Repeat("- ", 8<<10), strings.Repeat("? ", 8<<10),
	strings.Repeat("[a, ", 4<<10), strings.Repeat("{a: ", 4<<10), "sources:\n- " + strings.Repeat("- [ ", 4<<10), strings.Repeat("a: - ", 3<<10),
	strings.Repeat("[", 1<<20), strings.Repeat("a: b\n", 1<<14), "a: {" + strings.Repeat("a: b, ", 1<<14) + "}", "depot: " + strings.Repeat("[", 100) + strings.Repeat("]", 100),
}

// What a file is worth is known before the parser has it: no short one takes the memory
// of a gateway. Brackets in texts and comments do not count.
func TestDeepFilesTakeLittle(t *testing.T) {
	for _, deep := range tooDeep {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, line, err := parseYAML([]byte(deep))
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), "nested too deep") && len(deep) != 16<<10 || line < 1 {
			t.Errorf("%.12q: line %d, %v", deep, line, err)
		}
		if took := (after.TotalAlloc - before.TotalAlloc) >> 20; took > 100 { // in all: at once it has half of it
			t.Errorf("%.12q: it took %d MiB", deep, took)
		}
	}
	text := "# " + strings.Repeat("[", 100) + "\na: '" + strings.Repeat("[", 100) + "'\nb: |\n  " + strings.Repeat("- ", 100) + "\nc: x" + strings.Repeat("[", 100) + "\n"
	for i := range maxDepth / 2 {
		text += strings.Repeat("  ", i) + "d:\n"
	}
	if _, _, err := parseYAML([]byte(text)); err != nil {
		t.Error(err)
	}
}
