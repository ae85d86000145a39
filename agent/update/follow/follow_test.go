package follow

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/agent/update/install"
	"scanrelay/agent/update/launch"
	"scanrelay/agent/update/record"
	"scanrelay/agent/update/release"
	"scanrelay/agent/update/trial"
	"scanrelay/agent/update/trust"
	"scanrelay/store/durable"
	"scanrelay/uplink/syncapi/directive"
)

// packaged is older than all releases; built is its date.
const packaged = "0.9.0"

var built = time.Now() // outside of the bubbles, which begin in 2000

// program is one for this machine, as far as its header says.
func program(version string) []byte {
	ident := [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)}
	var b bytes.Buffer
	switch machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}; runtime.GOARCH {
	case "arm":
		ident[elf.EI_CLASS] = byte(elf.ELFCLASS32)
		_ = binary.Write(&b, binary.LittleEndian, elf.Header32{Ident: ident, Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_ARM), Version: 1, Ehsize: 52})
	default:
		_ = binary.Write(&b, binary.LittleEndian, elf.Header64{Ident: ident, Type: uint16(elf.ET_EXEC), Machine: uint16(machines[runtime.GOARCH]), Version: 1, Ehsize: 64})
	}
	b.WriteString(version)
	return append(b.Bytes(), make([]byte, 100<<10)...)
}

// published is a repository with four releases, of which 1.2.0 needs 1.1.0.
var published = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "follow")
	if err != nil {
		return "", err
	}
	keys := filepath.Join(dir, "keys")
	r := release.Repository{Dir: filepath.Join(dir, "repository")}
	if err := errors.Join(os.MkdirAll(keys, 0o700), os.MkdirAll(r.Dir, 0o700)); err != nil {
		return dir, err
	}
	if err := r.Init(keys, "correct horse", nil); err != nil {
		return dir, err
	}
	for _, v := range []struct{ version, minFrom string }{{"1.0.0", ""}, {"1.1.0", ""}, {"1.2.0", "1.1.0"}, {"1.3.0", ""}} {
		file := filepath.Join(dir, "program")
		if err := os.WriteFile(file, program(v.version), 0o600); err != nil {
			return dir, err
		}
		if _, err := r.Add(release.Release{Name: Program, Version: v.version, MinFrom: v.minFrom, GOARM: "5"}, []string{file}); err != nil {
			return dir, err
		}
	}
	for _, name := range []string{"targets", "snapshot", "timestamp"} {
		k, err := release.LoadKey(filepath.Join(keys, name+".key"), "correct horse")
		if err != nil {
			return dir, err
		}
		if _, err := r.Sign(k); err != nil {
			return dir, err
		}
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := published(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// line is the way to the repository; programs come over it, some bytes a time, until it
// breaks.
type line struct {
	trust.Dir
	mu     sync.Mutex
	gone   bool
	breaks int64 // bytes of a program after which it does; 0: never
	came   int64 // bytes of programs
	opened []string
}

var errBroken = errors.New("the line broke")

func (l *line) Open(ctx context.Context, name string, from int64) (io.ReadCloser, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone {
		return nil, errBroken
	}
	body, err := l.Dir.Open(ctx, name, from)
	if err != nil || !strings.HasPrefix(name, "targets/") {
		return body, err
	}
	l.opened = append(l.opened, fmt.Sprintf("%s from %d", filepath.Base(name)[:6], from))
	if l.breaks > 0 {
		return struct {
			io.Reader
			io.Closer
		}{io.MultiReader(io.LimitReader(counted{body, l}, l.breaks), broken{l}), body}, nil
	}
	return struct {
		io.Reader
		io.Closer
	}{counted{body, l}, body}, nil
}

// broken is a line that breaks, and is gone then.
type broken struct{ l *line }

func (b broken) Read([]byte) (int, error) {
	b.l.set(func(l *line) { l.gone = true })
	return 0, errBroken
}

type counted struct {
	r io.Reader
	l *line
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.l.mu.Lock()
	c.l.came += int64(n)
	c.l.mu.Unlock()
	return n, err
}

func (l *line) set(change func(*line)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
}

// gateway runs launch, the keeper of trials, a Follower and root's part.
type gateway struct {
	t       *testing.T
	root    record.Root
	own     record.Own
	line    *line
	sick    map[string]bool // versions that take no scans
	ran     []string
	auto    bool
	window  Window
	beat    time.Duration // of the centre
	ahead   time.Duration // of the date of the build is the centre
	mu      sync.Mutex
	wants   *directive.Directives
	reports []string // states, each once in a row
	last    *directive.UpdateState
}

func newGateway(t *testing.T) *gateway {
	t.Helper()
	dir, err := published()
	if err != nil {
		t.Fatal(err)
	}
	at := t.TempDir()
	return &gateway{
		t: t, root: record.Root(filepath.Join(at, "versions")), own: record.Own(filepath.Join(at, "update")),
		line: &line{Dir: trust.Dir(filepath.Join(dir, "repository"))}, sick: map[string]bool{}, auto: true, beat: 5 * time.Second,
	}
}

func (g *gateway) want(d *directive.Directives) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wants = d
}

func version(v string) *directive.Directives {
	return &directive.Directives{Update: &directive.Update{Version: v, Rollout: "r-" + v}}
}

func (g *gateway) first() string { return filepath.Join(string(g.line.Dir), "1.root.json") }

// serve is root's part.
func (g *gateway) serve() {
	log := slog.New(slog.DiscardHandler)
	i := &install.Installer{
		Root: g.root, Own: g.own, Packaged: packaged, PackagedFolder: "/usr/lib/scanrelay", Log: log,
		Verifier: Verifier{Root: g.root, First: g.first(), Packaged: packaged, Built: built, Log: log},
	}
	if err := i.Run(context.Background()); err != nil {
		g.t.Error(err)
	}
}

var errBecome = errors.New("the process is another now")

// live launches versions, one after the other, until so long has passed.
func (g *gateway) live(most time.Duration) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	for ctx.Err() == nil {
		g.process(ctx)
	}
}

