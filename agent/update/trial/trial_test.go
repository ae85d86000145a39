package trial

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/agent/update/install"
	"scanrelay/agent/update/launch"
	"scanrelay/agent/update/record"
)

func rel(version string) record.Release {
	sum := sha256.Sum256([]byte(version))
	return record.Release{Version: version, SHA256: hex.EncodeToString(sum[:]), Length: int64(len(version))}
}

var (
	old, now, next = rel("1.0.0"), rel("1.1.0"), rel("1.2.0")
	errSick        = errors.New("not subscribed")
)

func moment(d time.Duration) record.Moment { return record.Moment{Boot: "b", At: time.Hour + d} }

func run(r record.Release, role record.Role) record.Run {
	return record.Run{Release: r, Role: role, Packaged: "0.9.0", Began: moment(0)}
}

// said is a step in words.
func said(s Step) string {
	var w []string
	if t := s.State.Trial; t != nil {
		w = append(w, "trial of "+t.Release.Version)
		if t.Passed {
			w = append(w, "passed")
		}
	}
	if v := s.State.Verdict; v != nil {
		w = append(w, v.Release.Version+" "+v.Result)
	}
	if s.Ask != "" {
		w = append(w, s.Ask+" "+s.About.Version)
	}
	if s.Restart {
		w = append(w, "restart")
	}
	if s.Fail != "" {
		w = append(w, "gives up")
	}
	return strings.Join(w, ", ")
}

func TestTrial(t *testing.T) {
	rec := record.Record{Previous: old, Committed: now, Candidate: next}
	on := &record.Trial{Release: next, Tries: 1}
	short := &record.Trial{Release: next, Tries: 1, Healthy: time.Second, Synced: 2 * time.Second}
	long := &record.Trial{Release: next, Tries: 1, Healthy: time.Hour, Synced: time.Hour}
	passed := &record.Trial{Release: next, Tries: 1, Passed: true}
	for _, c := range []struct {
		name    string
		trial   *record.Trial
		rec     record.Record
		age     time.Duration
		healthy error
		synced  bool
		want    string
	}{
		{"it begins", on, rec, 0, errSick, false, "trial of 1.2.0"},
		{"it is healthy, and alone", on, rec, time.Minute, nil, false, "trial of 1.2.0"},
		{"it syncs, and takes no scans", on, rec, 29 * time.Second, errSick, true, "trial of 1.2.0"},
		{"for too long", on, rec, 30 * time.Second, errSick, true, "trial of 1.2.0, gives up"},
		{"it never syncs", on, rec, 5 * time.Minute, nil, false, "trial of 1.2.0, gives up"},
		{"it has less time to be healthy", short, rec, time.Second, errSick, true, "trial of 1.2.0, gives up"},
		{"it has less time to sync", short, rec, 2 * time.Second, nil, false, "trial of 1.2.0, gives up"},
		{"it gives itself more time", long, rec, 5 * time.Minute, nil, false, "trial of 1.2.0, gives up"},
		{"it passes", on, rec, time.Second, nil, true, "trial of 1.2.0, passed, commit 1.2.0"},
		{"it passes late", on, rec, time.Hour, nil, true, "trial of 1.2.0, passed, commit 1.2.0"},
		{"root has not answered", passed, rec, time.Hour, errSick, false, "trial of 1.2.0, passed, commit 1.2.0"},
		{"root has", passed, record.Record{Previous: now, Committed: next}, time.Hour, errSick, false, "1.2.0 committed"},
		{"somebody went back", passed, record.Record{Committed: now}, time.Hour, nil, true, "restart"},
	} {
		st := record.State{Trial: c.trial}
		was := *c.trial
		got := Decide(run(next, record.RoleTrial), now, st, Facts{Now: moment(c.age), Healthy: c.healthy, Synced: c.synced, Record: c.rec})
		if said(got) != c.want {
			t.Errorf("%s: %s, want %s", c.name, said(got), c.want)
		}
		if was != *c.trial {
			t.Errorf("%s: the decision changed what it was given", c.name)
		}
	}
}

// TestRunsOnOnceCommitted: what passed does not start once more, and its ends count.
func TestRunsOnOnceCommitted(t *testing.T) {
	trial := run(next, record.RoleTrial)
	st := record.State{Trial: &record.Trial{Release: next, Tries: 1, Passed: true}, Running: &trial}
	f := Facts{Now: moment(time.Minute), Synced: true, Record: record.Record{Previous: now, Committed: next}}
	for _, want := range []string{"1.2.0 committed", "1.2.0 committed"} {
		got := Decide(trial, now, st, f)
		if said(got) != want || got.State.Running.Role != record.RoleCommitted || trial.Role != record.RoleTrial {
			t.Errorf("%s, running %+v; want %s", said(got), got.State.Running, want)
		}
		st = got.State
	}
}

