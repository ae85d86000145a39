package identity

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"scanrelay/agent/scan"
	"scanrelay/store/durable"
)

// open opens a journal; the one before in that folder is closed.
func open(t *testing.T, dir string, before ...*Journal) (*Journal, *bytes.Buffer) {
	t.Helper()
	for _, j := range before {
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	log := &bytes.Buffer{}
	j, err := OpenJournal(dir, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() }) // some tests have closed it
	return j, log
}

func put(t *testing.T, j *Journal, id scan.DepotID, name string) {
	t.Helper()
	if err := j.Update(t.Context(), func(t Tx) error { return t.PutDepot(&Registration{ID: id, Name: name}) }); err != nil {
		t.Fatal(err)
	}
}

// names is what a journal knows.
func names(t *testing.T, j *Journal) string {
	t.Helper()
	var list []string
	err := j.View(t.Context(), func(t Tx) error {
		return t.Depots(func(r *Registration) error { list = append(list, string(r.ID)+"="+r.Name); return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(list, " ")
}

// TestJournalSurvivesAPowerCut: whatever is there of the last line, what was answered
// before it is kept, and the next line is whole.
func TestJournalSurvivesAPowerCut(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	put(t, j, "a", "1")
	whole, err := os.ReadFile(j.path())
	if err != nil {
		t.Fatal(err)
	}
	put(t, j, "a", "2")
	more, err := os.ReadFile(j.path())
	if err != nil {
		t.Fatal(err)
	}
	secret, again := bytes.Clone(j.secret), j
	for n := len(whole); n < len(more); n++ {
		if err := os.WriteFile(j.path(), more[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		var log *bytes.Buffer
		again, log = open(t, dir, again)
		if got := names(t, again); got != "a=1" || log.Len() > 0 || !bytes.Equal(again.secret, secret) {
			t.Fatalf("cut at %d: %s, %s", n, got, log)
		}
		put(t, again, "b", "3")
		if again, _ = open(t, dir, again); names(t, again) != "a=1 b=3" {
			t.Fatalf("cut at %d, then: %s", n, names(t, again))
		}
	}
}

// TestJournalDamage: a damaged line costs what stands in it; the file is kept.
func TestJournalDamage(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	for i, id := range []scan.DepotID{"a", "b", "c"} {
		put(t, j, id, fmt.Sprint(i))
	}
	data, err := os.ReadFile(j.path())
	if err != nil {
		t.Fatal(err)
	}
	data[bytes.Index(data, []byte("depot/b"))] ^= 1
	if err := os.WriteFile(j.path(), data, 0o600); err != nil {
		t.Fatal(err)
	}
	var told []string
	if err := CheckJournal(dir, func(what string) { told = append(told, what) }); err != nil || len(told) != 1 {
		t.Errorf("a check says %q, %v", told, err)
	}
	again, log := open(t, dir, j)
	if names(t, again) != "a=0 c=2" || !strings.Contains(log.String(), "lines=1") {
		t.Errorf("%s; %s", names(t, again), log)
	}
	if kept, err := os.ReadFile(filepath.Join(dir, JournalName+durable.AsideSuffix)); err != nil || !bytes.Equal(kept, data) {
		t.Errorf("the damaged file is not kept: %v", err)
	}
	if again, log = open(t, dir, again); names(t, again) != "a=0 c=2" || log.Len() > 0 {
		t.Errorf("once more: %s; %s", names(t, again), log)
	}
}

// TestJournalDamagedEnd: what no power cut leaves at the end is no line that was never
// answered: it is told, and kept.
func TestJournalDamagedEnd(t *testing.T) {
	for _, from := range []string{"0", "depot/b"} {
		dir := t.TempDir()
		j, _ := open(t, dir)
		for _, id := range []scan.DepotID{"a", "b", "c"} {
			put(t, j, id, "1")
		}
		data, err := os.ReadFile(j.path())
		if err != nil {
			t.Fatal(err)
		}
		clear(data[bytes.Index(data, []byte(from)):])
		if err := os.WriteFile(j.path(), data, 0o600); err != nil {
			t.Fatal(err)
		}
		again, log := open(t, dir, j)
		if !strings.Contains(log.String(), "lines=1") {
			t.Errorf("zeroed from %q on: nothing is told: %s", from, log)
		}
		if kept, err := os.ReadFile(filepath.Join(dir, JournalName+durable.AsideSuffix)); err != nil || !bytes.Equal(kept, data) {
			t.Errorf("zeroed from %q on: the damaged file is not kept: %v", from, err)
		}
		put(t, again, "d", "2")
		if again, log = open(t, dir, again); !strings.HasSuffix(names(t, again), "d=2") || log.Len() > 0 {
			t.Errorf("zeroed from %q on, once more: %s; %s", from, names(t, again), log)
		}
	}
}

// TestJournalOfANewerVersion is refused with both numbers, and left as it is.
func TestJournalOfANewerVersion(t *testing.T) {
	dir := t.TempDir()
	text, err := formatLine(line{Version: journalVersion + 1})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, JournalName)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = OpenJournal(dir, slog.New(slog.DiscardHandler))
	if !errors.Is(err, durable.ErrNewer) || !strings.Contains(err.Error(), "version 2, this one knows 1") {
		t.Error(err)
	}
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, text) {
		t.Errorf("it was changed (%v)", err)
	}
}

// TestJournalStaysSmall: sessions of years take no more than what they leave.
func TestJournalStaysSmall(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	put(t, j, "b", "stays")
	long := strings.Repeat("x", 400<<10)
	for i := range 12 {
		put(t, j, "a", fmt.Sprint(long, i))
		if st, err := os.Stat(j.path()); err != nil || st.Size() > 3<<20 {
			t.Fatalf("%d bytes, %v", st.Size(), err)
		}
	}
	put(t, j, "a", "short")
	if again, _ := open(t, dir, j); names(t, again) != "a=short b=stays" {
		t.Error(names(t, again))
	}
}

// TestJournalWithoutRoom: what cannot be written is not taken, and the next is.
func TestJournalWithoutRoom(t *testing.T) {
	j, _ := open(t, t.TempDir())
	put(t, j, "a", "1")
	good := j.f
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	j.f = full
	if err := j.Update(t.Context(), func(t Tx) error { return t.PutDepot(&Registration{ID: "b"}) }); err == nil {
		t.Error("taken without room")
	}
	if err := full.Close(); err != nil {
		t.Fatal(err)
	}
	j.f = good
	if put(t, j, "c", "3"); names(t, j) != "a=1 c=3" {
		t.Error(names(t, j))
	}
}

// TestJournalWithoutADisk: what is there is read where nothing can be written, and is
// written to again once it can be. Folders in the place of files stand for that disk.
func TestJournalWithoutADisk(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	put(t, j, "a", "1")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j.f, j.size, j.broken = nil, 0, nil // as opened where it could not be written
	inTheWay := filepath.Join(dir, JournalName+durable.TempSuffix)
	if err := os.MkdirAll(filepath.Join(inTheWay, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	fails := func() error {
		return j.Update(t.Context(), func(t Tx) error { return t.PutDepot(&Registration{ID: "b"}) })
	}
	if err := fails(); err == nil || names(t, j) != "a=1" {
		t.Errorf("%v; %s", err, names(t, j))
	}
	if err := os.RemoveAll(inTheWay); err != nil {
		t.Fatal(err)
	}
	put(t, j, "c", "3")
	if again, _ := open(t, dir, j); names(t, again) != "a=1 c=3" {
		t.Error(names(t, again))
	}
}

// TestJournalThatLostItsName: nothing is answered that goes to a file which the next
// start does not read.
func TestJournalThatLostItsName(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	put(t, j, "a", "1")
	backup, err := os.ReadFile(j.path())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(j.path()); err != nil {
		t.Fatal(err)
	}
	put(t, j, "b", "2") // made anew
	if again, _ := open(t, dir, j); names(t, again) != "a=1 b=2" {
		t.Errorf("taken away: %s", names(t, again))
	} else {
		j = again
	}
	if err := durable.Create(j.path(), backup); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		err = j.Update(t.Context(), func(t Tx) error { return t.PutDepot(&Registration{ID: "c"}) })
		if err == nil || !strings.Contains(err.Error(), "stop the centre before a backup is put back") {
			t.Errorf("replaced: %v", err)
		}
	}
	if again, _ := open(t, dir, j); names(t, again) != "a=1" {
		t.Errorf("the backup: %s", names(t, again))
	}
}
