package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scanrelay/build/rig"
)

// TestCentreBackup copies a centre under load, lets more be answered, and loses its
// data_dir. The backup is put back, at first by a restore that is killed. Depots send
// by themselves what is missing, nothing is pushed twice, what no depot has any more
// is named, and who was revoked since stays out.
func TestCentreBackup(t *testing.T) {
	t.Parallel()
	site := newSite(t, rig.Options{Binary: raceBinary, Embedded: true})
	site.Start()
	parcels := rig.Traffic(rig.Chance(31, "backup"), "YT", 50)
	site.Import(parcels)
	scans := rig.Scans(parcels, 8, "gate-1")
	old := forgetfulDepot{t, site}
	if have := old.send(1, 1, 10); have != 10 {
		t.Fatalf("have is %d", have)
	}
	kept := t.TempDir()
	archive := filepath.Join(kept, "centre.backup")
	mustScanrelay(t, "depot", "add", "nb-07", "-c", site.CentralFile)

	wait := background(t, site.Scanner("gate-1"), scans[:250])
	awaitAcked(t, site, 60)
	for range 3 { // the last one counts: each has the place of the one before
		mustScanrelay(t, "central", "backup", "-c", site.CentralFile, "--to", archive)
	}
	wait()
	if have := old.send(11, 11, 20); have != 20 {
		t.Errorf("have is %d", have)
	}
	mustScanrelay(t, "depot", "revoke", "nb-07", "--reason", "stolen", "-c", site.CentralFile)
	publish(t, site.Scanner("gate-1"), scans[250:300])
	site.Drain()
	site.Central.Kill()
	lose(t, site.CentralData, kept)

	revocations := filepath.Join(kept, "revocations.log")
	killRestore(t, site, archive)
	if out, err := scanrelay(t, "central", "-c", site.CentralFile); err == nil || !strings.Contains(out, "a backup was not put back to its end") {
		t.Errorf("a centre starts after a restore that was killed: %v\n%s", err, out)
	}
	mustScanrelay(t, "central", "restore", "-c", site.CentralFile, "--revocations", revocations, archive)
	site.StartCentral()

	if have := old.send(11, 16, 20); have != 20 { // it has lost five since
		t.Errorf("have is %d after the depot sent again", have)
	}
	rig.Await(t, "the log to name what no depot has any more", func() (bool, string) {
		return strings.Contains(site.Central.Log(), `"depot":"sh-02","epoch":"00000000000000bb","from":11,"to":15`), ""
	})
	publish(t, site.Scanner("gate-1"), scans[300:])
	site.Drain()
	awaitPaths(t, site, parcels, 8)
	site.Audit(rig.Allow{Unreachable: true})
	if missing := site.Metric(site.CentralHTTP, "scanrelay_central_missing_seconds"); missing <= 0 {
		t.Errorf("the centre does not know that imports may be missing: %v", missing)
	}
	if out := mustScanrelay(t, "depot", "show", "nb-07", "-c", site.CentralFile); !strings.Contains(out, "revoked") {
		t.Errorf("who was revoked since is let in again:\n%s", out)
	}
	if out := mustScanrelay(t, "central", "audit", "-c", site.CentralFile); !strings.Contains(out, "store.restore") || !strings.Contains(out, "depot.add") {
		t.Errorf("the audit log:\n%s", out)
	}
	site.Central.Stop()
	mustScanrelay(t, "central", "check", "-c", site.CentralFile)
	if strings.Contains(site.Central.Log(), "DATA RACE") {
		t.Error("a data race")
	}
}

// forgetfulDepot is sh-02, by whoever has its credential.
type forgetfulDepot struct {
	t    *testing.T
	site *rig.Site
}