func TestVerdict(t *testing.T) {
	rec := record.Record{Previous: old, Committed: now, Candidate: next}
	away := record.Record{Previous: now, Committed: next}
	for _, c := range []struct {
		name    string
		of      record.Release
		doubt   bool
		rec     record.Record
		age     time.Duration
		healthy error
		synced  bool
		want    string
	}{
		{"not yet known", next, false, rec, time.Minute, nil, false, "1.2.0 testing"},
		{"the version before does better", next, false, rec, time.Minute, nil, true, "1.2.0 bad, bar 1.2.0"},
		{"it does no better", next, false, rec, 5 * time.Minute, nil, false, "1.2.0 inconclusive"},
		{"it takes no scans either", next, false, rec, 5 * time.Minute, errSick, true, "1.2.0 inconclusive"},
		{"there was a power cut", next, true, rec, time.Minute, nil, true, "1.2.0 inconclusive"},
		{"a committed one that ended again and again", next, false, away, time.Minute, nil, true, "1.2.0 bad, bar 1.2.0"},
	} {
		st := record.State{Verdict: &record.Verdict{Release: c.of, Result: record.Testing, Doubt: c.doubt, When: moment(0)}}
		if c.rec.Committed == c.of {
			st.Away = []string{c.of.SHA256}
		}
		got := Decide(run(now, record.RoleTest), now, st, Facts{Now: moment(c.age), Healthy: c.healthy, Synced: c.synced, Record: c.rec})
		if said(got) != c.want {
			t.Errorf("%s: %s, want %s", c.name, said(got), c.want)
		}
	}
	// Root is asked again until its record says so.
	bad := record.State{Verdict: &record.Verdict{Release: next, Result: record.Bad}}
	if got := said(Decide(run(now, record.RoleCommitted), now, bad, Facts{Now: moment(0), Record: rec})); got != "1.2.0 bad, bar 1.2.0" {
		t.Errorf("after a restart: %s", got)
	}
	rec.Candidate, rec.Barred = record.Release{}, []string{next.SHA256}
	if got := said(Decide(run(now, record.RoleCommitted), now, bad, Facts{Now: moment(0), Record: rec})); got != "1.2.0 bad" {
		t.Errorf("once it is barred: %s", got)
	}
}

func TestBegins(t *testing.T) {
	rec := record.Record{Committed: now, Candidate: next}
	good := Facts{Now: moment(0), Synced: true, Reached: true, Contact: 59 * time.Second, Quiet: true, Record: rec}
	inconclusive := func(ago time.Duration) *record.Verdict {
		return &record.Verdict{Release: next, Result: record.Inconclusive, When: moment(-ago)}
	}
	for _, c := range []struct {
		name    string
		change  func(*Facts)
		verdict *record.Verdict
		want    bool
	}{
		{"all is well", func(f *Facts) {}, nil, true},
		{"somebody holds", func(f *Facts) { f.Held = true }, nil, false},
		{"no contact", func(f *Facts) { f.Reached = false }, nil, false},
		{"the centre only says what it wants", func(f *Facts) { f.Synced = false }, nil, true},
		{"none for a minute", func(f *Facts) { f.Contact = time.Minute }, nil, false},
		{"a shift is on", func(f *Facts) { f.Quiet, f.Waiting = false, 59*time.Second }, nil, false},
		{"for a minute", func(f *Facts) { f.Quiet, f.Waiting = false, time.Minute }, nil, true},
		{"it is not well itself", func(f *Facts) { f.Healthy = errSick }, nil, false},
		{"it is barred", func(f *Facts) { f.Record.Barred = []string{next.SHA256} }, nil, false},
		{"there is none", func(f *Facts) { f.Record.Candidate = record.Release{} }, nil, false},
		{"inconclusive just now", func(f *Facts) {}, inconclusive(59 * time.Minute), false},
		{"inconclusive an hour ago", func(f *Facts) {}, inconclusive(time.Hour), true},
		{"inconclusive before the boot", func(f *Facts) { f.Now.Boot = "c" }, inconclusive(0), true},
		{"another one was inconclusive", func(f *Facts) {}, &record.Verdict{Release: old, Result: record.Inconclusive, When: moment(0)}, true},
	} {
		f := good
		c.change(&f)
		got := Decide(run(now, record.RoleCommitted), now, record.State{Verdict: c.verdict}, f)
		if begins := got.Restart && got.State.Trial != nil; begins != c.want {
			t.Errorf("%s: %s", c.name, said(got))
		}
	}
	f := good
	f.Record = record.Record{Committed: old}
	if got := Decide(run(now, record.RoleCommitted), now, record.State{}, f); !got.Restart || got.State.Trial != nil {
		t.Errorf("somebody went back by hand: %s", said(got))
	}
	// What was gone back from, and nobody knows why, has another chance.
	f = good
	f.Record = record.Record{Previous: old, Committed: now}
	st := record.State{Away: []string{now.SHA256}, Verdict: &record.Verdict{Release: now, Result: record.Inconclusive, When: moment(-time.Hour)}}
	if got := Decide(run(old, record.RoleTest), old, st, f); !got.Restart || len(got.State.Away) > 0 {
		t.Errorf("after an hour: %s, away from %v", said(got), got.State.Away)
	}
}

