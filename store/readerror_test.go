package store

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/store/boltpage"
	"scanrelay/store/durable"
	"scanrelay/store/event"
	"scanrelay/store/format"
	"scanrelay/store/internal/storetest"
)

// failPage has a page of a segment fail to be read, until the returned function is
// called.
func failPage(t *testing.T, dir string, segment uint64, page int64) (mend func()) {
	t.Helper()
	file, err := os.Stat(filepath.Join(dir, format.Name(segment)))
	if err != nil {
		t.Fatal(err)
	}
	var mended atomic.Bool
	t.Cleanup(durable.FailReads(func(path string, at int64) error {
		if mended.Load() || at != page*boltpage.PageSize {
			return nil
		}
		if now, err := os.Stat(path); err == nil && os.SameFile(file, now) { // whatever its name
			return syscall.EIO
		}
		return nil
	}))
	return func() { mended.Store(true) }
}

// A disk that cannot read for a few seconds, whatever it is asked, costs nothing
// but these seconds: nothing is lost, set aside, or named as damaged.
func TestDiskThatIsBusyForSeconds(t *testing.T) {
	w := newDamagedWorld(t)
	for _, clean := range []bool{true, false} {
		dir := fastDir(t)
		w.copyTo(t, dir, clean)
		synctest.Test(t, func(t *testing.T) {
			var reads atomic.Int64
			until := time.Now().Add(5 * time.Second)
			defer durable.FailReads(func(string, int64) error {
				if n := reads.Add(1); time.Now().Before(until) || n%7 == 0 {
					return syscall.EIO
				}
				return nil
			})()
			lost, named := w.checkNamed(t, dir, "busy")
			if lost != 0 || named != "" {
				t.Errorf("%d lost, damaged: %q", lost, named)
			}
			if aside, _ := durable.Aside(dir, ""); len(aside) > 0 {
				t.Errorf("set aside: %v", aside)
			}
		})
	}
}

// What could not be read for so long that the disk was believed is named and set
// aside, and is looked at again at the next start: what can be read then is back
// in its place, goes to the centre, and is pushed.
func TestSetAsideIsLookedAtAgain(t *testing.T) {
	for _, segment := range []uint64{1, 3} {
		w := newDamagedWorld(t)
		leaves := storetest.PagesOf(t, filepath.Join(w.dir, format.Name(segment))).Kinds["lower events leaf"]
		synctest.Test(t, func(t *testing.T) {
			if segment == 1 { // what is sealed is looked at whole where damage was met
				meetDamage(t, w, 0)
			}
			mend := failPage(t, w.dir, segment, leaves[len(leaves)/2])
			o := open(t, w.dir, small(w.clock))
			if d := o.Counts().Damaged; !strings.Contains(d, " lost: ") {
				t.Fatalf("segment %d: damaged: %q", segment, d)
			}
			syncAll(t, o)
			pushAll(t, o)
			dead := o.Counts().State[event.Dead]
			readable := len(all(t, o, Filter{}))
			if readable == len(w.states) {
				t.Fatal("nothing was lost")
			}
			closeChecked(t, o)
			mend()
			o = open(t, w.dir, small(w.clock))
			if n := len(all(t, o, Filter{})); n != len(w.states) {
				t.Errorf("segment %d: %d records can be read, then %d, of %d", segment, readable, n, len(w.states))
			}
			syncAll(t, o)
			pushAll(t, o)
			if c := o.Counts(); c.State[event.Dead] > dead || c.State[event.Unsynced]+c.State[event.ToPush] > 0 {
				t.Errorf("segment %d: %d dead letters before, now %+v", segment, dead, c)
			}
			dead0 := event.Dead
			for _, r := range all(t, o, Filter{State: &dead0}) {
				if r.Last.Reason == event.ReasonUnread {
					t.Errorf("segment %d: %s is a dead letter still", segment, r.Event.EventID)
				}
			}
			if d := o.Counts().Damaged; !strings.Contains(d, "none lost") {
				t.Errorf("segment %d: damaged: %q", segment, d)
			}
			closeChecked(t, o)
			if r := mustCheck(t, w.dir); len(r.Files[0].Problems) > 0 {
				t.Errorf("%+v", r.Files[0])
			}
		})
	}
}

