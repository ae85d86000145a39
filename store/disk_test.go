package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/store/boltpage"
	"scanrelay/store/crypt"
	"scanrelay/store/durable"
	"scanrelay/store/event"
	"scanrelay/store/format"
)

// fillDisk has the keys' file refuse every byte, until the returned function is
// called.
func fillDisk(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, crypt.FileName)
	if err := errors.Join(os.Rename(path, path+".kept"), os.Symlink("/dev/full", path)); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := errors.Join(os.Remove(path), os.Rename(path+".kept", path)); err != nil {
			t.Fatal(err)
		}
	}
}

// There are file systems that need room even to overwrite: where a key cannot
// be saved for lack of it, no segment is begun, and the outbox is full; one that
// cannot be destroyed yet is destroyed as soon as there is room.
func TestKeysWithoutRoom(t *testing.T) {
	dir := t.TempDir()
	c := newTestClock()
	o := open(t, dir, small(c))
	appendN(t, o, 3)
	syncAll(t, o)
	pushAll(t, o)
	free := fillDisk(t, dir)
	if err := o.roll(); !errors.Is(err, errNoSpace) || o.Err() != nil {
		t.Fatalf("roll: %v, %v", err, o.Err())
	}
	free()
	roll(t, o)
	c.advance(200 * time.Hour)
	free = fillDisk(t, dir)
	o.retire()
	if o.Err() != nil || segmentFiles(t, dir) != 1 {
		t.Fatalf("retire: %v, %d segments", o.Err(), segmentFiles(t, dir))
	}
	free()
	if o.retire(); o.Err() != nil {
		t.Fatal(o.Err())
	}
	r, err := crypt.Open(dir, true, false)
	if err != nil || !r.Whole() || r.Cipher(1) != nil || r.Cipher(2) == nil {
		t.Errorf("the first segment's key is there: %v", err)
	}
}

// A sealed segment that cannot be read any more, as on a failing disk, faults
// the memory map. Nobody dies of it, and the newest one goes on.
func TestSealedSegmentFaults(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir, small(newTestClock()))
	for i := range 40 {
		mustAppend(t, o, padded("W", string(rune('a'+i%26))+string(rune('a'+i/26)), 1, 2000))
	}
	syncAll(t, o)
	roll(t, o)
	mustAppend(t, o, newEvent("W2", "new", 2))
	syncAll(t, o)
	if err := os.Truncate(filepath.Join(dir, format.Name(1)), 4*boltpage.PageSize); err != nil {
		t.Fatal(err)
	}
	_, err := o.Unsynced(10, 1<<20)
	if err != nil {
		t.Errorf("unsynced: %v", err)
	}
	if n := pushAll(t, o); n > 41 || n == 0 {
		t.Errorf("%d pushed", n)
	}
	if err := o.Scan(context.Background(), Filter{}, func(event.Record) error { return nil }); err != nil && !errors.Is(err, ErrDamaged) {
		t.Errorf("scan: %v", err)
	}
	mustAppend(t, o, newEvent("W3", "newer", 3))
	if o.Err() != nil {
		t.Error(o.Err())
	}
	checkSum(t, o.Counts())
	if err := o.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// Where nothing of a segment can be read for the disk's sake, it is not set
// aside: the file may be whole, and the next start may read it.
func TestUnreadableDiskIsNoDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the disk is asked again for seconds
		dir := t.TempDir()
		o := open(t, dir, small(newTestClock()))
		mustAppend(t, o, newEvent("W", "e", 1))
		closeChecked(t, o)
		segment := filepath.Join(dir, format.Name(1))
		well := durable.FailReads(func(path string, _ int64) error {
			if path == segment {
				return syscall.EIO
			}
			return nil
		})
		if _, err := Open(dir, small(newTestClock())); err == nil || errors.Is(err, ErrDamaged) {
			t.Errorf("open: %v", err)
		}
		if aside, _ := filepath.Glob(filepath.Join(dir, "*"+durable.AsideSuffix+"*")); len(aside) > 0 {
			t.Errorf("set aside: %v", aside)
		}
		well()
		o = open(t, dir, small(newTestClock()))
		if n := len(all(t, o, Filter{})); n != 1 || o.Counts().Damaged != "" {
			t.Errorf("%d records, damaged %q", n, o.Counts().Damaged)
		}
	})
}
