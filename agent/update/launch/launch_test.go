package launch

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"scanrelay/agent/update/record"
)

// gateway is one with versions installed, and what was started there.
type gateway struct {
	*Launcher
	t       *testing.T
	started []string
	told    []string
	cannot  map[string]error // versions that cannot be executed
	env     []string         // of what was started last
}

var errBecome = errors.New("the process is another now")

func newGateway(t *testing.T) *gateway {
	t.Helper()
	dir := t.TempDir()
	g := &gateway{t: t, cannot: map[string]error{}}
	g.Launcher = &Launcher{
		Root: record.Root(filepath.Join(dir, "versions")), Own: record.Own(filepath.Join(dir, "state", "update")), Packaged: "0.9.0", Self: "/packaged/scanrelay",
		Now:  func() record.Moment { return at("boot", time.Minute) },
		Tell: func(state string) { g.told = append(g.told, state) }, Log: slog.New(slog.DiscardHandler),
		Exec: func(path string, _, env []string) error {
			version := filepath.Base(filepath.Dir(path))
			if err := g.cannot[version]; err != nil {
				return err
			}
			g.started, g.env = append(g.started, version), env
			panic(errBecome)
		},
	}
	if err := os.MkdirAll(string(g.Root), 0o755); err != nil {
		t.Fatal(err)
	}
	return g
}

// install puts a version there as root does.
func (g *gateway) install(version string) record.Release {
	g.t.Helper()
	body := []byte("program " + version)
	sum := sha256.Sum256(body)
	r := record.Release{Version: version, SHA256: hex.EncodeToString(sum[:]), Length: int64(len(body))}
	if err := errors.Join(os.MkdirAll(g.Root.Folder(r), 0o755), os.WriteFile(g.Root.Binary(r), body, 0o755), g.Root.WriteRelease(version, r)); err != nil {
		g.t.Fatal(err)
	}
	return r
}

func (g *gateway) write(rec record.Record) {
	g.t.Helper()
	_, err := g.Root.Link(rec.Committed, record.PackagedFolder)
	if err := errors.Join(g.Root.Write(rec), err); err != nil {
		g.t.Fatal(err)
	}
}

// start starts once and returns which version that was.
func (g *gateway) start(env ...string) string {
	g.t.Helper()
	err := func() (err error) {
		defer func() {
			if p := recover(); p != nil && p != errBecome {
				panic(p)
			}
		}()
		return g.Run([]string{"agent"}, env)
	}()
	if err != nil {
		return err.Error()
	}
	return g.started[len(g.started)-1]
}

// TestSpoilt: whatever is damaged, a version runs that was verified, or the packaged one.
func TestSpoilt(t *testing.T) {
	spoil := func(path string, content []byte) func(*gateway) {
		return func(g *gateway) {
			if err := os.WriteFile(strings.NewReplacer("ROOT", string(g.Root), "OWN", string(g.Own)).Replace(path), content, 0o644); err != nil {
				g.t.Fatal(err)
			}
		}
	}
	both := func(a, b func(*gateway)) func(*gateway) { return func(g *gateway) { a(g); b(g) } }
	dangling := func(g *gateway) {
		link := filepath.Join(string(g.Root), "current")
		if err := errors.Join(os.Remove(link), os.Symlink("nowhere", link)); err != nil {
			g.t.Fatal(err)
		}
	}
	zeros := make([]byte, 300)
	for name, c := range map[string]struct {
		damage func(*gateway)
		want   string
	}{
		"nothing":                       {func(*gateway) {}, "1.1.0"},
		"the state is zeros":            {spoil("OWN/state", zeros), "1.1.0"},
		"the state is empty":            {spoil("OWN/state", nil), "1.1.0"},
		"the record is zeros":           {spoil("ROOT/record", zeros), "1.1.0"},
		"the link leads nowhere":        {dangling, "1.1.0"},
		"the record and the link":       {both(spoil("ROOT/record", zeros), dangling), "packaged"},
		"the record and the release":    {both(spoil("ROOT/record", nil), spoil("ROOT/1.1.0/release", zeros)), "packaged"},
		"the binary has changed":        {spoil("ROOT/1.1.0/scanrelay", []byte("program 1.1.1")), "1.0.0"},
		"the binary is empty":           {spoil("ROOT/1.1.0/scanrelay", nil), "1.0.0"},
		"the binary is longer":          {spoil("ROOT/1.1.0/scanrelay", []byte("program 1.1.0 ")), "1.0.0"},
		"both binaries":                 {both(spoil("ROOT/1.1.0/scanrelay", nil), spoil("ROOT/1.0.0/scanrelay", zeros)), "packaged"},
		"the binary is missing":         {func(g *gateway) { _ = os.RemoveAll(filepath.Join(string(g.Root), "1.1.0")) }, "1.0.0"},
		"all versions are missing":      {func(g *gateway) { _ = os.RemoveAll(string(g.Root)) }, "packaged"},
		"it is for another machine":     {func(g *gateway) { g.cannot["1.1.0"] = unix.ENOEXEC }, "1.0.0"},
		"nothing there can be executed": {func(g *gateway) { g.cannot["1.1.0"], g.cannot["1.0.0"] = unix.EACCES, unix.EACCES }, "packaged"},
		"the state's folder cannot be":  {func(g *gateway) { _ = os.RemoveAll(string(g.Own)); spoil("OWN", nil)(g) }, "1.1.0"},
	} {
		g := newGateway(t)
		g.write(record.Record{Previous: g.install("1.0.0"), Committed: g.install("1.1.0")})
		if err := errors.Join(g.Own.Make(), g.Own.SetState(record.State{})); err != nil {
			t.Fatal(err)
		}
		c.damage(g)
		if got := g.start(); got != c.want {
			t.Errorf("%s: it starts %s, want %s", name, got, c.want)
		}
		if asks := g.Own.Asked(); asks != strings.Contains(name, "link") && !strings.Contains(name, "missing") && !strings.Contains(name, "the record") {
			t.Errorf("%s: root is asked to mend the link: %v", name, asks)
		}
		st, _ := g.Own.State() // where it could be written
		if c.want != "1.1.0" && !strings.Contains(name, "record") && name != "all versions are missing" && !strings.Contains(st.Problem, "1.") {
			t.Errorf("%s: the state says nothing of it: %+v", name, st)
		}
	}
}

