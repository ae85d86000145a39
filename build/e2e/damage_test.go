package e2e

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"scanrelay/build/rig"
)

const (
	diskPage     = 4096
	waybillsFile = "waybills.db"
	logFile      = "log.db"
)

// zero overwrites some pages of a file with zeroes, meta pages left out.
func zero(t *testing.T, chance *rand.Rand, path string, pages int) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	used := info.Size()/diskPage - 2
	for b := make([]byte, diskPage); used > 1; used-- { // what was never used needs no damage
		if _, err := f.ReadAt(b, (used+1)*diskPage); err != nil {
			t.Fatal(err)
		}
		if strings.Trim(string(b), "\x00") != "" {
			break
		}
	}
	for range pages {
		if _, err := f.WriteAt(make([]byte, diskPage), (2+chance.Int64N(used))*diskPage); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCentreDamaged spoils the centre's files, while it is down and while it
// runs, and kills it besides: it comes up each time, nothing that was answered is
// lost, and damaged files are kept.
func TestCentreDamaged(t *testing.T) {
	t.Parallel()
	seed := rig.Seed(t)
	site := newSite(t, rig.Options{Binary: raceBinary, Embedded: true})
	site.Start()
	chance := rig.Chance(seed, "pages")
	parcels := rig.Traffic(rig.Chance(seed, "parcels"), "YT", 200)
	scans := rig.Scans(parcels, 6, "line-1")
	scanner := site.Scanner("line-1")
	scanner.Rate = 400
	waybills, log := filepath.Join(site.CentralData, waybillsFile), filepath.Join(site.CentralData, logFile)
	for i, spoil := range []func(){
		func() {},
		func() { // while it is down
			site.Central.Stop()
			zero(t, chance, waybills, 3)
			site.StartCentral()
		},
		func() { zero(t, chance, waybills, 3) }, // while it runs
		func() {
			site.Central.Kill()
			zero(t, chance, log, 2)
			zero(t, chance, waybills, 1)
			site.StartCentral()
		},
		func() { // what is mapped is gone
			if err := os.Truncate(waybills, 7*diskPage); err != nil {
				t.Fatal(err)
			}
		},
		func() {
			zero(t, chance, waybills, 5)
			site.Central.Kill()
			site.StartCentral()
		},
	} {
		awaitMerged(t, site)
		spoil()
		site.Import(parcels) // as the carrier is told to
		publish(t, scanner, scans[i*len(parcels):][:len(parcels)])
		site.Drain()
	}
	site.Audit(rig.Allow{Unreachable: true})
	if kept, err := filepath.Glob(waybills + ".damaged*"); err != nil || len(kept) == 0 {
		t.Errorf("no damaged file is kept: %v", err)
	}
	for _, death := range []string{"panic", "fatal error", "SIGBUS", "DATA RACE"} {
		if strings.Contains(site.Central.Log(), death) {
			t.Errorf("the centre's log has a %s", death)
		}
	}
	site.Central.Stop()
	if out, _, code := site.Run("central", "check", "-c", site.CentralFile); code != 0 || !strings.Contains(out, "all good") {
		t.Errorf("check: exit code %d\n%s", code, out)
	}
}

// awaitMerged waits until what the centre took stands in waybills.db.
func awaitMerged(t *testing.T, site *rig.Site) {
	t.Helper()
	rig.Await(t, "the centre's merge", func() (bool, string) {
		code, body := site.Ask("GET", "/metrics", rig.AdminToken, nil)
		return code == 200 && strings.Contains(string(body), "scanrelay_central_tail_records 0\n"), string(body)
	})
}

// TestCentreLogDamaged spoils the centre's log while it runs: it makes it anew
// and goes on, and nothing is lost.
func TestCentreLogDamaged(t *testing.T) {
	t.Parallel()
	chance := rig.Chance(rig.Seed(t), "pages of the log")
	s := newDiskSite(t, "")
	log, pid := filepath.Join(s.CentralData, logFile), s.Central.PID()
	cut := func(size int64) func() {
		return func() {
			if err := os.Truncate(log, size); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, spoil := range []func(){
		func() { zero(t, chance, log, 2) },
		func() { zero(t, chance, log, 200) }, // all of it
		cut(2 * diskPage), cut(diskPage), cut(0),
	} {
		spoil()
		s.scan()
		s.Drain()
	}
	if s.Central.PID() != pid || syscall.Kill(pid, 0) != nil {
		t.Error("the centre ended")
	}
	kept, err := filepath.Glob(log + ".damaged*")
	if err != nil || len(kept) < 3 {
		t.Errorf("kept %v (%v)", kept, err)
	}
	s.unhurt()
	s.finish()
}