// plain believes metadata that is a release as JSON.
type plain struct{}

func (plain) Verify(_ context.Context, _ string, metadata, _ []byte, _ time.Time) (is record.Release, state []byte, err error) {
	return is, nil, json.Unmarshal(metadata, &is)
}

// machine is a gateway: systemd, launch, and what is seen of the version that runs.
type machine struct {
	t        *testing.T
	root     record.Root
	own      record.Own
	launched launch.Launched
	sick     map[string]bool // versions that take no scans
	offline  bool
	deaf     bool // nobody installs
	told     []string
}

func newMachine(t *testing.T) *machine {
	dir := t.TempDir()
	m := &machine{t: t, root: record.Root(filepath.Join(dir, "versions")), own: record.Own(filepath.Join(dir, "update")), sick: map[string]bool{}}
	m.stage(now.Version)
	m.serve()
	if _, err := m.own.Ask(record.OpCommit, now); err != nil {
		t.Fatal(err)
	}
	m.serve()
	return m
}

func (m *machine) stage(version string) string {
	m.t.Helper()
	metadata, err := json.Marshal(rel(version))
	id, err2 := install.Stage(m.own, metadata, time.Time{}, func(path string) error { return os.WriteFile(path, []byte(version), 0o600) })
	if err := errors.Join(err, err2); err != nil {
		m.t.Fatal(err)
	}
	return id
}

// serve is root's part.
func (m *machine) serve() {
	i := &install.Installer{Root: m.root, Own: m.own, Packaged: "0.9.0", PackagedFolder: "/usr/lib/scanrelay", Verifier: plain{}, Log: slog.New(slog.DiscardHandler)}
	if err := i.Run(context.Background()); err != nil {
		m.t.Error(err)
	}
}

var began = time.Now()

func (m *machine) now() record.Moment { return record.Moment{Boot: "b", At: time.Since(began)} }

var errBecome = errors.New("the process is another now")

// live launches and runs one version until it ends or so long has passed; it returns
// which it was.
func (m *machine) live(most time.Duration) (version string, err error) {
	m.t.Helper()
	l := &launch.Launcher{
		Root: m.root, Own: m.own, Packaged: "0.9.0", Self: "/packaged", Now: m.now, Tell: func(string) {}, Log: slog.New(slog.DiscardHandler),
		Exec: func(_ string, _, env []string) error {
			got, err := launch.FromEnv(env)
			if err != nil {
				m.t.Error(err)
			}
			m.launched = *got
			panic(errBecome)
		},
	}
	func() {
		defer func() {
			if p := recover(); p != errBecome {
				m.t.Errorf("launch: %v", p)
			}
		}()
		m.t.Error(l.Run(nil, []string{"WATCHDOG_USEC=60000000"}))
	}()
	ctx, cancel := context.WithTimeout(m.t.Context(), most)
	defer cancel()
	version = m.launched.Release.Version
	from := time.Now()
	lastSync := func() time.Time {
		if m.offline || time.Since(from) < 3*time.Second {
			return time.Time{}
		}
		return time.Now().Truncate(5 * time.Second)
	}
	k := New(Config{
		Launched: m.launched, Now: m.now, Wall: time.Now,
		Healthy: func() error {
			if m.sick[version] {
				return errSick
			}
			return nil
		},
		LastSync: lastSync, Contact: lastSync,
		Received: func() uint64 { return 0 }, Restart: cancel, Tell: func(s string) { m.told = append(m.told, s) }, Log: slog.New(slog.DiscardHandler),
	})
	served := make(chan struct{})
	go func() { // the path unit
		defer close(served)
		for ctx.Err() == nil {
			if m.own.Asked() && !m.deaf {
				m.serve()
			}
			time.Sleep(500 * time.Millisecond)
		}
	}()
	err = k.Run(ctx)
	cancel()
	<-served
	return version, err
}

