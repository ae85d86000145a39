package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"scanrelay/build/rig"
)

// TestMakeRelease makes two releases of this tree as who publishes them does. A gateway
// takes the first from a USB stick, and the second by its delta from a centre that serves
// the folder; what a gateway of another kind would take, update check says.
func TestMakeRelease(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	p := &publisher{t, t.TempDir()}
	p.begin(g.first())
	releases, bundles := filepath.Join(p.dir, "releases"), filepath.Join(p.dir, "bundles")
	release := func(version, keys string) (said string, err error) {
		args := []string{"-s", "-C", "../..", "release", "VERSION=" + version, "RELEASES=" + releases, "KEYS=" + keys,
			"PASSPHRASE_FILE=" + filepath.Join(p.dir, "pass"), "BUNDLES=" + bundles, "MACHINES=arm/6 " + runtime.GOARCH}
		out, err := exec.Command("make", args...).CombinedOutput()
		return string(out), err
	}
	must := func(version, keys, want string) {
		t.Helper()
		if said, err := release(version, keys); err != nil || !strings.Contains(said, want) {
			t.Fatalf("make release %s: %v\n%s", version, err, said)
		}
	}
	if said, err := release("1.2.0-dev+1", ""); err == nil || !strings.Contains(said, "is no release") {
		t.Errorf("of a tree that has no version: %s", said)
	}
	keys := filepath.Join(p.dir, "keys")
	must("1.2.0", "", "Sign what is missing") // whose keys are elsewhere
	must("1.2.0", keys, "rollout start 1.2.0")
	check := func(repo, want string, args ...string) {
		t.Helper()
		out, stderr, code := g.Run(append([]string{"update", "check", "--repo", repo, "--root", g.first()}, args...)...)
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("update check: %d\n%s%s", code, out, stderr)
		}
	}
	stick := filepath.Join(bundles, "scanrelay-1.2.0-linux-"+runtime.GOARCH+".bundle")
	check(stick, "1.2.0", "--current", "1.1.0")
	check(filepath.Join(bundles, "scanrelay-1.2.0-linux-armv6.bundle"), "1.2.0", "--current", "1.1.0", "--os-arch", "linux/arm/6")

	appendTo(t, g.CentralFile, fmt.Sprintf("updates: {dir: %s, timestamp_key_file: %s}\n", releases, filepath.Join(p.dir, "centre.key")))
	appendTo(t, g.AgentFile, "update: {max_rate: 100MiB}\n")
	g.Central.Stop()
	g.StartCentral()
	g.run()
	g.takes("1.1.0")
	if out, stderr, code := g.Run("update", "apply", stick, "--versions", string(g.root), "--state", string(g.own), "--root", g.first()); code != 0 {
		t.Fatal(out, stderr)
	}
	g.commits("1.2.0")

	must("1.3.0", keys, "rollout start 1.3.0")
	must("1.3.0", keys, "nothing waits for this key") // once more
	check(releases, "1.3.0", "--current", "1.2.0", "--os-arch", "linux/arm/6")
	// Its program itself is not there: only the delta leads to it.
	whole, err := filepath.Glob(filepath.Join(releases, "targets", "scanrelay", "1.3.0", "*.linux-"+runtime.GOARCH))
	if err != nil || len(whole) != 1 || os.Remove(whole[0]) != nil {
		t.Fatalf("%q, %v", whole, err)
	}
	if _, stderr, code := g.Run("rollout", "start", "1.3.0", "--rings", "100%", "--soak", "1m", "-c", g.CentralFile); code != 0 {
		t.Fatal(stderr)
	}
	g.commits("1.3.0")
	rig.Await(t, "the centre to know", func() (bool, string) {
		out, _, code := g.Run("rollout", "status", "--json", "-c", g.CentralFile)
		var r rollout
		return code == 0 && json.Unmarshal([]byte(out), &r) == nil && r.Now.All.Updated == 1, out
	})
	g.halt()
}

// commits waits until a version that was on trial is committed.
func (g *gateway) commits(version string) {
	g.t.Helper()
	rig.Await(g.t, version+" to be committed", func() (bool, string) {
		rec, err := g.root.Read()
		st, err2 := g.own.State()
		return err == nil && rec.Committed.Version == version && err2 == nil && st.Trial == nil, fmt.Sprintf("%+v %+v %v\n%s", rec, st, err, g.log())
	})
}
