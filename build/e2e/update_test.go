package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"scanrelay/agent/update/record"
	"scanrelay/build/rig"
)

// gateway is a site whose agent is started as systemd does: by launch, again and again,
// ended when it is not ready or not alive in time, with root's part beside it.
type gateway struct {
	*rig.Site
	t    *testing.T
	root record.Root
	own  record.Own
	dir  string
	rec  record.Record

	stop  chan struct{} // closed: to be stopped
	ended chan struct{}
	lives atomic.Int32
}

const (
	startWithin = 30 * time.Second // as the unit has it
	restartIn   = 200 * time.Millisecond
)

func newGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{t: t, Site: newSite(t, rig.Options{Binary: plainBinary, Embedded: true}), dir: t.TempDir()}
	g.root, g.own = record.Root(filepath.Join(g.dir, "versions")), record.Own(filepath.Join(g.AgentData, "update"))
	if err := errors.Join(os.Mkdir(string(g.root), 0o755), g.own.Make()); err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile(plainBinary)
	if err != nil {
		t.Fatal(err)
	}
	g.rec.Committed = g.install("1.1.0", body)
	g.write()
	g.StartCentral()
	return g
}

// first is the file with the first keys.
func (g *gateway) first() string { return filepath.Join(filepath.Dir(g.AgentFile), "update-root.json") }

// install puts a version there as root's part does after it has verified it.
func (g *gateway) install(version string, body []byte) record.Release {
	g.t.Helper()
	sum := sha256.Sum256(body)
	r := record.Release{Version: version, SHA256: hex.EncodeToString(sum[:]), Length: int64(len(body))}
	if err := errors.Join(os.Mkdir(g.root.Folder(r), 0o755), os.WriteFile(g.root.Binary(r), body, 0o755), g.root.WriteRelease(version, r)); err != nil {
		g.t.Fatal(err)
	}
	return r
}

func (g *gateway) write() {
	g.t.Helper()
	_, err := g.root.Link(g.rec.Committed, g.dir)
	if err := errors.Join(err, g.root.Write(g.rec)); err != nil {
		g.t.Fatal(err)
	}
}

// run is systemd, until halt.
func (g *gateway) run() {
	g.t.Helper()
	g.stop, g.ended = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(g.ended)
		for {
			g.live()
			select {
			case <-g.stop:
				return
			case <-time.After(restartIn):
			}
		}
	}()
}

func (g *gateway) halt() {
	close(g.stop)
	<-g.ended
}

// live starts the agent once and stands by until it ends.
func (g *gateway) live() {
	n := g.lives.Add(1)
	sock := filepath.Join(g.dir, fmt.Sprint("notify", n))
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: sock, Net: "unixgram"})
	if err != nil {
		g.t.Error(err)
		return
	}
	defer conn.Close()
	log, err := os.OpenFile(filepath.Join(g.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		g.t.Error(err)
		return
	}
	defer log.Close()
	cmd := exec.Command(plainBinary, "launch", "-c", g.AgentFile, "--versions", string(g.root), "--state", string(g.own))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+sock, "WATCHDOG_USEC=60000000", "REAL="+plainBinary, "FILE="+g.AgentFile)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		g.t.Error(err)
		return
	}
	gone, said := make(chan struct{}), make(chan string, 64)
	go func() { _ = cmd.Wait(); close(gone) }()
	go func() {
		defer close(said)
		b := make([]byte, 4096)
		for {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			said <- string(b[:n])
		}
	}()
	defer func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }()
	limit, watchdog := time.Now().Add(startWithin), 60*time.Second
	stop := g.stop
	for {
		select {
		case <-gone:
			return
		case <-stop:
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Process.Signal(syscall.SIGCONT)
			stop, limit = nil, time.Now().Add(rig.Limit)
		case text := <-said:
			name, value, _ := strings.Cut(text, "=")
			usec, _ := strconv.ParseInt(value, 10, 64)
			switch name {
			case "EXTEND_TIMEOUT_USEC":
				limit = time.Now().Add(time.Duration(usec) * time.Microsecond)
			case "WATCHDOG_USEC":
				watchdog = time.Duration(usec) * time.Microsecond
			case "READY", "WATCHDOG":
				limit = time.Now().Add(watchdog)
			}
		case <-time.After(50 * time.Millisecond):
			if g.own.Asked() {
				out, err := exec.Command(plainBinary, "update", "install", "--root", g.first(), "--versions", string(g.root), "--state", string(g.own)).CombinedOutput()
				if err != nil {
					g.t.Errorf("root's part: %v: %s", err, out)
				}
			}
		}
		if time.Now().After(limit) {
			if stop == nil {
				g.t.Error("the agent did not stop")
			}
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-gone
			return
		}
	}
}

