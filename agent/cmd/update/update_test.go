package update

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/update/follow"
	"scanrelay/agent/update/install"
	"scanrelay/agent/update/record"
)

// gateway is one at which commands are given.
type gateway struct {
	t    *testing.T
	root record.Root
	own  record.Own
}

func newGateway(t *testing.T) *gateway {
	dir := t.TempDir()
	return &gateway{t, record.Root(filepath.Join(dir, "versions")), record.Own(filepath.Join(dir, "update"))}
}

func (g *gateway) run(args ...string) (code int, out string) {
	g.t.Helper()
	var b bytes.Buffer
	world := cli.IO{Out: &b, Err: &b, Env: []string{"LANG=C", "STATE_DIRECTORY=/of/the/unit"}}
	root := &cli.Command{Use: "scanrelay"}
	root.Add(Commands(world, "/nowhere", "0.9.0", time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC))...)
	code = world.Run(context.Background(), root, append(args, "--versions", string(g.root), "--state", string(g.own)))
	return code, b.String()
}

func (g *gateway) status() (s follow.Status) {
	g.t.Helper()
	code, out := g.run("update", "status", "--json")
	if err := json.Unmarshal([]byte(out), &s); err != nil || code != 0 {
		g.t.Fatalf("%d, %v: %s", code, err, out)
	}
	return s
}

func rel(version string) record.Release {
	return record.Release{Version: version, SHA256: strings.Repeat("0b", 32), Length: 7}
}

// there puts a version there as root does.
func (g *gateway) there(version string) record.Release {
	g.t.Helper()
	r := rel(version)
	if err := errors.Join(os.MkdirAll(g.root.Folder(r), 0o755), g.root.WriteRelease(version, r)); err != nil {
		g.t.Fatal(err)
	}
	return r
}