// TestTries: each try is on disk before it begins; after the last it goes back, and the
// version before knows that it is asked.
func TestTries(t *testing.T) {
	g := newGateway(t)
	good, bad := g.install("1.1.0"), g.install("1.2.0")
	g.write(record.Record{Committed: good, Candidate: bad})
	if err := errors.Join(g.Own.Make(), g.Own.SetState(record.State{Trial: &record.Trial{Release: bad}})); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if got := g.start("WATCHDOG_USEC=60000000", "WATCHDOG_PID=1"); got != "1.2.0" {
			t.Fatalf("try %d: it starts %s", i, got)
		}
		if st, err := g.Own.State(); err != nil || st.Trial.Tries != i+1 || st.Running.Role != record.RoleTrial {
			t.Errorf("on disk it is %+v, %v", st.Trial, err)
		}
	}
	launched, err := FromEnv(g.env)
	if err != nil || launched.Role != record.RoleTrial || launched.Release != bad || launched.Watchdog != "60000000" || launched.Root != g.Root || launched.Own != g.Own {
		t.Errorf("it is told %+v, %v", launched, err)
	}
	if got := lookup(g.env, "WATCHDOG_USEC"); got != "15000000" || strings.Join(g.told, ",") != "WATCHDOG_USEC=15000000,WATCHDOG_USEC=15000000,WATCHDOG_USEC=15000000" {
		t.Errorf("the watchdog is %s, systemd was told %v", got, g.told)
	}
	if got := g.start(); got != "1.1.0" || g.told[3] != "EXTEND_TIMEOUT_USEC=120000000" {
		t.Errorf("after the third try it starts %s, systemd was told %v", got, g.told)
	}
	if launched, err := FromEnv(g.env); err != nil || launched.Role != record.RoleTest {
		t.Errorf("it is told %+v, %v", launched, err)
	}
}

// TestUncounted: a try that cannot be counted is none.
func TestUncounted(t *testing.T) {
	g := newGateway(t)
	good, next := g.install("1.1.0"), g.install("1.2.0")
	g.write(record.Record{Committed: good, Candidate: next})
	if err := errors.Join(g.Own.Make(), g.Own.SetState(record.State{Trial: &record.Trial{Release: next}}), os.Mkdir(filepath.Join(string(g.Own), "state.tmp"), 0o700),
		os.WriteFile(filepath.Join(string(g.Own), "state.tmp", "x"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if got := g.start(); got != "1.1.0" {
		t.Errorf("it starts %s", got)
	}
	if st, err := g.Own.State(); err != nil || st.Trial == nil || st.Trial.Tries != 0 {
		t.Errorf("on disk it is %+v, %v", st, err)
	}
}

// TestNotLaunched: who was started by hand has nothing to do with updates.
func TestNotLaunched(t *testing.T) {
	if l, err := FromEnv([]string{"PATH=/bin"}); l != nil || err != nil {
		t.Error(l, err)
	}
	if _, err := FromEnv([]string{EnvLaunched + "={"}); err == nil {
		t.Error("half a note is taken")
	}
	g := newGateway(t)
	g.cannot["packaged"] = unix.ENOEXEC
	if got := g.start(); !strings.Contains(got, "packaged version: exec format error") {
		t.Errorf("where nothing can be started it says %q", got)
	}
}