func (g *gateway) log() string {
	b, err := os.ReadFile(filepath.Join(g.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-6000):])
}

// takes waits until a version runs and takes scans.
func (g *gateway) takes(version string) {
	g.t.Helper()
	rig.Await(g.t, version+" to take scans", func() (bool, string) {
		st, err := g.own.State()
		if err != nil || st.Running == nil || st.Running.Release.Version != version {
			return false, fmt.Sprintf("%+v, %v\n%s", st, err, g.log())
		}
		conn, err := net.DialTimeout("tcp", g.Broker, time.Second)
		if err != nil {
			return false, err.Error()
		}
		_ = conn.Close()
		return true, ""
	})
}

// candidate is a bad one.
type candidate struct {
	name   string
	body   string                  // a script; $REAL is a good version
	damage func(path string) error // after it was verified
	result string
}

func script(text string) string { return "#!/bin/sh\n" + text + "\n" }

// TestBadCandidates tries versions that are bad in all the ways that there are: each is
// gone back from by itself, and what scanners were told is stored is there.
func TestBadCandidates(t *testing.T) {
	t.Parallel()
	foreign := func(t *testing.T) string { // the head of a program for another machine
		b, err := os.ReadFile(plainBinary)
		if err != nil {
			t.Fatal(err)
		}
		b[18] ^= 0xff
		return string(b[:4096])
	}
	groups := map[string][]candidate{
		"ends": {
			{"panics", script("exit 2"), nil, record.Bad},
			{"exits with 0", script("exit 0"), nil, record.Bad},
			{"crashes after 3 s", script(`(sleep 3; kill -SEGV $$) & exec sleep 1000`), nil, record.Bad},
			{"is for another machine", "", nil, record.Bad},
		},
		"is damaged": {
			{"has no bytes", script("exit 0"), func(path string) error { return os.Truncate(path, 0) }, record.Inconclusive},
			{"is truncated", script("exit 0; #"), func(path string) error { return os.Truncate(path, 9) }, record.Inconclusive},
			{"is missing", script("exit 0; ##"), os.Remove, record.Inconclusive},
			{"is never healthy", script(`exec "$REAL" agent -c "$FILE.sick"`), nil, record.Bad},
		},
		"hangs once ready": {{"hangs", script(`(sleep 2; kill -STOP $$) & exec "$REAL" agent -c "$FILE.sick"`), nil, record.Bad}},
		"hangs before":     {{"hangs", script("exec sleep 1000"), nil, record.Bad}},
	}
	for name, candidates := range groups {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t)
			// With a broker that is not there an agent never takes scans.
			yaml, err := os.ReadFile(g.AgentFile)
			if err == nil {
				err = os.WriteFile(g.AgentFile+".sick", []byte(strings.Replace(string(yaml), "broker: embedded", "broker: tcp://127.0.0.1:1", 1)), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			g.run()
			g.takes("1.1.0")
			parcels := rig.Traffic(rig.Chance(14, name), "YT", 100*len(candidates))
			g.Import(parcels)
			scanner := g.Scanner("line-1")
			scanner.Rate = 20
			wait := background(t, scanner, rig.Scans(parcels, 1, "line-1"))
			for i, c := range candidates {
				if c.body == "" {
					c.body = foreign(t)
				}
				g.try(fmt.Sprintf("1.2.%d", i), c)
			}
			wait()
			g.Drain()
			g.halt()
			if want, got := g.Ledger.Len(), len(g.Events()); got != want {
				t.Errorf("%d scans were acknowledged, %d are stored", want, got)
			}
		})
	}
}

