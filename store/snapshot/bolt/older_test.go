package bolt_test

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/bolt"
	"scanrelay/store/snapshot/boltfile"
)

// TestOlderFolder opens files that commit 7b28d06 wrote, half of it merged, the
// other half in the log: everything reads as that commit read it, before and
// after the rest is merged, and in a copy as well.
func TestOlderFolder(t *testing.T) {
	dir := t.TempDir()
	unpack(t, "testdata/7b28d06.tar.gz", dir)
	c := bolt.CopyTo(t, nil)
	if err := boltfile.CopyFolder(t.Context(), dir, time.Now(), c); err != nil {
		t.Fatal(err)
	}
	asItWas(t, dir)
	asItWas(t, c.Folder())
}

func asItWas(t *testing.T, dir string) {
	t.Helper()
	expected, err := os.ReadFile("testdata/7b28d06.txt")
	if err != nil {
		t.Fatal(err)
	}
	first, rest, _ := strings.Cut(string(expected), "\n")
	for round := range 3 {
		s, err := bolt.Open(dir, bolt.Options{MergeEvery: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		st, err := s.Stats(t.Context())
		if line := fmt.Sprintln("stats", st.Waybills, st.Tail, st.Damage); err != nil || round == 0 && line != first+"\n" {
			t.Errorf("%q, %v; want %q", line, err, first)
		}
		if got := dump(t, s); got != rest {
			t.Errorf("round %d: not as it was written:\n%s", round, got)
		}
		if _, err := s.Forget(t.Context(), snapshot.Retention{Keep: 1 << 60}); err != nil { // merges
			t.Fatal(err)
		}
		if st, err := s.Stats(t.Context()); err != nil || st.Tail > 0 {
			t.Errorf("%d records are not merged, %v", st.Tail, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOlderNeedsNoRoom: files of an older format are served as they are, as on a
// disk that is full, until something is written to them; reading changes nothing.
func TestOlderNeedsNoRoom(t *testing.T) {
	dir := t.TempDir()
	unpack(t, "testdata/7b28d06.tar.gz", dir)
	expected, err := os.ReadFile("testdata/7b28d06.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(expected), "\n")
	files := func() (all [2]string) {
		for i, name := range []string{"log.db", "waybills.db"} {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			all[i] = string(b)
		}
		return all
	}
	before := files()
	s, err := bolt.Open(dir, bolt.Options{MergeEvery: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if got := dump(t, s); got != rest {
		t.Errorf("not as it was written:\n%s", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if files() != before {
		t.Error("a start wrote to the files")
	}
}

func unpack(t *testing.T, archive, dir string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(h.Name)), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func dump(t *testing.T, s *bolt.Store) string {
	t.Helper()
	var out strings.Builder
	for i := range 16 {
		dumpWaybill(t, &out, s, scan.WaybillID(fmt.Sprintf("YT%013d", i)))
	}
	depots, err := s.Depots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range depots {
		fmt.Fprintln(&out, d.ID, d.Epoch, d.Have, d.Events, d.At.Unix(), d.Gaps)
		var asks []snapshot.Ask
		for seq := uint64(1); seq <= 62; seq++ {
			waybill := scan.WaybillID(fmt.Sprintf("YT%013d", (seq-1)%30%15))
			asks = append(asks, snapshot.Ask{Epoch: (seq-1)/30 + 1, Seq: seq, Waybill: waybill, EventID: fmt.Sprintf("e%d", seq)})
		}
		answers, err := s.Answers(t.Context(), d.ID, asks)
		if err != nil {
			t.Fatal(err)
		}
		type said struct { // what was kept of an answer
			result  snapshot.Result
			reason  string
			hasData bool
		}
		var all []said
		for _, a := range answers {
			all = append(all, said{a.Result, a.Reason, a.HasData})
		}
		fmt.Fprintln(&out, " asked", all)
	}
	return out.String()
}

func dumpWaybill(t *testing.T, out io.Writer, s *bolt.Store, id scan.WaybillID) {
	t.Helper()
	w, ok, err := s.Lookup(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	known, err := s.Known(t.Context(), "", []scan.WaybillID{w.ID})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(out, w.ID, ok, w.Imported, w.Changed.Unix())
	if w.Data != nil {
		fmt.Fprintln(out, " data", w.Data.CreateTime, party(w.Data.Sender), party(w.Data.Receiver))
	}
	for _, n := range w.Nodes {
		fmt.Fprintln(out, " node", n.Depot, n.EventID, n.ActionTime, int(n.ActionType), n.ActionMsg.Reveal(),
			n.Pickup.Name.Reveal(), n.Delivery.Phone.Reveal(), n.Muted, n.Late)
	}
	if len(known) == 1 && known[0].Binding != nil {
		fmt.Fprintln(out, " bound", known[0].Binding.Exist, known[0].Binding.At.Unix())
	}
}

func party(p scan.Party) string {
	return fmt.Sprintf("%s|%s|%s|%s|%s|%s|%s|%s", p.Name.Reveal(), p.Phone.Reveal(), p.Province.Reveal(), p.City.Reveal(),
		p.Area.Reveal(), p.Street.Reveal(), p.Address.Reveal(), p.ID.Reveal())
}

// TestOlderIsForgotten: what that commit wrote has no entry in the index of ages,
// and goes all the same.
func TestOlderIsForgotten(t *testing.T) {
	dir := t.TempDir()
	unpack(t, "testdata/7b28d06.tar.gz", dir)
	later := time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)
	s, err := bolt.Open(dir, bolt.Options{MergeEvery: time.Hour, Now: func() time.Time { return later }})
	if err != nil {
		t.Fatal(err)
	}
	for _, depot := range []scan.DepotID{"hz-01", "sh-01"} {
		e := snapshot.Event{Seq: 199, Event: scan.Event{EventID: "late", Waybill: "YT9999999999999", ActionTime: later.Unix(), ActionType: 200001}}
		if _, err := s.Merge(t.Context(), snapshot.Batch{Depot: depot, Epoch: 2, From: 61, NextSeq: 200, Events: []snapshot.Event{e}}); err != nil {
			t.Fatal(err)
		}
	}
	var all snapshot.Forgotten
	for calls := 0; !all.Done; calls++ {
		f, err := s.Forget(t.Context(), snapshot.Retention{Keep: time.Hour})
		if err != nil || calls > 20 {
			t.Fatal(err, calls)
		}
		all.Waybills, all.Answers, all.Bindings, all.Done = all.Waybills+f.Waybills, all.Answers+f.Answers, all.Bindings+f.Bindings, f.Done
	}
	if st, err := s.Stats(t.Context()); err != nil || st.Waybills != 1 || all.Waybills != 15 || all.Answers < 100 {
		t.Errorf("forgot %+v; %+v, %v", all, st, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
