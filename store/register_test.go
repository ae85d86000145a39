package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	bolt "go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/durable"
	"scanrelay/store/format"
	"scanrelay/store/register"
)

// Whatever is wrong with a register's file, it is noticed, and made again of the
// segment.
func TestRegisterIsMadeAgain(t *testing.T) {
	t.Parallel()
	damage := map[string]func(t *testing.T, path string){
		"gone": func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
		"empty":     func(t *testing.T, path string) { truncate(t, path, 0) },
		"cut off":   func(t *testing.T, path string) { truncate(t, path, boltpage.PageSize+100) },
		"its head":  func(t *testing.T, path string) { overwrite(t, path, 3, 8) },
		"its pages": func(t *testing.T, path string) { overwrite(t, path, boltpage.PageSize, boltpage.PageSize) },
		"of a lost transaction": func(t *testing.T, path string) {
			if err := register.Write(path, 1, 1<<20, nil); err != nil {
				t.Fatal(err)
			}
		},
		"of another segment": func(t *testing.T, path string) {
			if err := register.Write(path, 99, 10, nil); err != nil {
				t.Fatal(err)
			}
		},
	}
	sound, clock := fastDir(t), newTestClock()
	o := open(t, sound, small(clock))
	for i := range 40 {
		mustAppend(t, o, padded(fmt.Sprint("W", i%10), fmt.Sprint("e", i), 1795000000, 90_000))
	}
	closeChecked(t, o)
	for name, harm := range damage {
		t.Run(name, func(t *testing.T) {
			dir := copied(t, sound)
			path := format.RegisterPath(filepath.Join(dir, format.Name(1)))
			harm(t, path)
			o := open(t, dir, small(clock))
			got, err := o.OfWaybills([]scan.WaybillID{"W3"}, 100)
			if err != nil || fmt.Sprint(seqsOf(got)) != "[4 14 24 34]" {
				t.Fatalf("%v, %v", seqsOf(got), err)
			}
			closeChecked(t, o)
			s := o.journal.Segments()[0]
			r := register.New(path, sha256.New(), s.Last+1-s.First)
			r.Open(1)
			defer r.Close()
			if !r.Saved() || !r.Whole() {
				t.Errorf("saved: %t, whole: %t", r.Saved(), r.Whole())
			}
		})
	}
}

