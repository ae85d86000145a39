package e2e

import (
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"scanrelay/build/rig"
)

// slow is how long a disk does not answer; soon is far from it, however slow the
// machine.
const (
	slow = "120s"
	soon = 60 * time.Second
)

// disturbedSite is a site whose roles' system calls can be spoilt. It has taken
// and ended a first round of scans.
func disturbedSite(t *testing.T) *diskSite {
	t.Helper()
	return startDiskSite(t, rig.Options{Binary: raceBinary, Embedded: true, Disturbed: true})
}

// publishing publishes one more round, and waits in wait.
func (s *diskSite) publishing() (wait func()) {
	s.t.Helper()
	n := len(s.parcels)
	wait = background(s.t, s.Scanner("line-1"), s.scans[s.rounds*n:][:n])
	s.rounds++
	return wait
}

// promptly holds that something is done soon.
func (s *diskSite) promptly(what string, do func()) {
	s.t.Helper()
	begin := time.Now()
	if do(); time.Since(begin) > soon {
		s.t.Errorf("%s took %v", what, time.Since(begin))
	}
}

// stopSlowly stops a role whose disk does not answer: it gives up in time, and
// says so, though it is not gone before the kernel lets it. Where nothing of it
// waited for the disk it ends as always.
func (s *diskSite) stopSlowly(r *rig.Role, wellAgain func()) {
	s.t.Helper()
	want := 0
	s.promptly("the stop of "+r.Name, func() {
		said := len(r.Log())
		r.Signal(syscall.SIGTERM)
		rig.Await(s.t, r.Name+" to give its stop up", func() (bool, string) {
			log := r.Log()[said:]
			if strings.Contains(log, "cut short; what was acknowledged is on disk") || strings.Contains(log, "close store") {
				want = 1
			}
			return want == 1 || syscall.Kill(r.PID(), 0) != nil, log
		})
	})
	wellAgain()
	if code := r.ExitCode(); code != want {
		s.t.Errorf("%s ended with exit code %d, want %d", r.Name, code, want)
	}
}

// TestCentreDiskSlow has the centre's disk not answer, first reads, then syncs:
// lookups are answered, health is told, a stop ends, and once the disk is well
// all that was scanned meanwhile goes out.
func TestCentreDiskSlow(t *testing.T) {
	t.Parallel()
	s := disturbedSite(t)
	look := func(code int) {
		t.Helper()
		s.promptly("a lookup", func() {
			p := s.parcels[0]
			if l := s.WeChat.Ask(p.ID, p.Sender.Phone, p.Receiver.Phone); l.Errcode != code {
				t.Errorf("a lookup: %d %s, want %d", l.Errcode, l.Problem, code)
			}
		})
		s.promptly("health", func() {
			if code, body := s.Ask(http.MethodGet, "/healthz", rig.AdminToken, nil); code != http.StatusOK {
				t.Errorf("GET /healthz: HTTP %d: %s", code, body)
			}
		})
	}
	awaitMerged(t, s.Site)
	s.Central.Stop() // nothing of it is in memory then
	s.StartCentral()
	wellAgain := s.Central.Disturb("inject=pread64:delay_enter="+slow, filepath.Join(s.CentralData, waybillsFile))
	s.scan()
	look(932002) // which is to be asked again
	s.stopSlowly(s.Central, wellAgain)
	s.StartCentral()
	s.Drain()
	wellAgain = s.Central.Disturb("inject=fdatasync,fsync:delay_enter=" + slow)
	s.scan()
	look(0)
	s.stopSlowly(s.Central, wellAgain)
	s.StartCentral()
	s.finishAllowing(rig.Allow{Unreachable: true, TryAgain: true})
	s.unhurt()
}

