package source

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"scanrelay/agent/intake"
	"scanrelay/agent/intake/internal/intaketest"
	"scanrelay/agent/intake/link"
	"scanrelay/agent/intake/mapping"
	"scanrelay/store/durable"
)

// A session that a broker forgets while the agent is down is told at the next start,
// as one that it forgets meanwhile. Each line is a start of the agent, over one file.
func TestASessionForgottenWhileTheAgentIsDown(t *testing.T) {
	const here, there = "tcp://agent:secret-of-mqtt@here:1883", "tcp://there:1883"
	file := filepath.Join(t.TempDir(), SessionsName)
	write := func(content string) func() error {
		return func() error { return os.WriteFile(file, []byte(content), 0o600) }
	}
	pipe := intake.New(intaketest.Mapper(t, mapping.Config{}), intaketest.NewOutbox(t, 0), 0)
	for _, c := range []struct {
		name      string
		before    func() error
		client    string
		brokers   []string
		at        string
		present   bool
		forgotten uint64
		says      string
	}{
		{"the first", nil, "gate", []string{here}, here, false, 0, "has no session of this agent"},
		{"kept", nil, "gate", []string{here}, here, true, 0, ""},
		{"forgotten", nil, "gate", []string{here}, here, false, 1, "has forgotten this agent's session"},
		{"a second broker", nil, "gate", []string{here, there}, there, false, 0, "has no session of this agent"},
		{"the first one was not met meanwhile", nil, "gate", []string{here, there}, here, false, 1, "has forgotten this agent's session"},
		{"another client id", nil, "other", []string{here}, here, false, 0, "has no session of this agent"},
		{"a damaged file", write("scanrelay mqtt broker sessions 1 0000"), "other", []string{here}, here, false, 0, "cannot be read"},
		{"after it", nil, "other", []string{here}, here, false, 1, "has forgotten this agent's session"},
		{"a newer file", write("scanrelay mqtt broker sessions 2 00000000\n"), "other", []string{here}, here, true, 0, "written by a newer scanrelay"},
		{"one that was there before the file", nil, "other", []string{here}, here, false, 1, "has forgotten this agent's session"},
		{"a file that cannot be written", func() error { return os.MkdirAll(filepath.Join(file+durable.TempSuffix, "something"), 0o700) }, "third", []string{here}, here, false, 0, "cannot be written"},
	} {
		if c.before != nil {
			if err := c.before(); err != nil {
				t.Fatal(err)
			}
		}
		log := &intaketest.Log{}
		s, err := New(Config{
			Config: link.Config{Brokers: c.brokers, ClientID: c.client}, Sessions: file, Logger: slog.New(slog.NewTextHandler(log, nil)),
		}, pipe)
		if err != nil {
			t.Fatal(err)
		}
		s.session(c.at, c.present)
		if got := s.Status().Forgotten; got != c.forgotten {
			t.Errorf("%s: %d forgotten, want %d", c.name, got, c.forgotten)
		}
		if told := log.String(); !strings.Contains(told, c.says) || c.says == "" && told != "" || c.forgotten > 0 && !strings.Contains(told, "level=WARN") {
			t.Errorf("%s: logged %q, want %q", c.name, told, c.says)
		}
		if content, err := os.ReadFile(file); err == nil && strings.Contains(string(content), "secret-of-mqtt") {
			t.Errorf("%s: a password is in the file", c.name)
		}
	}
	if !durable.Exists(file + durable.Unreadable) {
		t.Error("a file that cannot be used is not kept")
	}
}