func now() record.Moment { return record.Moment{Boot: "b", At: time.Duration(time.Now().UnixNano())} }

// process is one version, from its launch to its end.
func (g *gateway) process(ctx context.Context) {
	log := slog.New(slog.DiscardHandler)
	var launched launch.Launched
	l := &launch.Launcher{
		Root: g.root, Own: g.own, Packaged: packaged, Self: "/packaged", Now: now, Tell: func(string) {}, Log: log,
		Exec: func(_ string, _, env []string) error {
			got, err := launch.FromEnv(env)
			if err != nil {
				g.t.Error(err)
			}
			launched = *got
			panic(errBecome)
		},
	}
	func() {
		defer func() {
			if p := recover(); p != errBecome {
				g.t.Errorf("launch: %v", p)
			}
		}()
		g.t.Error(l.Run(nil, nil))
	}()
	runs := launched.Release.Version
	if runs == "" {
		runs = packaged
	}
	if n := len(g.ran); n == 0 || g.ran[n-1] != runs {
		g.ran = append(g.ran, runs)
	}
	ctx, cancel := context.WithCancel(ctx)
	f := New(Config{
		Root: g.root, Own: g.own, Run: launched.Run, Built: built, First: g.first(), Repository: g.line, Auto: g.auto,
		MaxRate: 5 << 10, Window: g.window, Now: time.Now, Log: log,
	})
	var synced atomic.Pointer[time.Time]
	synced.Store(&time.Time{})
	lastSync := func() time.Time { return *synced.Load() }
	k := trial.New(trial.Config{
		Launched: launched, Now: now, Wall: time.Now, Log: log, Restart: cancel, Tell: func(string) {}, Holds: f.Holds,
		Healthy: func() error {
			if g.sick[runs] {
				return errors.New("not subscribed")
			}
			return nil
		},
		LastSync: lastSync, Contact: lastSync,
		Received: func() uint64 { return 0 },
	})
	var parts sync.WaitGroup
	parts.Go(func() { _ = f.Run(ctx) })
	parts.Go(func() {
		if k.Run(ctx) != nil {
			cancel()
		}
	})
	for ctx.Err() == nil { // the centre, and systemd's path unit
		synctest.Wait()                // until both have looked
		if r := f.Report(); r != nil { // a sync tells, and then is answered
			if g.last = r; len(g.reports) == 0 || g.reports[len(g.reports)-1] != r.State {
				g.reports = append(g.reports, r.State)
			}
		}
		g.mu.Lock()
		f.Heard(g.wants, built.Add(g.ahead))
		at := time.Now()
		synced.Store(&at)
		g.mu.Unlock()
		if g.own.Asked() {
			g.serve()
		}
		time.Sleep(g.beat)
	}
	parts.Wait()
	cancel()
}