func (m *machine) must(want string, most time.Duration) {
	m.t.Helper()
	if got, err := m.live(most); got != want || err != nil {
		m.t.Errorf("%s ran and ended with %v, want %s", got, err, want)
	}
}

func (m *machine) rec() record.Record {
	rec, err := m.root.Read()
	if err != nil {
		m.t.Error(err)
	}
	return rec
}

// TestGoodAndBad goes the way of a good release and of a bad one, through launch, keeper
// and root.
func TestGoodAndBad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		m.stage("1.2.0")
		m.must("1.1.0", time.Hour) // and restarts for the trial
		m.must("1.2.0", 20*time.Minute)
		if rec := m.rec(); rec.Committed != next || rec.Previous != now {
			t.Errorf("a good one: %+v", rec)
		}
		if len(m.told) != 1 || m.told[0] != "WATCHDOG_USEC=60000000" {
			t.Errorf("systemd was told %v", m.told)
		}
		bad := rel("1.3.0")
		m.sick["1.3.0"] = true
		m.stage("1.3.0")
		m.must("1.2.0", time.Hour)
		if got, err := m.live(time.Hour); got != "1.3.0" || !errors.Is(err, errGaveUp) {
			t.Errorf("%s ended with %v", got, err)
		}
		m.must("1.2.0", 20*time.Minute)
		if rec := m.rec(); rec.Committed != next || len(rec.Barred) != 1 || rec.Barred[0] != bad.SHA256 || !rec.Candidate.IsPackaged() {
			t.Errorf("a bad one: %+v", rec)
		}
		st, err := m.own.State()
		if err != nil || st.Verdict == nil || st.Verdict.Result != record.Bad || !strings.Contains(st.Verdict.Reason, "not subscribed") || st.Running != nil || len(st.Ends) > 0 {
			t.Errorf("afterwards the state is %+v, %+v, %v", st, st.Verdict, err)
		}
	})
}

// TestOfflineIsNobodysFault: a line that falls during the trial makes no bad version.
func TestOfflineIsNobodysFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		m.stage("1.2.0")
		m.must("1.1.0", time.Hour)
		m.offline = true
		if got, err := m.live(time.Hour); got != "1.2.0" || !errors.Is(err, errGaveUp) {
			t.Errorf("%s ended with %v", got, err)
		}
		m.must("1.1.0", 20*time.Minute)
		if st, err := m.own.State(); err != nil || st.Verdict.Result != record.Inconclusive || len(m.rec().Barred) > 0 {
			t.Errorf("the verdict is %+v, %v", st.Verdict, err)
		}
		m.offline = false
		m.must("1.1.0", 2*time.Hour) // it is tried again after an hour
		m.must("1.2.0", 20*time.Minute)
		if rec := m.rec(); rec.Committed != next {
			t.Errorf("the second time: %+v", rec)
		}
	})
}

// TestAsksUntilAnswered: root is away for a while, and the version that passed runs on,
// over its restarts.
func TestAsksUntilAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		m.stage("1.2.0")
		m.must("1.1.0", time.Hour)
		m.deaf = true
		m.must("1.2.0", 10*time.Minute)
		m.offline = true // it has passed, and has not to do it again
		m.must("1.2.0", 10*time.Minute)
		if rec := m.rec(); rec.Committed != now {
			t.Errorf("nobody wrote it down: %+v", rec)
		}
		m.deaf = false
		m.must("1.2.0", 10*time.Minute)
		if rec := m.rec(); rec.Committed != next {
			t.Errorf("root is back: %+v", rec)
		}
		if st, err := m.own.State(); err != nil || st.Trial != nil || st.Verdict.Result != record.Good {
			t.Errorf("the state is %+v, %v", st, err)
		}
	})
}

// TestExcused: an end that was excused does not count.
func TestExcused(t *testing.T) {
	m := newMachine(t)
	for range 5 {
		m.must("1.1.0", time.Millisecond)
		st, err := m.own.State()
		r := m.launched.Run
		st.Running = &r
		if err := errors.Join(err, m.own.SetState(st), Excuse(&m.launched)); err != nil {
			t.Fatal(err)
		}
	}
	if st, err := m.own.State(); err != nil || len(st.Ends) != 0 {
		t.Errorf("%+v, %v", st, err)
	}
}
