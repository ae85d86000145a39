package main

import (
	"bytes"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"scanrelay/agent"
	"scanrelay/agent/cmd/cli"
	"scanrelay/configs"
)

// A file with errors changes nothing and says so, line by line; one that is right
// is in use at once, with its log level.
func TestReloadKeepsTheOldConfiguration(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "agent.yaml")
	const good = "depot: {id: hz-01}\ncentral: {token: x}\nmqtt: {broker: 'tcp://127.0.0.1:1'}\n"
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(good + "data_dir: " + dir + "/data\n")
	var log bytes.Buffer
	a := newApp(cli.IO{Err: &log})
	cfg, problems := configs.LoadAgent(file, nil)
	if problems.Failed() {
		t.Fatal(problems)
	}
	logger := a.logger(cfg.Log)
	ag, err := agent.New(cfg, agent.Options{Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	defer ag.Close()
	for _, row := range []struct{ text, want string }{
		{good + "nonsense: 1\nsources: [{topic: 'a/#/b'}]\n", "the one before stays in use"},
		{good + "stations: {x: {action_msg: '{{.Nope}}'}}\n", "the one before stays in use"},
		{good + "log: {level: debug}\ndata_dir: " + dir + "/data\nsources: [{topic: a}]\n", `configuration reloaded","file`},
		{good + "data_dir: " + dir + "/other\nupdate: {auto: false}\n", `"keys":["data_dir","update"]`},
	} {
		log.Reset()
		write(row.text)
		a.reloadAgent(ag, file, logger)
		if !strings.Contains(log.String(), row.want) {
			t.Errorf("after %q the log is %s, want %s", row.text, log.String(), row.want)
		}
		if strings.Contains(row.text, "nonsense") && strings.Count(log.String(), "agent.yaml:") != 2 {
			t.Errorf("not every problem is named with its line: %s", log.String())
		}
	}
	if a.level.Level().String() != "INFO" {
		t.Errorf("the level is %s", a.level.Level())
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	log.Reset()
	a.reloadAgent(ag, file, logger)
	if !strings.Contains(log.String(), "cannot be read") {
		t.Errorf("a file that is gone: %s", log.String())
	}
}

// TestHangupEndsNoService: one that comes while a service starts is taken up once it
// runs, and one at the end of its stop does nothing. Either would end the process.
func TestHangupEndsNoService(t *testing.T) {
	a := newApp(cli.IO{Err: io.Discard})
	a.standAlone()
	defer signal.Stop(a.hup)
	hangUp := func() {
		t.Helper()
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	hangUp()
	reloaded := make(chan struct{}, 1)
	release := a.hangups(func() { reloaded <- struct{}{} })
	<-reloaded
	release()
	hangUp()
	<-a.hup
}