func (g *gateway) rec() record.Record {
	g.t.Helper()
	rec, err := g.root.Read()
	if err != nil {
		g.t.Error(err)
	}
	return rec
}

// on runs a test in a bubble, whose repository was made outside.
func on(t *testing.T, test func(g *gateway)) {
	if _, err := published(); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) { test(newGateway(t)) })
}

// TestBrought: what the centre wants is brought, at no more than its rate, tried and
// committed; the centre sees each state, and then nothing more is brought.
func TestBrought(t *testing.T) {
	on(t, func(g *gateway) {
		g.beat = time.Second
		g.want(nil)
		g.live(time.Minute)
		if len(g.line.opened) > 0 || g.last == nil || g.last.State != "idle" || g.last.Version != packaged {
			t.Errorf("nothing is wanted: %v, %+v", g.line.opened, g.last)
		}
		g.want(version("1.0.0"))
		g.live(11 * time.Second)
		if got := g.last; got.State != "downloading" || got.Target != "1.0.0" || got.Since == 0 || g.line.came > 100<<10 {
			t.Errorf("after 11 s: %+v, %d bytes", got, g.line.came)
		}
		g.live(10 * time.Minute)
		if rec := g.rec(); rec.Committed.Version != "1.0.0" || !slices.Equal(g.ran, []string{packaged, "1.0.0"}) {
			t.Errorf("%+v, ran %v", rec, g.ran)
		}
		if want := []string{"idle", "downloading", "staged", "trial", "committed"}; !slices.Equal(g.reports, want) {
			t.Errorf("the centre heard %v, want %v", g.reports, want)
		}
		if u := g.last; u.Version != "1.0.0" || u.Verdict != "committed" || u.Target != "1.0.0" || u.Digest != g.rec().Committed.SHA256 || u.Reason != "" {
			t.Errorf("at last: %+v", u)
		}
		if len(g.line.opened) != 2 || g.line.came > 2*int64(len(program("1.0.0"))) { // the stop of the first process was a break
			t.Errorf("%v, %d bytes", g.line.opened, g.line.came)
		}
		g.want(version("7.0.0"))
		g.live(10 * time.Minute)
		if u := g.last; u.State != "committed" || u.Target != "7.0.0" || u.Verdict != "" || !strings.Contains(u.Reason, "there is no 7.0.0") {
			t.Errorf("one that there is not: %+v", u)
		}
		s := Look(g.root, g.own, packaged, time.Now())
		if s.Wanted != "7.0.0" || s.Failed == "" || s.Again == nil || len(s.Problems) > 0 {
			t.Errorf("status: %+v", s)
		}
	})
}

// TestBrokenLine: what came before a break has not to come again, over restarts too.
func TestBrokenLine(t *testing.T) {
	on(t, func(g *gateway) {
		g.want(version("1.0.0"))
		g.line.breaks = 40 << 10
		g.live(20 * time.Minute)
		if u := g.last; g.rec().Committed.Version != "" || len(g.line.opened) != 1 || !strings.Contains(u.Reason, errBroken.Error()) {
			t.Errorf("the line is gone: %v, %+v", g.line.opened, u)
		}
		g.line.set(func(l *line) { l.gone, l.breaks = false, 0 })
		g.live(time.Hour)
		if rec := g.rec(); rec.Committed.Version != "1.0.0" || g.last.Reason != "" {
			t.Errorf("%+v, %+v", rec, g.last)
		}
		if size := int64(len(program("1.0.0"))); g.line.came > size || !slices.Equal(g.line.opened[1:], []string{g.line.opened[0][:6] + " from 40960"}) {
			t.Errorf("%d bytes of %d came: %v", g.line.came, size, g.line.opened)
		}
		if left, err := durable.Glob(string(g.own), "download-*"); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	})
}

