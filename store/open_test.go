package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/durable"
	"scanrelay/store/format"
	"scanrelay/store/quarantine"
)

func TestFolderInUse(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir, small(newTestClock()))
	if _, err := Open(dir, small(newTestClock())); !errors.Is(err, ErrInUse) {
		t.Errorf("second writer: %v", err)
	}
	if _, err := OpenReadOnly(dir); !errors.Is(err, ErrInUse) {
		t.Errorf("reader beside a writer: %v", err)
	}
	closeChecked(t, o)
	r1, err := OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	r2, err := OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	// A writer waits for short readers.
	opened := make(chan error, 1)
	go func() {
		o, err := Open(dir, small(newTestClock()))
		if err == nil {
			err = o.Close(context.Background())
		}
		opened <- err
	}()
	if err := errors.Join(r1.Close(), r2.Close(), <-opened); err != nil {
		t.Error(err)
	}
}

func TestReadOnlyWithoutOutbox(t *testing.T) {
	if _, err := OpenReadOnly(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// A reader changes nothing on disk.
func TestReaderChangesNothing(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir, small(newTestClock()))
	appendN(t, o, 10)
	closeChecked(t, o)
	before := contents(t, dir)
	r, err := OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	all(t, r, Filter{})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for name, content := range contents(t, dir) {
		if before[name] != content {
			t.Errorf("%s was changed", name)
		}
	}
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a register that just got its name
		}
		if err != nil {
			t.Fatal(err)
		}
		got[f] = string(b)
	}
	return got
}

// A file of a newer version is refused with its own sentinel, and not set aside
// as damaged.
func TestNewerFileIsRefused(t *testing.T) {
	for _, name := range []string{format.Name(1), quarantine.FileName} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			o := open(t, dir, small(newTestClock()))
			closeChecked(t, o)
			path := filepath.Join(dir, name)
			db, err := bolt.Open(path, 0o600, boltpage.Options(format.MinSize))
			if err != nil {
				t.Fatal(err)
			}
			m := codec.FileMeta{Format: codec.Version + 1, Number: 1, First: 1, Size: format.MinSize}
			err = db.Update(func(tx *bolt.Tx) error { return tx.Bucket(codec.MetaBucket).Put(codec.MetaKey, m.Encode()) })
			if err := errors.Join(err, db.Close()); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(dir, small(newTestClock())); !errors.Is(err, ErrNewer) {
				t.Errorf("open: %v", err)
			}
			if _, err := OpenReadOnly(dir); !errors.Is(err, ErrNewer) {
				t.Errorf("read only: %v", err)
			}
			if _, err := os.Stat(path); err != nil {
				t.Error(err)
			}
		})
	}
}

// What says how the folder was left is refused, too, if it is newer, before
// anything is changed; a damaged one is passed for none.
func TestNewerAndDamagedState(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir, small(newTestClock()))
	appendN(t, o, 3)
	closeChecked(t, o)
	path := filepath.Join(dir, stateName)
	good, err := os.ReadFile(path)
	if err != nil || good[0] != codec.Version {
		t.Fatalf("%x, %v", good, err)
	}
	newer := codec.Frame([]byte("marks"), []byte{codec.Version + 1, 7, 7})
	before := contents(t, dir)
	if err := os.WriteFile(path, newer, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, small(newTestClock())); !errors.Is(err, ErrNewer) {
		t.Errorf("open: %v", err)
	}
	if _, err := OpenReadOnly(dir); !errors.Is(err, ErrNewer) {
		t.Errorf("read only: %v", err)
	}
	for name, content := range contents(t, dir) {
		if name != path && before[name] != content {
			t.Errorf("%s was changed", name)
		}
	}
	good[len(good)/2] ^= 4
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	o = open(t, dir, small(newTestClock()))
	if n := len(all(t, o, Filter{})); n != 3 || o.Counts().Damaged != "" {
		t.Errorf("%d records, damaged: %q", n, o.Counts().Damaged)
	}
}

