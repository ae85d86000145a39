package e2e

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"scanrelay/build/rig"
)

// clockBinary is built once, when a test asks for it.
var clockBinary = sync.OnceValues(func() (string, error) { return rig.Build(filepath.Dir(plainBinary), "clock") })

const year = 365 * 24 * time.Hour

// wallClock is one that the test sets.
type wallClock struct {
	t    *testing.T
	path string
}

func newWallClock(t *testing.T) *wallClock {
	c := &wallClock{t, filepath.Join(t.TempDir(), "clock")}
	if err := os.WriteFile(c.path, make([]byte, 8), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// set sets it off by so much. The file stays the one that is mapped.
func (c *wallClock) set(off time.Duration) {
	c.t.Helper()
	f, err := os.OpenFile(c.path, os.O_WRONLY, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(binary.NativeEndian.AppendUint64(nil, uint64(int64(off/time.Second)))); err != nil {
		c.t.Fatal(err)
	}
}

// jumpSite is a site whose clocks jump, with a round of scans for each jump.
type jumpSite struct {
	*diskSite
	agent, central *wallClock
}

func newJumpSite(t *testing.T, env ...string) *jumpSite {
	t.Helper()
	binary, err := clockBinary()
	if err != nil {
		t.Fatal(err)
	}
	s := &jumpSite{agent: newWallClock(t), central: newWallClock(t)}
	s.diskSite = startDiskSite(t, rig.Options{
		Binary: binary, Embedded: true, AgentClock: s.agent.path, CentralClock: s.central.path, Env: env,
	})
	return s
}

// TestAgentClockJumps has an agent's clock jump ahead by years, back, to 1970 and
// back to right, while it runs, over restarts, and while the centre is away: what
// is scanned waits until the clock is right, and goes out with its own times.
func TestAgentClockJumps(t *testing.T) {
	t.Parallel()
	before := time.Now()
	s := newJumpSite(t)
	believed := func(want string) {
		t.Helper()
		s.AwaitStatus("the clock to be "+want, func(st rig.Status) bool { return st.Clock == want })
	}
	for _, off := range []time.Duration{12 * year, 2 * time.Hour, -3 * year, -time.Since(time.Unix(0, 0))} {
		s.agent.set(off)
		believed("unknown")
		s.scan()
		if off > year { // it starts so
			s.Agent.Kill()
			s.Agent.Start()
			believed("unknown")
		}
		if st, err := s.Status(); err != nil || st.Pending.Unsynced != uint64(len(s.parcels)) {
			t.Errorf("off by %v: %d wait, want %d (%v)", off, st.Pending.Unsynced, len(s.parcels), err)
		}
		s.agent.set(0)
		believed("ok")
		s.Drain()
	}
	s.Central.Stop()
	s.agent.set(12 * year)
	believed("unknown")
	s.scan()
	s.agent.set(-3 * year)
	s.scan()
	s.agent.set(0)
	s.StartCentral()
	s.finish()
	cameWithin(t, s.Site, before, time.Now())
	s.unhurt()
}

// TestCentreClockJumps has the centre's clock jump ahead by years, back, and back
// to right, while it runs and over restarts: it forgets nothing, answers WeChat and
// depots, and says that its clock is doubted.
func TestCentreClockJumps(t *testing.T) {
	t.Parallel()
	s := newJumpSite(t)
	for i, off := range []time.Duration{31 * 24 * time.Hour, 2 * time.Hour, 12 * year, -3 * year, -time.Since(time.Unix(0, 0)), 0} {
		s.central.set(off)
		if i%2 == 0 {
			s.Central.Kill()
			s.StartCentral()
		}
		s.scan()
		s.Drain()
		for _, p := range s.parcels {
			if l := s.WeChat.Ask(p.ID, p.Sender.Phone, p.Receiver.Phone); l.Errcode != 0 || len(l.Reply.Path) != s.rounds {
				t.Fatalf("off by %v: a lookup has %d nodes, want %d: %d %s", off, len(l.Reply.Path), s.rounds, l.Errcode, l.Problem)
			}
		}
		if i%2 == 0 { // it looks what may be forgotten
			want := 0.0
			if off != 0 {
				want = 1
			}
			rig.Await(t, "the centre to look at its clock", func() (bool, string) {
				held := s.Metric(s.CentralHTTP, "scanrelay_central_forgetting_held")
				return held == want, fmt.Sprintf("off by %v: held %v", off, held)
			})
		}
	}
	s.finish()
	s.unhurt()
}

// TestRetainOverAClockThatJumped: what was finished while the clock was years
// ahead leaves the disk after retain all the same.
func TestRetainOverAClockThatJumped(t *testing.T) {
	t.Parallel()
	s := newJumpSite(t, "SCANRELAY_STORE_RETAIN=2s")
	s.agent.set(12 * year)
	s.AwaitStatus("the clock to be unknown", func(st rig.Status) bool { return st.Clock == "unknown" })
	s.scan()
	s.agent.set(0)
	s.Drain()
	segments := func() []string {
		found, err := filepath.Glob(filepath.Join(s.AgentData, "segment-*.db"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	old := segments()
	rig.Await(t, "what was finished to leave", func() (bool, string) {
		s.Agent.Stop() // a start looks for it at once
		s.StartAgent()
		now := segments()
		return !slices.ContainsFunc(old, func(name string) bool { return slices.Contains(now, name) }), ""
	})
	s.unhurt()
}