// TestBarred: a bad one goes back and is not brought again; the next release is.
func TestBarred(t *testing.T) {
	on(t, func(g *gateway) {
		g.want(version("1.0.0"))
		g.live(10 * time.Minute)
		g.sick["1.1.0"] = true
		g.want(version("1.1.0"))
		g.live(70 * time.Minute)
		if rec := g.rec(); rec.Committed.Version != "1.0.0" || len(rec.Barred) != 1 || !slices.Equal(g.ran, []string{packaged, "1.0.0", "1.1.0", "1.0.0"}) {
			t.Errorf("%+v, ran %v", rec, g.ran)
		}
		if u := g.last; u.State != "rolled_back" || u.Target != "1.1.0" || u.Verdict != "bad" || !strings.Contains(u.Reason, "not subscribed") {
			t.Errorf("the centre hears %+v", u)
		}
		if n := len(g.line.opened); n != 2 {
			t.Errorf("programs were opened %d times: %v", n, g.line.opened)
		}
		g.want(&directive.Directives{Update: &directive.Update{Version: "1.1.0", Rollout: "once more"}})
		g.live(70 * time.Minute)
		if u := g.last; len(g.line.opened) != 2 || u.Verdict != "bad" {
			t.Errorf("another rollout of it: %v, %+v", g.line.opened, u)
		}
		g.want(version("1.3.0"))
		g.live(15 * time.Minute)
		if rec := g.rec(); rec.Committed.Version != "1.3.0" {
			t.Errorf("the next one: %+v, %+v", rec, g.last)
		}
	})
}

// TestHolds: nothing is tried while somebody holds, the centre asks for it no more, or the
// window is closed.
func TestHolds(t *testing.T) {
	on(t, func(g *gateway) {
		held := version("1.0.0")
		held.Hold = true
		g.want(held)
		g.live(15 * time.Minute)
		if u := g.last; g.rec().Candidate.Version != "1.0.0" || len(g.ran) != 1 || u.State != "held" || u.Target != "1.0.0" || !strings.Contains(u.Reason, "no trial") {
			t.Errorf("the centre holds: ran %v, %+v", g.ran, u)
		}
		g.want(nil)
		g.live(15 * time.Minute)
		if u := g.last; len(g.ran) != 1 || u.State != "staged" || !strings.Contains(u.Reason, "does not ask") {
			t.Errorf("it is asked for no more: ran %v, %+v", g.ran, u)
		}
		g.want(version("1.0.0"))
		g.auto = false
		g.live(15 * time.Minute)
		g.auto = true
		if len(g.ran) != 1 {
			t.Errorf("not by itself: ran %v", g.ran)
		}
		until := time.Now().Add(30 * time.Minute)
		if err := g.own.Hold(until); err != nil {
			t.Fatal(err)
		}
		g.live(20 * time.Minute)
		if u := g.last; len(g.ran) != 1 || u.State != "held" {
			t.Errorf("a shift is on: ran %v, %+v", g.ran, u)
		}
		g.window = &between{until.Add(10 * time.Minute), until.Add(time.Hour)}
		g.live(time.Until(until.Add(10*time.Minute)) - time.Second)
		if u := g.last; len(g.ran) != 1 || u.State != "staged" || !strings.Contains(u.Reason, "the window") {
			t.Errorf("the window is closed: ran %v, %+v", g.ran, u)
		}
		g.live(15 * time.Minute)
		if rec := g.rec(); rec.Committed.Version != "1.0.0" || len(g.line.opened) != 1 {
			t.Errorf("it is open: %+v, %v", rec, g.line.opened)
		}
	})
}

