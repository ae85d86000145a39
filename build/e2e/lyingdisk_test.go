package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"scanrelay/build/rig"
)

// image is what a disk holds of a folder, by the files' names.
type image map[string][]byte

func imageOf(t *testing.T, dir string) image {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	held := image{}
	for _, f := range files {
		if !f.Type().IsRegular() {
			continue
		}
		if held[f.Name()], err = os.ReadFile(filepath.Join(dir, f.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return held
}

// loseSyncs leaves in a folder what a power cut leaves on a disk that has said yes
// to every sync since the image and done nothing: of each page that changed the
// old or the new content, as keep says, and so of each file that is new or gone.
func (old image) loseSyncs(t *testing.T, dir string, keep func() bool) {
	t.Helper()
	now := imageOf(t, dir)
	for name, content := range now {
		before, known := old[name]
		var err error
		switch {
		case known || keep():
			err = os.WriteFile(filepath.Join(dir, name), mixed(before, content, keep), 0o600)
		default:
			err = os.Remove(filepath.Join(dir, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range old {
		if _, there := now[name]; !there && !keep() {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// mixed returns a file with some pages as they were.
func mixed(before, now []byte, keep func() bool) []byte {
	if bytes.Equal(before, now) {
		return now
	}
	size := len(before)
	if keep() {
		size = len(now)
	}
	file := make([]byte, size)
	copy(file, before)
	for at := 0; at < min(size, len(now)); at += diskPage {
		page := now[at:min(at+diskPage, len(now))]
		if at+len(page) > len(before) || !bytes.Equal(page, before[at:at+len(page)]) {
			if keep() {
				copy(file[at:], page)
			}
		}
	}
	return file
}

// lies are what may be left, by the share of the pages that reached the disk.
var lies = map[string]float64{"nothing written": 0, "some written": 0.1, "half written": 0.5, "most written": 0.9}

// onLyingDisks runs a test for each lie, on a site that is told that its writes are on
// disk while they are not; keep tells of one whether it was, as share of them were.
func onLyingDisks(t *testing.T, test func(t *testing.T, s *diskSite, share float64, keep func() bool)) {
	t.Helper()
	seed := rig.Seed(t)
	for name, share := range lies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			chance := rig.Chance(seed, name)
			s := startDiskSite(t, rig.Options{Binary: plainBinary, Embedded: true, Env: []string{"SCANRELAY_STORE_MAX_SIZE=16MiB"}})
			test(t, s, share, func() bool { return chance.Float64() < share })
			s.unhurt()
		})
	}
}

// powerGoes has a role take a round of scans, the power go then, and the role start
// with what its disk has kept since the round began.
func (s *diskSite) powerGoes(r *rig.Role, dir string, start func(), keep func() bool) {
	s.t.Helper()
	r.Stop()
	old := imageOf(s.t, dir)
	start()
	s.scan()
	s.Drain()
	r.Kill()
	old.loseSyncs(s.t, dir, keep)
	start()
}

// TestAgentDiskLies has the agent's disk say yes to syncs and do nothing, and the
// power go: the agent comes up with what is left, says so where something is not,
// takes and pushes what comes, and nothing that was pushed is pushed as another.
func TestAgentDiskLies(t *testing.T) {
	t.Parallel()
	onLyingDisks(t, func(t *testing.T, s *diskSite, _ float64, keep func() bool) {
		s.powerGoes(s.Agent, s.AgentData, s.StartAgent, keep)
		fresh := s.scans[s.rounds*len(s.parcels):][:len(s.parcels)]
		s.scan()
		s.AwaitStatus("what is left and what comes to end", func(st rig.Status) bool {
			return st.Waiting() == 0 && st.Intake.Received >= uint64(len(fresh))
		})
		ended := map[string]string{}
		for _, l := range s.Events() {
			if l.State != "dead" {
				ended[l.WaybillID+" "+l.EventID] = l.State
			}
		}
		for _, scan := range fresh {
			if state := ended[scan.Parcel.ID+" "+scan.EventID]; state != "pushed" && state != "not_bound" {
				t.Errorf("%s, scanned after the power cut, is %q", scan.EventID, state)
			}
		}
		out, _, code := s.Run("status", "-c", s.AgentFile)
		if lost := s.rounds*len(s.parcels) - len(ended); code != 0 || lost > 0 && !strings.Contains(out, "DAMAGE") {
			t.Errorf("%d acknowledged scans are lost, and status says (exit code %d):\n%s", lost, code, out)
		}
	})
}

// TestCentreDiskLies does the same to the centre: it comes up, says what is lost,
// depots send theirs again by themselves, and once the carrier has imported what it
// is told to all is there, and nothing was pushed twice.
func TestCentreDiskLies(t *testing.T) {
	t.Parallel()
	onLyingDisks(t, func(t *testing.T, s *diskSite, share float64, keep func() bool) {
		s.powerGoes(s.Central, s.CentralData, s.StartCentral, keep)
		s.Import(s.parcels) // as the carrier is told to
		s.scan()
		s.Drain()
		rig.Await(t, "the centre to have all again", func() (bool, string) {
			for _, p := range s.parcels {
				if l := s.WeChat.Ask(p.ID, p.Sender.Phone, p.Receiver.Phone); l.Errcode != 0 || len(l.Reply.Path) != s.rounds {
					return false, l.Problem
				}
			}
			return true, ""
		})
		if share == 0 && s.Metric(s.CentralHTTP, "scanrelay_central_damage") == 0 {
			t.Error("the centre does not tell that it lost its end")
		}
		s.Audit(rig.Allow{Unreachable: true, TryAgain: true})
	})
}
