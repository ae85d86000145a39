package configs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"scanrelay/uplink/syncapi/directive"
)

// remoteIn makes a gateway's file, and what the centre gave it before.
func remoteIn(t *testing.T, kept string) (file string) {
	t.Helper()
	dir := t.TempDir()
	file = filepath.Join(dir, "agent.yaml")
	text := "depot: {id: hz-01}\ndata_dir: " + dir + "\nmqtt: {broker: embedded}\nnotify: {concurrency: 3, rate: 7}\nstations: {s1: {name: ours}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if kept != "" {
		if err := os.WriteFile(filepath.Join(dir, directive.File), []byte(kept), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

const fromCentre = `{"sources":[{"topic":"dws/+","decoder":"json"}],"stations":{"s2":{"name":"theirs"}},"notify":{"concurrency":4},"log":{"level":"debug"}}`

// TestRemote: what the centre gave adds sources and stations, and comes before the
// gateway's own notify and log.level; what it does not name stays.
func TestRemote(t *testing.T) {
	before, problems := LoadAgent(remoteIn(t, ""), nil)
	if problems.Failed() {
		t.Fatal(problems)
	}
	kept, problems := LoadAgent(remoteIn(t, fromCentre), nil)
	tried, more := LoadAgent(remoteIn(t, `{"notify":{"concurrency":9}}`), nil, []byte(fromCentre))
	if problems.Failed() || more.Failed() {
		t.Fatal(problems, more)
	}
	for _, a := range []*Agent{kept, tried} {
		if n := len(a.Sources); n != len(before.Sources)+1 || a.Sources[0].Topic != "dws/+" || len(a.Stations) != 2 ||
			a.Notify.Concurrency != 4 || a.Notify.Rate != 7 || a.Log.Level != "debug" || a.Log.Format != "auto" {
			t.Errorf("%d sources, %+v, %+v, %+v", n, a.Stations, a.Notify, a.Log)
		}
	}
}

// TestRemoteMistakes: what is wrong is said of a trial; of what was kept it keeps nothing
// from starting, and is named.
func TestRemoteMistakes(t *testing.T) {
	for text, want := range map[string]string{
		`{"central":{"url":"https://elsewhere"}}`: "is not the centre's to give", `{"depot":{"id":"x"}}`: "is not the centre's to give",
		`{"log":{"format":"json"}}`: "format", `{"notify":{"concurrency":0}}`: "between 1 and 1024", `{"log":{"level":"loud"}}`: "loud",
		`{"sources":[{"topic":"dws/#/x"}]}`: "topic", `[1]`: "must be a mapping", "{": "", "\x00\x00\x00": "", `{"notify":{"nothing":1}}`: "nothing",
	} {
		if _, problems := LoadAgent(remoteIn(t, ""), nil, []byte(text)); !problems.Failed() || !strings.Contains(problems.Errors()[0].String(), want) {
			t.Errorf("on trial %q: %v", text, problems)
		}
		a, problems := LoadAgent(remoteIn(t, text), nil)
		if problems.Failed() || a.Notify.Concurrency != 3 || a.Log.Level != "info" || len(a.Stations) != 1 {
			t.Errorf("kept %q: %v, %+v", text, problems, a.Notify)
		}
		if a.RemoteUnused == "" {
			t.Errorf("kept %q: nobody is told that it is not in use", text)
		}
		if w := problems.Warnings(); len(w) == 0 || !strings.Contains(w[len(w)-1].String(), "is not used, for its mistake") {
			t.Errorf("kept %q: %v", text, w)
		}
	}
}

// FuzzRemote: whatever the centre gives is taken or refused, and changes nothing else.
func FuzzRemote(f *testing.F) {
	dir := f.TempDir()
	file := filepath.Join(dir, "agent.yaml")
	if err := os.WriteFile(file, []byte("depot: {id: hz-01}\ndata_dir: "+dir+"\nmqtt: {broker: embedded}\n"), 0o600); err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{fromCentre, "", "{}", "null", "[]", `{"sources":null}`, `{"log":{"level":null}}`, "a: &a [*a]", "<<: {sources: []}"} {
		f.Add([]byte(s))
	}
	was, _ := LoadAgent(file, nil)
	f.Fuzz(func(t *testing.T, given []byte) {
		a, problems := LoadAgent(file, nil, given)
		if !problems.Failed() && (a.Central != was.Central || a.Depot != was.Depot || a.DataDir != was.DataDir || a.MQTT.Broker != was.MQTT.Broker || a.HTTP != was.HTTP) {
			t.Errorf("%q changes %+v", given, a)
		}
	})
}