// TestAgentDiskSlow has the agent's disk not answer, first reads, then syncs, and
// then answer slowly: status is told, a stop ends, nothing is acknowledged that is
// not on disk, and once the disk is well all goes on.
func TestAgentDiskSlow(t *testing.T) {
	t.Parallel()
	s := disturbedSite(t)
	status := func() {
		t.Helper()
		s.promptly("status", func() {
			if _, err := s.Status(); err != nil {
				t.Error(err)
			}
		})
	}
	wellAgain := s.Agent.Disturb("inject=pread64:delay_enter=" + slow)
	s.promptly("taking scans", s.scan)
	status()
	s.stopSlowly(s.Agent, wellAgain)
	s.StartAgent()
	s.Drain()
	wellAgain = s.Agent.Disturb("inject=fdatasync,fsync:delay_enter=" + slow)
	before := s.Ledger.Len()
	wait := s.publishing()
	status()
	s.stopSlowly(s.Agent, wellAgain)
	if n := s.Ledger.Len(); n != before {
		t.Errorf("%d scans were acknowledged before they were on disk", n-before)
	}
	s.StartAgent()
	wait()
	s.Drain()
	wellAgain = s.Agent.Disturb("inject=fdatasync:delay_enter=300ms")
	s.scan()
	s.Drain()
	wellAgain()
	s.finishAllowing(rig.Allow{Lost: concurrency, Unreachable: true}) // a stop that was cut short is a kill
	s.unhurt()
}

// TestSyncFails has syncs fail on each role's disk, while it runs and at a start:
// each time it ends with 1, the next one goes on, and nothing is lost.
func TestSyncFails(t *testing.T) {
	t.Parallel()
	s := disturbedSite(t)
	fails := func(r *rig.Role, when string) {
		t.Helper()
		if code := r.ExitCode(); code != 1 {
			t.Errorf("a sync of %s failed %s, and it ended with exit code %d, want 1", r.Name, when, code)
		}
	}
	for _, role := range []*rig.Role{s.Agent, s.Central} {
		const failing = "inject=fdatasync,fsync:error=EIO"
		wellAgain := role.Disturb(failing)
		wait := s.publishing()
		fails(role, "while it ran")
		wellAgain()
		wellAgain = role.Disturb(failing)
		fails(role, "at its start")
		wellAgain()
		if role == s.Agent {
			s.StartAgent()
		} else {
			s.StartCentral()
		}
		wait()
		s.Drain()
	}
	s.finishAllowing(rig.Allow{Lost: concurrency, Unreachable: true})
	s.unhurt()
}

// TestDiskBusy has reads of each role's disk fail for a while, at a start and while
// it runs, as a card does that is busy or a bus that resets: that is no damage,
// nothing is given up, and all goes on by itself.
func TestDiskBusy(t *testing.T) {
	t.Parallel()
	for _, errno := range []string{"EIO", "EAGAIN"} {
		t.Run(errno, func(t *testing.T) {
			t.Parallel()
			s := disturbedSite(t)
			awaitMerged(t, s.Site)
			busy := "inject=pread64:error=" + errno + ":when=1..6" // of each thread
			for _, role := range []*rig.Role{s.Agent, s.Central} {
				data := s.AgentData
				if role == s.Central {
					data = s.CentralData
				}
				files, err := filepath.Glob(filepath.Join(data, "*.db"))
				if err != nil || len(files) == 0 {
					t.Fatal(files, err)
				}
				role.Stop()
				wellAgain := role.Disturb(busy, files...)
				s.scan()
				s.Drain()
				wellAgain()
				wellAgain = role.Disturb(busy, files...)
				s.scan()
				for _, p := range s.parcels {
					s.WeChat.Ask(p.ID, p.Sender.Phone, p.Receiver.Phone) // which may be told to ask again
				}
				s.Drain()
				wellAgain()
			}
			if out, _, code := s.Run("status", "-c", s.AgentFile); code != 0 || strings.Contains(out, "DAMAGE") {
				t.Errorf("status: exit code %d\n%s", code, out)
			}
			if n := s.Metric(s.CentralHTTP, "scanrelay_central_damage"); n != 0 {
				t.Errorf("the centre takes a busy disk for %v damages", n)
			}
			s.finishAllowing(rig.Allow{Unreachable: true, TryAgain: true})
			s.unhurt()
		})
	}
}