func TestCloneTakesNewEpoch(t *testing.T) {
	dir := t.TempDir()
	opts := small(newTestClock())
	epochs := map[uint64]bool{}
	for _, machine := range []string{"m1", "m1", "m2", "m2", ""} {
		opts.MachineID = machine
		o := open(t, dir, opts)
		mustAppend(t, o, newEvent("W", machine+time.Now().String(), 1))
		epochs[o.Counts().Epoch] = true
		closeChecked(t, o)
	}
	if len(epochs) != 2 {
		t.Errorf("%d epochs, want one for each machine", len(epochs))
	}
}

// The ids of what is synced stay; what is unsynced is relabelled. That the end of the
// store is lost is told until a person takes the note away.
func TestNewEpoch(t *testing.T) {
	dir := t.TempDir()
	c := newTestClock()
	o := open(t, dir, small(c))
	appendN(t, o, 4)
	if err := o.Synced(2, nil, nil); err != nil {
		t.Fatal(err)
	}
	old := o.Counts().Epoch
	if err := o.NewEpoch("the centre knows another event under our number"); err != nil {
		t.Fatal(err)
	}
	told := func() bool { return strings.Contains(o.Counts().Damaged, "what was acknowledged since is not here") }
	if !told() {
		t.Errorf("the store does not tell that its end is lost: %q", o.Counts().Damaged)
	}
	closeChecked(t, o)
	o = open(t, dir, small(c))
	now := o.Counts().Epoch
	if now == old {
		t.Fatal("the epoch is the old one")
	}
	if !told() {
		t.Errorf("after a restart it does not tell that its end is lost: %q", o.Counts().Damaged)
	}
	closeChecked(t, o)
	if err := os.Remove(filepath.Join(dir, lostEnd)); err != nil {
		t.Fatal(err)
	}
	if o = open(t, dir, small(c)); o.Counts().Damaged != "" {
		t.Errorf("it tells what nobody wants to hear any more: %q", o.Counts().Damaged)
	}
	for _, r := range all(t, o, Filter{}) {
		if want := map[bool]uint64{true: old, false: now}[r.ID.Seq <= 2]; r.ID.Epoch != want {
			t.Errorf("%d has epoch %x, want %x", r.ID.Seq, r.ID.Epoch, want)
		}
	}
}

func TestTooSmall(t *testing.T) {
	if _, err := Open(t.TempDir(), Options{MaxSize: 1 << 20}); err == nil {
		t.Error("1 MiB is enough")
	}
}

// What an interrupted creation left is removed; a segment is there whole or not
// at all.
func TestInterruptedCreation(t *testing.T) {
	dir := t.TempDir()
	temp := filepath.Join(dir, format.Name(1)+durable.TempSuffix)
	if err := os.WriteFile(temp, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := open(t, dir, small(newTestClock()))
	mustAppend(t, o, newEvent("W", "e", 1))
	if _, err := os.Stat(temp); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("temporary file: %v", err)
	}
}

// The watermark reaches the disk by itself within 5 s, and at a stop.
func TestWatermarkIsWrittenLazily(t *testing.T) {
	dir := t.TempDir()
	c := newTestClock()
	o := open(t, dir, small(c))
	appendN(t, o, 3)
	syncAll(t, o)
	if by := o.flushBy(); by.IsZero() || time.Until(by) > watermarkLag {
		t.Errorf("written by %v", by)
	}
	mustAppend(t, o, newEvent("W", "x", 1)) // a commit takes it along
	if by := o.flushBy(); !by.IsZero() {
		t.Errorf("still to be written by %v", by)
	}
	if err := o.Synced(4, nil, nil); err != nil {
		t.Fatal(err)
	}
	closeChecked(t, o)
	o = open(t, dir, small(c))
	if w := o.Counts().Watermark; w != 4 {
		t.Errorf("watermark %d", w)
	}
}