// A register's file goes with its segment, and one that was left behind goes at
// the next start.
func TestRegistersGoWithTheirSegments(t *testing.T) {
	dir, clock := fastDir(t), newTestClock()
	o := open(t, dir, small(clock))
	for i := range 40 {
		mustAppend(t, o, padded(fmt.Sprint("W", i), "e", 1795000000, 90_000))
	}
	syncAll(t, o)
	pushAll(t, o)
	closeChecked(t, o)
	registers := func() []string {
		paths, err := filepath.Glob(filepath.Join(dir, "*"+registerSuffix))
		if err != nil {
			t.Fatal(err)
		}
		return paths
	}
	if n := len(registers()); n < 3 {
		t.Fatalf("%d registers", n)
	}
	if err := os.WriteFile(format.RegisterPath(filepath.Join(dir, format.Name(4000))), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	clock.advance(1000 * 3600e9)
	o = open(t, dir, small(clock))
	closeChecked(t, o) // the start dropped what is past retain
	if got := registers(); len(got) != 1 {
		t.Errorf("registers %v are left", got)
	}
}

func truncate(t *testing.T, path string, size int64) {
	t.Helper()
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

// The register of a transaction that was lost does not pass for right when the
// segment has as many other events.
func TestRegisterOfLostTransaction(t *testing.T) {
	dir, clock := fastDir(t), newTestClock()
	o := open(t, dir, small(clock))
	mustAppend(t, o, newEvent("W1", "e1", 1795000000))
	closeChecked(t, o)
	lost := copied(t, dir)
	o = open(t, dir, small(clock))
	mustAppend(t, o, newEvent("W2", "e2", 1795000001))
	newest(o).Register.Discard() // all of it is written anew
	if _, err := o.OfWaybills([]scan.WaybillID{"W2"}, 9); err != nil {
		t.Fatal(err)
	}
	closeChecked(t, o)
	name := format.RegisterPath(format.Name(1))
	later, err := os.ReadFile(filepath.Join(dir, name))
	if err == nil {
		err = os.WriteFile(filepath.Join(lost, name), later, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	o = open(t, lost, small(clock))
	mustAppend(t, o, newEvent("W3", "e3", 1795000002)) // in the place of W2's
	o = open(t, copied(t, lost), small(clock))
	if got, err := o.OfWaybills([]scan.WaybillID{"W3"}, 9); err != nil || len(got) != 1 {
		t.Errorf("found %v, %v", seqsOf(got), err)
	}
}

// A rebuilt segment may begin at another number: the register of before is of other
// slots then, and does not pass for its own.
func TestRebuiltSegmentHasNoRegister(t *testing.T) {
	w := newDamagedWorld(t)
	meetDamage(t, w, 1)
	overwrite(t, filepath.Join(w.dir, format.Name(2)), 4*boltpage.PageSize, 10*boltpage.PageSize)
	err := register.Write(format.RegisterPath(filepath.Join(w.dir, format.Name(2))), 2, 400, nil) // it has nothing in any slot
	if err != nil {
		t.Fatal(err)
	}
	o := open(t, w.dir, small(w.clock))
	s := o.journal.Segments()[1]
	if !s.Rebuilt {
		t.Fatal("it was not rebuilt")
	}
	found := 0
	for _, want := range all(t, o, Filter{}) {
		if want.ID.Seq < s.First || want.ID.Seq > s.Last {
			continue
		}
		found++
		got, err := o.OfWaybills([]scan.WaybillID{want.Event.Waybill}, 1<<20)
		if err != nil || !slices.Contains(seqsOf(got), want.ID.Seq) {
			t.Fatalf("%d is not among those of its waybill: %v, %v", want.ID.Seq, seqsOf(got), err)
		}
	}
	if found == 0 {
		t.Error("nothing of the segment is left")
	}
}

// A reader makes a damaged register again in memory and leaves the file alone.
func TestReaderKeepsDamagedRegister(t *testing.T) {
	dir, clock := fastDir(t), newTestClock()
	o := open(t, dir, small(clock))
	appendN(t, o, 10)
	closeChecked(t, o)
	path := format.RegisterPath(filepath.Join(dir, format.Name(1)))
	overwrite(t, path, boltpage.PageSize, boltpage.PageSize)
	r, err := OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got := all(t, r, Filter{Waybill: "W3"}); len(got) != 1 {
		t.Errorf("found %v", seqsOf(got))
	}
	if !durable.Exists(path) {
		t.Error("a reader removed a file")
	}
}

// A page of a segment that cannot be read does not hide what comes after it.
func TestRegisterOfADamagedSegment(t *testing.T) {
	dir, clock := fastDir(t), newTestClock()
	o := open(t, dir, paged(clock, 4))
	for i := range 300 {
		mustAppend(t, o, padded(fmt.Sprint("W", i), "e", 1795000000, 3000))
	}
	if err := o.roll(); err != nil {
		t.Fatal(err)
	}
	appendN(t, o, 10)
	last := o.journal.Segments()[0].Last
	closeChecked(t, o)
	path := filepath.Join(dir, format.Name(1))
	if err := os.Remove(format.RegisterPath(path)); err != nil {
		t.Fatal(err)
	}
	overwrite(t, path, 40*boltpage.PageSize, 4*boltpage.PageSize)
	o, err := Open(dir, paged(clock, 4))
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close(t.Context())
	bad, err := o.journal.Heads(slices.Collect(func(yield func(uint64) bool) {
		for seq := uint64(1); seq <= last && yield(seq); seq++ {
		}
	}), func(uint64, *codec.Head) error { return nil })
	if err != nil || len(bad) == 0 || len(bad) > 20 {
		t.Fatalf("%d of %d cannot be read, %v", len(bad), last, err)
	}
	for seq := uint64(1); seq <= last; seq++ {
		id := scan.WaybillID(fmt.Sprint("W", seq-1))
		got, err := o.OfWaybills([]scan.WaybillID{id}, 9)
		if found := slices.Contains(seqsOf(got), seq); err != nil || found == slices.Contains(bad, seq) {
			t.Fatalf("%d found: %t, %v; bad: %v", seq, found, err, bad)
		}
	}
}

// A start that fails lets go of the folder only once nobody writes to it.
func TestFailedStartLeavesNobodyWriting(t *testing.T) {
	dir, opts := fastDir(t), small(newTestClock())
	opts.MachineID = "one"
	o := open(t, dir, opts)
	appendN(t, o, 2000)
	if err := o.journal.MarkSuspect(); err != nil {
		t.Fatal(err)
	}
	dir = copied(t, dir)
	opts.MachineID = "another" // a new epoch has to be written
	opts.commit = func(*bolt.Tx) error { return errors.New("for the test") }
	if _, err := Open(dir, opts); err == nil {
		t.Fatal("opened")
	}
	if !durable.Exists(format.RegisterPath(filepath.Join(dir, format.Name(1)))) {
		t.Error("the register of the sealed segment is still being written")
	}
}

// What a crash left undone is made at the next start, aside.
func TestRegistersAreCompletedAfterACrash(t *testing.T) {
	dir, clock := fastDir(t), newTestClock()
	o := open(t, dir, small(clock))
	for i := range 40 {
		mustAppend(t, o, padded(fmt.Sprint("W", i), "e", 1795000000, 90_000))
	}
	o.journal.Wait()
	dir = copied(t, dir)
	if err := register.Remove(format.RegisterPath(filepath.Join(dir, format.Name(2)))); err != nil {
		t.Fatal(err)
	}
	o = open(t, dir, small(clock))
	o.journal.Wait()
	for _, s := range o.journal.Segments() {
		if !s.Register.Whole() {
			t.Errorf("the register of segment %d lacks something", s.Number)
		}
		if sealed := s.Number != newest(o).Number; sealed && !s.Register.Saved() {
			t.Errorf("the register of segment %d has no file", s.Number)
		}
	}
}
