package main

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"scanrelay/agent"
	"scanrelay/agent/cmd/cli"
	"scanrelay/configs"
)

// TestMappingsAreSavedWholeOrNotAtAll: what the page saves is in use at once and after the
// next start; what is wrong, or cannot be written, changes nothing.
func TestMappingsAreSavedWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	file, data := filepath.Join(dir, "agent.yaml"), filepath.Join(dir, "data")
	configure := func(more string) {
		t.Helper()
		text := "depot: {id: hz-01}\ncentral: {token: x-0123456789-abc}\nmqtt: {broker: 'tcp://127.0.0.1:1'}\n" + more
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	configure("data_dir: " + data + "\nsources: [{topic: own/#}]\n")
	var log bytes.Buffer
	a := newApp(cli.IO{Err: &log})
	cfg, problems := configs.LoadAgent(file, nil)
	if problems.Failed() {
		t.Fatal(problems)
	}
	logger := a.logger(cfg.Log)
	files := &sourceFiles{app: a, file: file, dataDir: cfg.DataDir, logger: logger}
	ag, err := agent.New(cfg, agent.Options{Logger: logger, Sources: files})
	if err != nil {
		t.Fatal(err)
	}
	defer ag.Close()
	files.agent = ag

	saved := filepath.Join(data, "sources.d", "m.yaml")
	content := func() string { b, _ := os.ReadFile(saved); return string(b) } // it may not be there
	save := func(text, want, problem string) {
		t.Helper()
		log.Reset()
		d, err := files.Save("m", []byte(text))
		said := d.Problems.String()
		if err != nil {
			said += err.Error()
		}
		if content() != want || !strings.Contains(said, problem) || problem == "" && said != "" {
			t.Errorf("after saving %q there is %q, want %q; it says %s", text, content(), want, said)
		}
		if changed := strings.Contains(log.String(), "configuration reloaded"); changed != (want == text) {
			t.Errorf("after saving %q: reloaded %v", text, changed)
		}
	}
	const first, second = "sources: [{topic: a/1}]\n", "sources: [{topic: a/2}]\n"
	save("sources: [{topic: 'a/#/b'}]", "", "# must be the whole last level")
	save(first, first, "")
	if cfg, problems := configs.LoadAgent(file, nil); len(cfg.Sources) != 2 || problems.Failed() {
		t.Errorf("the next start has %v %s", cfg.Sources, problems)
	}
	save("sources: [{topc: x}]", first, "topc")
	save(second, second, "")
	save("sources: [{topic: own/x}]", "sources: [{topic: own/x}]", "is never reached")
	save(second, second, "")

	configure("data_dir: " + dir + "/other\n")
	save(first, second, "restart the agent first")
	configure("data_dir: " + data + "\nnonsense: 1\n")
	save(first, second, "nonsense")
	configure("data_dir: " + data + "\n")
	if err := os.Mkdir(saved+".tmp", 0o700); err != nil { // in the way of every write
		t.Fatal(err)
	}
	save(first, second, "save mapping")
}

// TestSavedWhileTheCentresConfigurationIsTried: what the centre gave stays in use when a
// mapping is tried and saved, so that what is kept is what was tried.
func TestSavedWhileTheCentresConfigurationIsTried(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "agent.yaml")
	text := "depot: {id: hz-01}\ncentral: {token: x-0123456789-abc}\nmqtt: {broker: 'tcp://127.0.0.1:1'}\ndata_dir: " + dir + "/data\n"
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(text)
	a := newApp(cli.IO{Err: io.Discard})
	cfg, problems := configs.LoadAgent(file, nil)
	if problems.Failed() {
		t.Fatal(problems)
	}
	logger := a.logger(cfg.Log)
	files := &sourceFiles{app: a, file: file, dataDir: cfg.DataDir, logger: logger}
	ag, err := agent.New(cfg, agent.Options{Logger: logger, Sources: files})
	if err != nil {
		t.Fatal(err)
	}
	defer ag.Close()
	files.agent = ag
	if err := a.configure(ag, file, []byte(`{"log":{"level":"debug"},"sources":[{"topic":"centre/#"}]}`), logger); err != nil {
		t.Fatal(err)
	}
	const mapping = "sources: [{topic: centre/x}]\n"
	for what, read := range map[string]func() (configs.Draft, error){
		"tried": func() (configs.Draft, error) { return files.Draft("m", []byte(mapping)), nil },
		"saved": func() (configs.Draft, error) { return files.Save("m", []byte(mapping)) },
	} {
		d, err := read()
		if err != nil || d.Problems.Failed() || len(d.Agent.Sources) != 3 || a.level.Level() != slog.LevelDebug { // the default one is the third
			t.Errorf("%s: %v %s, %v, level %v", what, err, d.Problems, d.Agent.Sources, a.level.Level())
		}
	}
	// It ends while the gateway's own file has a mistake: the next reload leaves it.
	write("nonsense: 1\n")
	if err := a.configure(ag, file, nil, logger); err == nil {
		t.Error("a mistake is taken")
	}
	write(text)
	if a.reloadAgent(ag, file, logger); a.level.Level() != slog.LevelInfo {
		t.Errorf("after a reload the level is %v", a.level.Level())
	}
}