// between is a window that opens once.
type between struct{ from, to time.Time }

func (b *between) Open(at time.Time) bool { return !at.Before(b.from) && at.Before(b.to) }
func (b *between) String() string         { return "of the test" }

// TestByHand: what a person applied waits for no window, and what a person went back from
// is left until the centre wants something else.
func TestByHand(t *testing.T) {
	on(t, func(g *gateway) {
		g.want(version("1.0.0"))
		g.live(10 * time.Minute)
		if _, err := g.own.Ask(record.OpBack, g.rec().Committed); err != nil {
			t.Fatal(err)
		}
		g.live(20 * time.Minute)
		if u := g.last; !g.rec().Committed.IsPackaged() || u.Version != packaged || !strings.Contains(u.Reason, "by hand") || len(g.line.opened) != 1 {
			t.Errorf("somebody went back: %+v, %v", u, g.line.opened)
		}
		g.want(nil)
		g.window = &between{}
		var w Witness
		w.From = g.line
		known, err := Known(nil, g.first(), built)
		if err == nil {
			_, err = trust.Verify(context.Background(), &w, known, time.Time{})
		}
		metadata, bad := w.Bundle()
		if err := errors.Join(err, bad); err != nil {
			t.Fatal(err)
		}
		_, err = install.Stage(g.own, metadata, time.Time{}, func(path string) error { return os.WriteFile(path, program("1.1.0"), 0o600) })
		if err != nil {
			t.Fatal(err)
		}
		g.live(10 * time.Minute)
		if rec := g.rec(); rec.Committed.Version != "1.1.0" {
			t.Errorf("applied by hand: %+v, %+v", rec, g.last)
		}
	})
}

// TestWalk: each step on the way to a version has its own trial.
func TestWalk(t *testing.T) {
	on(t, func(g *gateway) {
		g.want(version("1.2.0"))
		g.live(15 * time.Minute)
		if rec := g.rec(); rec.Committed.Version != "1.2.0" || rec.Previous.Version != "1.1.0" || !slices.Equal(g.ran, []string{packaged, "1.1.0", "1.2.0"}) {
			t.Errorf("%+v, ran %v", rec, g.ran)
		}
	})
}

// TestBack: the centre has it go back to what was committed before, and to nothing else.
func TestBack(t *testing.T) {
	on(t, func(g *gateway) {
		g.want(version("1.2.0"))
		g.live(15 * time.Minute)
		opened := len(g.line.opened)
		for v, why := range map[string]string{"1.0.0": "was not committed here", packaged: "was not committed here"} {
			back := version(v)
			back.Update.Back = true
			g.want(back)
			g.live(10 * time.Minute)
			if u := g.last; g.rec().Committed.Version != "1.2.0" || !strings.Contains(u.Reason, why) {
				t.Errorf("back to %s: %+v", v, u)
			}
		}
		g.want(version("1.1.0")) // without that word
		g.live(10 * time.Minute)
		if u := g.last; g.rec().Committed.Version != "1.2.0" || !strings.Contains(u.Reason, "older") {
			t.Errorf("an older one: %+v", u)
		}
		back := version("1.1.0")
		back.Update.Back = true
		g.want(back)
		g.live(10 * time.Minute)
		if rec := g.rec(); rec.Committed.Version != "1.1.0" || g.ran[len(g.ran)-1] != "1.1.0" || len(g.line.opened) != opened || g.last.Version != "1.1.0" {
			t.Errorf("back: %+v, ran %v, %+v", rec, g.ran, g.last)
		}
	})
}

// TestExpired: metadata that has expired by the centre's time is not followed, and what
// runs goes on.
func TestExpired(t *testing.T) {
	on(t, func(g *gateway) {
		g.ahead = 4 * 365 * 24 * time.Hour
		g.want(version("1.0.0"))
		g.live(10 * time.Minute)
		if u := g.last; !g.rec().Committed.IsPackaged() || u.State != "idle" || !strings.Contains(u.Reason, "expired") {
			t.Errorf("%+v", u)
		}
	})
}
