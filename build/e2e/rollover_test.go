package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"scanrelay/build/rig"
)

// TestKilledAtARollOver kills the agent on its way into each system call of a
// roll-over, one after the other: renames, syncs and unlinks of the spare segment, of
// the one that it becomes, of the oldest one, and of their folder. Each next start goes
// on with all that was acknowledged.
func TestKilledAtARollOver(t *testing.T) {
	t.Parallel()
	site := newSite(t, rig.Options{Binary: plainBinary, Embedded: true, Disturbed: true, Env: []string{"SCANRELAY_STORE_RETAIN=1s"}})
	site.Start()
	parcels := rig.Traffic(rig.Chance(4, "roll-over"), "YT", 10)
	site.Import(parcels)
	scans := rig.Scans(parcels, 40, "line-1")
	kills, rounds := 0, 0
	for _, call := range []string{"/rename", "fsync", "fdatasync", "/unlink"} {
		for n := 1; ; n++ {
			if len(scans) < len(parcels) {
				t.Fatal("a roll-over has more calls than was thought")
			}
			publish(t, site.Scanner("line-1"), scans[:len(parcels)])
			scans, rounds = scans[len(parcels):], rounds+1
			site.Drain()
			site.Agent.Kill()
			segments := files(t, site, "segment-*.db")
			next := fmt.Sprintf("segment-%08d.db", number(t, segments[len(segments)-1])+1)
			paths := append(files(t, site, "spare-*.db"), site.AgentData, filepath.Join(site.AgentData, next), segments[0])
			said := len(site.Agent.Log())
			end := site.Agent.Disturb(fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", call, n), paths...)
			killed := false
			rig.Await(t, "the agent to die, or to end a roll-over", func() (bool, string) {
				killed = syscall.Kill(site.Agent.PID(), 0) != nil
				_, err := site.Status()
				_, oldest := os.Stat(segments[0]) // it goes behind the beginning of the next one
				return killed || err == nil && strings.Contains(site.Agent.Log()[said:], "segment begun") && errors.Is(oldest, fs.ErrNotExist), ""
			})
			end()
			if !killed {
				site.Agent.Kill()
			}
			site.StartAgent()
			if !killed {
				if n == 1 {
					t.Errorf("a roll-over has no %s", call)
				}
				break
			}
			kills++
		}
	}
	want := uint64(rounds * len(parcels)) // most of it is past retain by now
	if st := site.Drain(); st.Intake.Received != want || st.Finished() != want || st.Outcome["pushed"]+st.Outcome["not_bound"] != want {
		t.Errorf("after %d kills: %+v, want %d", kills, st, want)
	}
	for _, p := range parcels {
		if l := site.WeChat.Ask(p.ID, p.Sender.Phone, p.Receiver.Phone); l.Errcode != 0 || len(l.Reply.Path) != rounds {
			t.Errorf("the centre has %d nodes of %s, want %d: %d %s", len(l.Reply.Path), p.ID, rounds, l.Errcode, l.Problem)
		}
	}
	site.Agent.Stop()
	if out, said, code := site.Run("store", "check", "-c", site.AgentFile); code != 0 {
		t.Errorf("after %d kills: %s%s", kills, out, said)
	}
}

// files lists the agent's files of a pattern, by name.
func files(t *testing.T, site *rig.Site, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(site.AgentData, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func number(t *testing.T, path string) (n int) {
	t.Helper()
	if _, err := fmt.Sscanf(filepath.Base(path), "segment-%d.db", &n); err != nil {
		t.Fatal(err)
	}
	return n
}
