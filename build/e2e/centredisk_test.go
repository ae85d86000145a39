package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"scanrelay/build/rig"
)

// diskSite is a site of which a disk is spoilt, with a round of scans for each
// thing that is done to it.
type diskSite struct {
	*rig.Site
	t       *testing.T
	parcels []*rig.Parcel
	scans   []rig.Scan
	rounds  int // published
	imports int // tried while nothing could be written
}

// newDiskSite starts it and lets a first round of scans pass.
func newDiskSite(t *testing.T, centralData string) *diskSite {
	t.Helper()
	return startDiskSite(t, rig.Options{Binary: raceBinary, Embedded: true, CentralData: centralData})
}

func startDiskSite(t *testing.T, o rig.Options) *diskSite {
	t.Helper()
	parcels := rig.Traffic(rig.Chance(14, "disk"), "YT", 50)
	s := &diskSite{Site: newSite(t, o), t: t, parcels: parcels, scans: rig.Scans(parcels, 8, "line-1")}
	s.Start()
	s.Import(parcels)
	s.scan()
	s.Drain()
	return s
}

// scan publishes one more round.
func (s *diskSite) scan() {
	s.t.Helper()
	n := len(s.parcels)
	publish(s.t, s.Scanner("line-1"), s.scans[s.rounds*n:][:n])
	s.rounds++
}

// mustRefuse holds that a centre that cannot write says so, lets callers come
// again, and answers WeChat all that it has: at least nodes of each parcel.
func (s *diskSite) mustRefuse(nodes int) {
	s.t.Helper()
	rig.Await(s.t, "the centre to find that it cannot write", func() (bool, string) {
		s.imports++ // each another one: what is known already is not written, and pages that came free are written first
		return s.call(http.MethodPost, "/v1/waybills", fmt.Sprintf(`{"waybill_id":"YT9%d","create_time":1795400000,"sender":{"province":"浙江省","city":"绍兴市","area":"柯桥区"},"receiver":{"name":"甲","phone":"13812345678","province":"浙江省","city":"绍兴市","area":"柯桥区"}}`, 100+s.imports))
	})
	if s.Metric(s.CentralHTTP, "scanrelay_central_store_blocked") != 1 {
		s.t.Error("no metric tells that nothing can be written")
	}
	if code, page := s.Ask(http.MethodGet, "/", rig.AdminToken, nil); code != http.StatusOK || !strings.Contains(string(page), "Nothing can be written") {
		s.t.Errorf("the fleet page does not tell that nothing can be written: HTTP %d", code)
	}
	if code, body := s.Ask(http.MethodGet, "/healthz", rig.AdminToken, nil); code != http.StatusOK {
		s.t.Errorf("GET /healthz: HTTP %d: %s", code, body)
	}
	for _, p := range s.parcels {
		if l := s.WeChat.Ask(p.ID, p.Sender.Phone, p.Receiver.Phone); l.Errcode != 0 || len(l.Reply.Path) < nodes {
			s.t.Fatalf("a lookup: %d nodes, want %d: %d %s", len(l.Reply.Path), nodes, l.Errcode, l.Problem)
		}
	}
}

// call reports whether a call was refused with 503 and the time to come again.
func (s *diskSite) call(method, path, body string) (refused bool, state string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.CentralHTTP+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+rig.AdminToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err.Error()
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") == "" {
		s.t.Errorf("%s %s: 503 without Retry-After", method, path)
	}
	return resp.StatusCode == http.StatusServiceUnavailable, resp.Status
}

// finish holds that all goes on and nothing was lost.
func (s *diskSite) finish() {
	s.t.Helper()
	s.finishAllowing(rig.Allow{Unreachable: true})
}

func (s *diskSite) finishAllowing(allow rig.Allow) {
	s.t.Helper()
	s.scan()
	s.Drain()
	if s.Metric(s.CentralHTTP, "scanrelay_central_store_blocked") != 0 {
		s.t.Error("a metric tells that nothing can be written")
	}
	s.Audit(allow)
	s.Central.Stop()
	if out, _, code := s.Run("central", "check", "-c", s.CentralFile); code != 0 {
		s.t.Errorf("central check: exit code %d\n%s", code, out)
	}
}

// unhurt holds that no process died of what the disk did.
func (s *diskSite) unhurt() {
	s.t.Helper()
	for _, r := range []*rig.Role{s.Agent, s.Central} {
		for _, death := range []string{"panic", "fatal error", "SIGBUS", "DATA RACE"} {
			if strings.Contains(r.Log(), death) {
				s.t.Errorf("the log of %s has a %s", r.Name, death)
			}
		}
	}
}

