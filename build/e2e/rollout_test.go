package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"scanrelay/build/rig"
)

// publisher makes releases as one does who publishes them.
type publisher struct {
	t   *testing.T
	dir string
}

func (p *publisher) run(args ...string) {
	p.t.Helper()
	cmd := exec.Command(plainBinary, append([]string{"release"}, args...)...)
	cmd.Dir = p.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("release %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// begin makes the keys, the first root at a path, and lets the centre sign timestamps.
func (p *publisher) begin(first string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, "pass"), []byte("correct horse\n"), 0o600); err != nil {
		p.t.Fatal(err)
	}
	for _, name := range []string{"root-a", "root-b", "root-c", "centre"} {
		p.run("key", "--online", name+".key")
	}
	p.run("init", "releases", "--keys", "keys", "--passphrase-file", "pass", "--root-key", "root-a.key.pub", "--root-key", "root-b.key.pub", "--root-key", "root-c.key.pub")
	p.sign("root-a.key", "root-b.key")
	root, err := os.ReadFile(filepath.Join(p.dir, "releases", "1.root.json"))
	if err := errors.Join(err, os.WriteFile(first, root, 0o600)); err != nil {
		p.t.Fatal(err)
	}
	p.run("rotate", "releases", "--role", "timestamp", "--new", "centre.key.pub")
	p.sign("root-a.key", "root-b.key")
}

func (p *publisher) sign(keys ...string) {
	p.t.Helper()
	args := []string{"sign", "releases", "--passphrase-file", "pass"}
	for _, k := range keys {
		args = append(args, "--key", k)
	}
	p.run(args...)
}

func (p *publisher) add(version, program string) {
	p.t.Helper()
	p.run("add", "releases", "--version", version, program)
	p.sign("keys/targets.key", "keys/snapshot.key", "keys/timestamp.key")
}

// rollout is what scanrelay rollout status --json says of the one that runs.
type rollout struct {
	Now struct {
		Version, State, Why string
		All                 struct{ Updated, Failed int }
	}
}

// TestRollout brings a release from its publisher over the centre to a gateway, which
// tries it, commits it and tells so; a bad one halts by itself, and a person has all go back.
func TestRollout(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	p := &publisher{t, t.TempDir()}
	p.begin(g.first())
	var old string
	for _, version := range []string{"1.2.0", "1.3.0"} {
		program, err := rig.Build(p.dir, version)
		if err != nil {
			t.Fatal(err)
		}
		if old == "" {
			old = program
			continue
		}
		p.add(version, program)
	}
	body, err := os.ReadFile(old)
	if err != nil {
		t.Fatal(err)
	}
	g.rec.Committed = g.install("1.2.0", body)
	g.write()
	appendTo(t, g.CentralFile, fmt.Sprintf("updates: {dir: %s, timestamp_key_file: %s}\n", filepath.Join(p.dir, "releases"), filepath.Join(p.dir, "centre.key")))
	appendTo(t, g.AgentFile, "update: {max_rate: 100MiB}\n")
	g.Central.Stop()
	g.StartCentral()
	g.run()
	g.takes("1.2.0")

	parcels := rig.Traffic(rig.Chance(15, t.Name()), "YT", 400)
	g.Import(parcels)
	scanner := g.Scanner("line-1")
	scanner.Rate = 5
	wait := background(t, scanner, rig.Scans(parcels, 1, "line-1"))
	roll := func(version string) {
		t.Helper()
		if _, stderr, code := g.Run("rollout", "start", version, "--rings", "100%", "--soak", "1m", "-c", g.CentralFile); code != 0 {
			t.Fatalf("start %s: %s", version, stderr)
		}
	}
	await := func(what string, done func(rollout) bool) {
		t.Helper()
		rig.Await(t, what, func() (bool, string) {
			out, stderr, code := g.Run("rollout", "status", "--json", "-c", g.CentralFile)
			var r rollout
			err := json.Unmarshal([]byte(out), &r)
			return code == 0 && err == nil && done(r), fmt.Sprintf("%s %s %v\n%s", out, stderr, err, g.log())
		})
	}
	roll("1.3.0")
	await("1.3.0 to be there", func(r rollout) bool { return r.Now.All.Updated == 1 && r.Now.All.Failed == 0 })
	g.takes("1.3.0")
	if _, stderr, code := g.Run("rollout", "halt", "-c", g.CentralFile); code != 0 {
		t.Error(stderr)
	}

	// One that ends at once, though it was published and signed.
	env, err := exec.LookPath("env")
	if err != nil {
		t.Fatal(err)
	}
	p.add("1.4.0", env)
	rig.Await(t, "the centre to know 1.4.0", func() (bool, string) {
		_, stderr, code := g.Run("rollout", "start", "1.4.0", "--rings", "100%", "--soak", "1m", "-c", g.CentralFile)
		return code == 0, stderr
	})
	await("1.4.0 to be halted", func(r rollout) bool {
		return r.Now.Version == "1.4.0" && r.Now.State == "halted" && strings.Contains(r.Now.Why, "1 of 1")
	})
	g.takes("1.3.0")
	if _, stderr, code := g.Run("rollout", "back", "-c", g.CentralFile); code != 0 {
		t.Error(stderr)
	}
	wait()
	g.Drain()
	g.halt()
	log, err := os.ReadFile(filepath.Join(g.dir, "log"))
	if n := strings.Count(string(log), "restarting for another version"); err != nil || n != 2 { // one trial each
		t.Errorf("%d restarts for two trials, %v\n%s", n, err, g.log())
	}
	if want, got := g.Ledger.Len(), len(g.Events()); got != want {
		t.Errorf("%d scans were acknowledged, %d are stored", want, got)
	}
}

// appendTo adds a text to a file.
func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}