func TestStatus(t *testing.T) {
	g := newGateway(t)
	if s := g.status(); s.Version != "0.9.0" || s.State != "idle" || s.Previous != "" || len(s.Problems) > 0 {
		t.Errorf("before the first: %+v", s)
	}
	rec := record.Record{Previous: g.there("1.0.0"), Committed: g.there("1.1.0"), Candidate: g.there("1.2.0")}
	testing := func(result string) *record.Verdict {
		return &record.Verdict{Release: rec.Candidate, Result: result, Reason: "why", Wall: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)}
	}
	trial := &record.Trial{Release: rec.Candidate, Tries: 1}
	noCandidate := rec
	noCandidate.Candidate = record.Release{}
	for _, c := range []struct {
		name string
		rec  record.Record
		st   record.State
		hold time.Duration
		want string
	}{
		{"to be tried", rec, record.State{}, 0, "1.1.0 staged"},
		{"held", rec, record.State{}, time.Hour, "1.1.0 held"},
		{"no longer held", rec, record.State{}, -time.Hour, "1.1.0 staged"},
		{"on trial", rec, record.State{Trial: trial, Running: &record.Run{Release: rec.Candidate, Packaged: "0.9.1"}}, time.Hour, "1.2.0 trial"},
		{"gone back from", rec, record.State{Verdict: testing(record.Testing)}, 0, "1.1.0 rolled_back"},
		{"bad", noCandidate, record.State{Verdict: testing(record.Bad)}, 0, "1.1.0 rolled_back"},
		{"good", record.Record{Previous: rec.Committed, Committed: rec.Candidate}, record.State{Verdict: testing(record.Good)}, 0, "1.2.0 committed"},
		{"nothing", noCandidate, record.State{}, 0, "1.1.0 idle"},
	} {
		if err := errors.Join(g.root.Write(c.rec), g.own.Make(), g.own.SetState(c.st), g.own.Hold(time.Now().Add(c.hold))); err != nil {
			t.Fatal(err)
		}
		s := g.status()
		if got := s.Version + " " + s.State; got != c.want || len(s.Problems) > 0 {
			t.Errorf("%s: %s, %v", c.name, got, s.Problems)
		}
		if held := c.hold > 0; held != (s.HeldUntil != nil) {
			t.Errorf("%s: held until %v", c.name, s.HeldUntil)
		}
		code, text := g.run("update", "status")
		if v := c.st.Verdict; code != 0 || !strings.Contains(text, "state      "+s.State) || v != nil && !strings.Contains(text, "1.2.0 "+v.Result+": why (2026-12-01T00:00:00Z)") {
			t.Errorf("%s: %d, %s", c.name, code, text)
		}
	}
	// Root is still asked to bar what went wrong.
	if _, err := g.own.Ask(record.OpBar, rec.Candidate); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(g.root.Write(rec), g.own.SetState(record.State{Verdict: testing(record.Bad)})); err != nil || g.status().State != "rolled_back" {
		t.Errorf("%+v, %v", g.status(), err)
	}
	for _, file := range []string{string(g.own) + "/state", string(g.own) + "/hold", string(g.root) + "/record", string(g.root) + "/1.1.0/release"} {
		was, err := os.ReadFile(file)
		if err := errors.Join(err, os.WriteFile(file, make([]byte, 64), 0o600)); err != nil {
			t.Fatal(err)
		}
		if s := g.status(); len(s.Problems) != 1 || !strings.Contains(s.Problems[0], "cannot be read") {
			t.Errorf("%s is spoilt: %v", file, s.Problems)
		}
		if now, err := os.ReadFile(file); err != nil || len(now) != 64 {
			t.Errorf("a look changed %s: %v", file, err)
		}
		if err := os.WriteFile(file, was, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestHold(t *testing.T) {
	g := newGateway(t)
	if code, out := g.run("update", "release"); code != 0 {
		t.Error(out)
	}
	if code, out := g.run("update", "hold", "--for", "8h"); code != 0 || !strings.Contains(out, "nothing is taken until") {
		t.Error(code, out)
	}
	if s := g.status(); s.State != "held" || time.Until(*s.HeldUntil) > 8*time.Hour || time.Until(*s.HeldUntil) < 7*time.Hour {
		t.Errorf("%+v", s)
	}
	if code, out := g.run("update", "release"); code != 0 || g.status().State != "idle" {
		t.Error(code, out)
	}
	for _, bad := range []string{"0s", "-1h", "721h"} {
		if code, out := g.run("update", "hold", "--for", bad); code != 2 {
			t.Error(bad, code, out)
		}
	}
}

// TestBack: a person's word goes through root's part as an agent's does.
func TestBack(t *testing.T) {
	g := newGateway(t)
	if code, out := g.run("update", "back"); code != 1 || !strings.Contains(out, "none before it") {
		t.Error(code, out)
	}
	if err := g.root.Write(record.Record{Previous: g.there("1.0.0"), Committed: g.there("1.1.0")}); err != nil {
		t.Fatal(err)
	}
	done := make(chan string, 1)
	go func() { _, out := g.run("update", "back"); done <- out }()
	for !g.own.Asked() {
		time.Sleep(time.Millisecond)
	}
	if code, out := g.run("update", "install"); code != 0 {
		t.Error(code, out)
	}
	if out := <-done; out != "back from 1.1.0 to 1.0.0\n" || g.status().Version != "1.0.0" || g.root.Linked() != "1.0.0" {
		t.Errorf("it says %s; %+v", out, g.status())
	}
}

// TestApply: without a root of trust nothing is staged, and what was staged by other
// means is refused.
func TestApply(t *testing.T) {
	g := newGateway(t)
	file := filepath.Join(t.TempDir(), "bundle")
	if err := os.WriteFile(file, []byte("no bundle"), 0o600); err != nil {
		t.Fatal(err)
	}
	none := filepath.Join(t.TempDir(), "none")
	if code, out := g.run("update", "apply", file, "--root", none); code != 1 || !strings.Contains(out, "nobody's releases are trusted here") || g.own.Asked() {
		t.Error(code, out)
	}
	if _, err := install.Stage(g.own, []byte("no metadata"), time.Time{}, func(path string) error { return os.WriteFile(path, []byte("x"), 0o600) }); err != nil {
		t.Fatal(err)
	}
	code, out := g.run("update", "install", "--root", none)
	rec, err := g.root.Read()
	if code != 0 || err != nil || !strings.Contains(rec.Answer.Reason, "nobody's releases are trusted here") || !rec.Candidate.IsPackaged() {
		t.Errorf("%d, %s, %+v, %v", code, out, rec, err)
	}
	if code, out := g.run("update", "reset-clock", "--root", none); code != 1 || !strings.Contains(out, "nobody's releases are trusted here") {
		t.Error(code, out)
	}
}

// TestPlaces: root's unit and the agent's look at the same folders, though systemd gives
// each a folder of its own.
func TestPlaces(t *testing.T) {
	m := &maker{IO: cli.IO{Env: []string{"STATE_DIRECTORY=" + record.RootFolder}}}
	for _, cmd := range []*cli.Command{m.launchCommand(), m.installCommand(), m.statusCommand(), m.applyCommand()} {
		f := cmd.Flags()
		if own, root := f.Lookup("state").DefValue, f.Lookup("versions").DefValue; own != record.OwnFolder || root != record.RootFolder {
			t.Errorf("%s looks at %s and %s", cmd.Use, own, root)
		}
	}
	unit, err := os.ReadFile("../../../build/packaging/scanrelay-install.path")
	if err != nil || !strings.Contains(string(unit), "PathExists="+record.OwnFolder+"/"+record.RequestFile+"\n") {
		t.Errorf("the path unit looks elsewhere: %v", err)
	}
}

// TestInstallFails: what cannot be done is not tried again at once.
func TestInstallFails(t *testing.T) {
	retryIn = time.Second
	defer func() { retryIn = 10 * time.Second }()
	g := newGateway(t)
	if err := os.Symlink(t.TempDir(), string(g.own)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if code, out := g.run("update", "install"); code != 1 || time.Since(began) < retryIn {
		t.Errorf("%d after %v: %s", code, time.Since(began), out)
	}
}