// send syncs events of its numbers, and says that it has none between from and the
// first. It returns what the centre has then.
func (d forgetfulDepot) send(from, first, last uint64) uint64 {
	d.t.Helper()
	var events []string
	for seq := first; seq <= last; seq++ {
		events = append(events, fmt.Sprintf(`{"seq":%d,"event_id":"b%[1]d","waybill_id":"SF9000000000%03[1]d","action_time":%d,"action_type":200001,"action_msg":"到达","received_at":%[2]d}`,
			seq, time.Now().Unix()))
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, err := fmt.Fprintf(z, `{"v":1,"epoch":"00000000000000bb","next_seq":%d,"from":%d,"events":[%s]}`, last+1, from, strings.Join(events, ","))
	if err := errors.Join(err, z.Close()); err != nil {
		d.t.Fatal(err)
	}
	code, body := d.site.Ask(http.MethodPost, "/v1/sync", rig.OtherToken, &zipped, "Content-Encoding", "gzip")
	var answer struct{ Have uint64 }
	if err := json.Unmarshal(body, &answer); code != http.StatusOK || err != nil {
		d.t.Fatalf("sync: HTTP %d: %s", code, body)
	}
	return answer.Have
}

// lose empties a folder, but for revocations.log, which was kept elsewhere, and the
// master key, which was put there again.
func lose(t *testing.T, dir, kept string) {
	t.Helper()
	err := os.Rename(filepath.Join(dir, "revocations.log"), filepath.Join(kept, "revocations.log"))
	entries, err2 := os.ReadDir(dir)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() == "centre.key" {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
}

// killRestore kills a restore that has read half of the archive.
func killRestore(t *testing.T, site *rig.Site, archive string) {
	t.Helper()
	whole, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	restore := exec.CommandContext(t.Context(), plainBinary, "central", "restore", "-c", site.CentralFile, "--without-revocations", "-")
	in, err := restore.StdinPipe()
	if err == nil {
		err = restore.Start()
	}
	if err == nil {
		_, err = in.Write(whole[:len(whole)/2])
	}
	if err != nil {
		t.Fatal(err)
	}
	rig.Await(t, "the restore to be under way", func() (bool, string) {
		entries, _ := os.ReadDir(filepath.Join(site.CentralData, "restore.unfinished"))
		return len(entries) > 0, fmt.Sprint(entries)
	})
	_ = restore.Process.Kill()
	_ = restore.Wait()
	for _, name := range []string{"log.db", "waybills.db", "identity.log"} {
		if _, err := os.Stat(filepath.Join(site.CentralData, name)); err == nil {
			t.Errorf("%s was put in place before all was read", name)
		}
	}
}

// awaitPaths waits until WeChat is answered all nodes of each parcel.
func awaitPaths(t *testing.T, site *rig.Site, parcels []*rig.Parcel, nodes int) {
	t.Helper()
	rig.Await(t, "the centre to have all again", func() (bool, string) {
		for _, p := range parcels {
			if l := site.WeChat.Ask(p.ID, p.Sender.Phone, p.Receiver.Phone); l.Errcode != 0 || len(l.Reply.Path) < nodes {
				return false, fmt.Sprintf("%d nodes: %d %s", len(l.Reply.Path), l.Errcode, l.Problem)
			}
		}
		return true, ""
	})
}

// TestBackupNoRoom: a backup onto a disk that is full says so and leaves nothing.
func TestBackupNoRoom(t *testing.T) {
	t.Parallel()
	site := newSite(t, rig.Options{Binary: plainBinary, Embedded: true})
	site.StartCentral()
	site.Import(rig.Traffic(rig.Chance(32, "no room"), "YT", 500))
	dir := t.TempDir()
	for _, to := range []string{"--to " + filepath.Join(dir, "centre.backup"), "--to - > " + filepath.Join(dir, "stream")} {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", "ulimit -f 8; exec "+plainBinary+" central backup -c "+site.CentralFile+" "+to)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "file too large") {
			t.Errorf("%s: %v\n%s", to, err, out)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 || left[0].Name() != "stream" {
		t.Errorf("left are %v, %v", left, err)
	}
	if out, err := scanrelay(t, "central", "restore", "--check", filepath.Join(dir, "stream")); err == nil || !strings.Contains(out, "damaged or cut off") {
		t.Errorf("a part of a stream: %v\n%s", err, out)
	}
	site.Central.Stop()
}