// A sealed segment's page cannot be read when its events are leased, for longer
// than the disk is asked: they become dead letters, nobody is held up, and the next
// start, which can read them, puts them back.
func TestReadErrorMetByALease(t *testing.T) {
	const n = 3000
	dir, clock := fastDir(t), newTestClock()
	o := open(t, dir, paged(clock, 16))
	fillMany(t, o, n)
	syncAll(t, o)
	closeChecked(t, o)
	leaves := storetest.PagesOf(t, filepath.Join(dir, format.Name(2))).Kinds["lower events leaf"]
	synctest.Test(t, func(t *testing.T) {
		mend := failPage(t, dir, 2, leaves[len(leaves)/2])
		o := open(t, dir, paged(clock, 16))
		pushed := pushAll(t, o)
		dead := int(o.Counts().State[event.Dead])
		if dead == 0 || pushed+dead != n {
			t.Fatalf("%d pushed, %d dead", pushed, dead)
		}
		closeChecked(t, o)
		mend()
		o = open(t, dir, paged(clock, 16))
		syncAll(t, o)
		if again := pushAll(t, o); again != dead {
			t.Errorf("%d of %d were pushed then", again, dead)
		}
		closeChecked(t, o)
	})
}

// What cannot be read when the centre is to have it is not pushed either: it would
// be told of what the centre does not know.
func TestUnreadableIsNotPushedUnsynced(t *testing.T) {
	dir := fastDir(t)
	o := open(t, dir, small(newTestClock()))
	mustAppend(t, o, newEvent("W1", "a", 1), newEvent("W2", "b", 2))
	damage(t, o, 1)
	if u, err := o.Unsynced(10, 1<<20); err != nil || len(u) != 1 {
		t.Fatal(u, err)
	}
	eventually(t, "it is a dead letter, and told", func() bool {
		c := o.Counts()
		return c.State[event.Dead] == 1 && strings.Contains(c.Damaged, "cannot be read")
	})
}

// A crash right after a rebuild, before anything was decided about it: the next
// start says what was lost, and takes a new epoch.
func TestCrashAfterARebuild(t *testing.T) {
	for _, segment := range []uint64{1, 3} {
		for _, whole := range []bool{false, true} {
			w := newDamagedWorld(t)
			at, n := int64(4), 14
			if whole { // nothing is left of it
				at, n = 0, 256
			}
			overwrite(t, filepath.Join(w.dir, format.Name(segment)), at*boltpage.PageSize, n*boltpage.PageSize)
			if err := os.RemoveAll(filepath.Join(w.dir, checkpointName)); err != nil { // by it a start may leave the damage out
				t.Fatal(err)
			}
			loadAndCrash(t, w.dir, small(w.clock))
			aside, _ := durable.Aside(w.dir, "")
			o := open(t, w.dir, small(w.clock))
			c := o.Counts()
			if len(aside) > 0 && !strings.Contains(c.Damaged, filepath.Base(aside[0])) {
				t.Errorf("segment %d, whole %t: set aside: %v, damaged: %q", segment, whole, aside, c.Damaged)
			}
			if segment == 3 && (len(aside) == 0 || c.Epoch == w.epoch) {
				t.Errorf("set aside: %v; the epoch is the old one: %t", aside, c.Epoch == w.epoch)
			}
			if last := newest(o).Number; segment == 3 && last <= 3 {
				t.Errorf("segment %d, whole %t: the newest is %d", segment, whole, last)
			}
			closeChecked(t, o)
			if o = open(t, w.dir, small(w.clock)); o.Counts().Epoch != c.Epoch || strings.Count(o.Counts().Damaged, "was damaged") > 1 {
				t.Errorf("a start later: damaged: %q", o.Counts().Damaged)
			}
		}
	}
}