// try puts a candidate on trial and waits for what comes of it.
func (g *gateway) try(version string, c candidate) {
	g.t.Helper()
	g.halt()
	g.rec.Candidate = g.install(version, []byte(c.body))
	g.write()
	if c.damage != nil {
		if err := c.damage(g.root.Binary(g.rec.Candidate)); err != nil {
			g.t.Fatal(err)
		}
	}
	if err := g.own.SetState(record.State{Trial: &record.Trial{Release: g.rec.Candidate, Healthy: 5 * time.Second}}); err != nil {
		g.t.Fatal(err)
	}
	began, lives := time.Now(), g.lives.Load()
	g.run()
	g.takes("1.1.0")
	back, starts := time.Since(began), g.lives.Load()-lives
	rig.Await(g.t, "the verdict on one that "+c.name, func() (bool, string) {
		st, err := g.own.State()
		rec, err2 := g.root.Read()
		barred := slices.Contains(rec.Barred, g.rec.Candidate.SHA256)
		return err == nil && err2 == nil && st.Verdict != nil && st.Verdict.Result == c.result && barred == (c.result == record.Bad),
			fmt.Sprintf("%+v, %+v, %+v, %v\n%s", st, st.Verdict, rec, errors.Join(err, err2), g.log())
	})
	rec, err := g.root.Read()
	if err != nil || rec.Committed.Version != "1.1.0" {
		g.t.Errorf("%s: %+v, %v", c.name, rec, err)
	}
	st, _ := g.own.State()
	g.t.Logf("one that %s: back after %v and %d starts; %s: %s", c.name, back.Round(time.Second/10), starts, st.Verdict.Result, st.Verdict.Reason)
	g.rec = rec
}

// TestDamagedVersions starts from what is damaged: the version that was committed, or
// the one before it, takes scans.
func TestDamagedVersions(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.rec.Previous = g.rec.Committed
	g.rec.Committed = g.install("1.2.0", []byte(script(`exec "$REAL" "$@"`)))
	g.write()
	spoil := func(path string, body []byte) func() error {
		return func() error { return os.WriteFile(path, body, 0o755) }
	}
	link := filepath.Join(string(g.root), "current")
	for _, c := range []struct {
		name   string
		damage func() error
		want   string
	}{
		{"nothing", func() error { return nil }, "1.2.0"},
		{"the state is NULs", spoil(filepath.Join(string(g.own), "state"), make([]byte, 300)), "1.2.0"},
		{"the link leads nowhere", func() error { return errors.Join(os.Remove(link), os.Symlink("nowhere", link)) }, "1.2.0"},
		{"the record is NULs", spoil(filepath.Join(string(g.root), "record"), make([]byte, 300)), ""},
		{"the binary has changed", spoil(g.root.Binary(g.rec.Committed), []byte(script(`exec "$REAL" "$@" #`))), "1.1.0"},
	} {
		if c.want == "" { // with the link that leads nowhere: the packaged one
			_ = errors.Join(os.Remove(link), os.Symlink("nowhere", link))
		}
		if err := c.damage(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		g.run()
		g.takes(c.want)
		t.Logf("%s: %q takes scans after %v", c.name, c.want, time.Since(began).Round(time.Second/10))
		g.halt()
		g.write()
	}
}

// TestGoodCandidate is committed by what it does itself, the centre included, and runs on.
func TestGoodCandidate(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.rec.Candidate = g.install("1.2.0", []byte(script(`exec "$REAL" "$@"`)))
	g.write()
	g.run()
	rig.Await(t, "it to be tried and committed", func() (bool, string) {
		rec, err := g.root.Read()
		return err == nil && rec.Committed == g.rec.Candidate && rec.Previous == g.rec.Committed, fmt.Sprintf("%+v, %v\n%s", rec, err, g.log())
	})
	out, _, code := g.Run("update", "status", "--versions", string(g.root), "--state", string(g.own))
	if code != 0 || !strings.Contains(out, "version    1.2.0\n") || !strings.Contains(out, "before     1.1.0\n") {
		t.Errorf("%d, %s", code, out)
	}
	g.takes("1.2.0")
	rig.Await(t, "it to know that", func() (bool, string) {
		st, err := g.own.State()
		return err == nil && st.Trial == nil, fmt.Sprintf("%+v, %v", st, err)
	})
	g.halt()
	if st, err := g.own.State(); err != nil || st.Running != nil || st.Trial != nil {
		t.Errorf("after a stop: %+v, %v", st, err)
	}
}
