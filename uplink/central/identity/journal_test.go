package identity

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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

// hold keeps the journal from writing; those who change something wait, and release
// lets them go on once so many do.
func hold(t *testing.T, j *Journal) (release func(waiting int)) {
	t.Helper()
	j.writing <- struct{}{}
	return func(waiting int) {
		t.Helper()
		for end := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Millisecond) {
			j.queue.Lock()
			n := len(j.waiting)
			j.queue.Unlock()
			if n == waiting {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%d changes wait, not %d", n, waiting)
			}
		}
		<-j.writing
	}
}

// TestJournalGivesUp: who waits for a slow disk waits no longer than he wants to, and
// what he was told has failed is not done.
func TestJournalGivesUp(t *testing.T) {
	j, _ := open(t, t.TempDir())
	release := hold(t, j)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 { // before it waits, and when it is its turn
		err := j.Update(ctx, func(Tx) error { t.Error("a change was made that nobody waits for"); return nil })
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if len(j.writing) > 0 {
			release(0)
		}
	}
	if put(t, j, "a", "1"); names(t, j) != "a=1" {
		t.Error(names(t, j))
	}
}

// TestJournalWave: changes that wait are synced together, each on what those before
// it put; one that is refused, or makes its caller panic, harms no other.
func TestJournalWave(t *testing.T) {
	const wave = 2 * maxGroup
	dir := t.TempDir()
	j, _ := open(t, dir)
	put(t, j, "counter", "x")
	syncs := 0
	j.sync = func(f *os.File) error { syncs++; return f.Sync() }
	release := hold(t, j)
	refused := errors.New("refused")
	var failed, unfinished atomic.Int32
	var all sync.WaitGroup
	for i := range wave {
		all.Go(func() {
			err := j.Update(t.Context(), func(t Tx) error {
				r, err := t.Depot("counter")
				if err == nil {
					r.Name += "x"
					err = t.PutDepot(r)
				}
				if err == nil && i%4 == 0 {
					err = refused
				}
				return err
			})
			if errors.Is(err, refused) {
				failed.Add(1)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	release(wave)
	all.Wait()
	if want := "counter=" + strings.Repeat("x", 1+wave-wave/4); names(t, j) != want || failed.Load() != wave/4 {
		t.Errorf("%s after %d refusals", names(t, j), failed.Load())
	}
	if syncs != wave/maxGroup {
		t.Errorf("%d syncs", syncs)
	}
	release = hold(t, j)
	for i := range 3 {
		all.Go(func() {
			defer func() { _ = recover() }()
			err := j.Update(t.Context(), func(t Tx) error {
				if i == 0 {
					panic("a change")
				}
				return t.PutDepot(&Registration{ID: "b"})
			})
			if errors.Is(err, errUnfinished) {
				unfinished.Add(1)
			}
		})
	}
	release(3)
	all.Wait()
	put(t, j, "a", "1")
	before := names(t, j)
	if again, _ := open(t, dir, j); names(t, again) != before || !strings.HasPrefix(before, "a=1 counter") || unfinished.Load() != 2 {
		t.Errorf("%s, then %s; %d are unfinished", before, names(t, again), unfinished.Load())
	}
}

// TestJournalWaveWithoutRoom: nobody is told of what another put that was not kept.
func TestJournalWaveWithoutRoom(t *testing.T) {
	j, _ := open(t, t.TempDir())
	release := hold(t, j)
	var all sync.WaitGroup
	errs := make([]error, 10)
	for i := range errs {
		all.Go(func() {
			errs[i] = j.Update(t.Context(), func(t Tx) error {
				r, err := t.Depot("a")
				if err != nil || r != nil {
					return err // it is there: nothing to do
				}
				return t.PutDepot(&Registration{ID: "a"})
			})
		})
	}
	j.sync = func(*os.File) error { return errors.New("no disk") }
	release(len(errs))
	all.Wait()
	for _, err := range errs {
		if err == nil || !strings.Contains(err.Error(), "no disk") {
			t.Errorf("told: %v", err)
		}
	}
}