// scanInVain publishes a round while the centre cannot write, also over its start.
func (s *diskSite) scanInVain() {
	s.t.Helper()
	s.scan()
	s.mustRefuse(1)
	s.Central.Kill()
	s.StartCentral()
	s.mustRefuse(1)
}

func command(t *testing.T, argv ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
}

// TestCentreFull lets the centre's disk run full, by a limit on its files, which
// needs no rights, and on a small disk, kills it then, and makes room.
func TestCentreFull(t *testing.T) {
	t.Parallel()
	t.Run("limit", func(t *testing.T) {
		t.Parallel()
		s := newDiskSite(t, "")
		limit := func(fsize string) {
			t.Helper()
			command(t, "prlimit", "--pid", fmt.Sprint(s.Central.PID()), "--fsize="+fsize+":unlimited")
		}
		limit("4096") // what is behind cannot be written
		s.scan()
		s.mustRefuse(1)
		limit("unlimited")
		s.scan()
		s.Drain()
		limit("4096")
		s.scan()
		s.mustRefuse(3)
		s.Central.Kill()
		s.StartCentral()
		s.finish()
		s.unhurt()
	})
	t.Run("disk", func(t *testing.T) {
		t.Parallel()
		disk, mounted := smallDisk(t, 8)
		if !mounted {
			return // the limit is what runs out
		}
		s := newDiskSite(t, filepath.Join(disk, "central"))
		filler := filepath.Join(disk, "filler")
		fill := func() { _ = os.WriteFile(filler, make([]byte, 8<<20), 0o600) } // ends with ENOSPC, which is what it is for
		fill()
		s.scanInVain()
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		s.scan()
		s.finish()
		s.unhurt()
	})
}

// readOnlyMount runs what follows, behind a folder, where the folder can only be read:
// on a mount of its own, which needs no rights. makeWritable ends that.
var readOnlyMount = []string{
	"unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", `mount --bind "$0" "$0"; mount -o remount,bind,ro "$0"; exec "$@"`,
}

func makeWritable(t *testing.T, s *rig.Site) {
	t.Helper()
	command(t, "nsenter", "--target", fmt.Sprint(s.Central.PID()), "--user", "--preserve-credentials", "--mount",
		"mount", "-o", "remount,bind,rw", s.CentralData)
}

// TestCentreReadOnly has the centre start on a file system that is read only, and
// one become so while it runs; it is killed then, and the disk mended.
func TestCentreReadOnly(t *testing.T) {
	t.Parallel()
	t.Run("start", func(t *testing.T) {
		t.Parallel()
		s := newDiskSite(t, "")
		s.Central.Kill()
		plain := s.Central
		s.Central = rig.NewRole(t, "central-read-only", append(readOnlyMount, s.CentralData, raceBinary, "central", "-c", s.CentralFile),
			"GORACE=halt_on_error=1 atexit_sleep_ms=0")
		s.scan() // while it is away
		for range 2 {
			s.StartCentral()
			s.mustRefuse(1)
			s.Central.Kill()
		}
		s.StartCentral()
		s.mustRefuse(1)
		makeWritable(t, s.Site)
		s.scan()
		s.Drain() // it goes on by itself
		s.Central.Stop()
		if log := s.Central.Log(); !strings.Contains(log, "read only") || !strings.Contains(log, "writing goes on") {
			t.Error("the log does not tell that the file system was read only, and that it no longer is")
		}
		s.Central = plain
		s.StartCentral()
		s.finish()
		s.unhurt()
	})
	t.Run("running", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		image, disk := filepath.Join(dir, "image"), filepath.Join(dir, "disk")
		if err := os.Mkdir(disk, 0o700); err != nil {
			t.Fatal(err)
		}
		command(t, "truncate", "--size=32M", image)
		command(t, "mkfs.ext4", "-q", image)
		mount := func() error { return exec.CommandContext(t.Context(), "mount", "-o", "loop", image, disk).Run() }
		if err := mount(); err != nil {
			t.Logf("no disk can be mounted (%v): that it becomes read only while the centre runs is tested in store/snapshot/bolt", err)
			return
		}
		t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
		s := newDiskSite(t, filepath.Join(disk, "central"))
		// What the kernel does when it finds the file system damaged.
		command(t, "mount", "-o", "remount,abort", disk)
		s.scanInVain()
		s.Central.Kill()
		command(t, "umount", disk)
		if err := mount(); err != nil {
			t.Fatal(err)
		}
		s.StartCentral()
		s.finish()
		s.unhurt()
	})
}
