package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	bolt "go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/boltpage"
	"scanrelay/store/crypt"
	"scanrelay/store/durable"
)

// A register against a plain map, in memory, in a file, and in both.
func TestRegisterAgainstMap(t *testing.T) {
	cipher := otherCipher(t)
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 8 {
		path := filepath.Join(t.TempDir(), "x"+registerSuffix)
		r := newRegister(path, cipher, 0)
		want := map[scan.WaybillID][]uint64{}
		waybills := 1 + rnd.IntN(4000)
		for slot := range uint64(rnd.IntN(9000)) {
			id := scan.WaybillID(fmt.Sprintf("YT%013d", rnd.IntN(waybills)))
			r.append(id)
			want[id] = append(want[id], slot)
			if rnd.IntN(4000) == 0 {
				if err := r.save(7); err != nil {
					t.Fatal(err)
				}
			}
		}
		compareRegister(t, r, want)
		if err := r.save(7); err != nil {
			t.Fatal(err)
		}
		compareRegister(t, r, want)
		again := newRegister(path, cipher, r.end)
		if err := again.open(7); err != nil {
			t.Fatal(err)
		}
		if from, to := again.lacks(); from != to {
			t.Fatalf("lacks %d to %d", from, to)
		}
		compareRegister(t, again, want)
		r.close()
		again.close()
	}
}

func compareRegister(t *testing.T, r *register, want map[scan.WaybillID][]uint64) {
	t.Helper()
	for id, slots := range want {
		got, err := r.find([]scan.WaybillID{id})
		slices.Sort(got)
		if err != nil || !slices.Equal(got, slots) {
			t.Fatalf("%s: %v, %v; want %v", id, got, err, slots)
		}
	}
	for i := range 30 {
		if got, err := r.find([]scan.WaybillID{scan.WaybillID(fmt.Sprint("none", i))}); err != nil || len(got) > 0 {
			t.Fatalf("found %v, %v", got, err)
		}
	}
}

// Whatever is wrong with a register's file, it is noticed, and made again of the
// segment.
func TestRegisterIsMadeAgain(t *testing.T) {
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
			if err := writeRegister(path, 1, 1<<20, nil); err != nil {
				t.Fatal(err)
			}
		},
		"of another segment": func(t *testing.T, path string) {
			if err := writeRegister(path, 99, 10, nil); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, harm := range damage {
		t.Run(name, func(t *testing.T) {
			dir, clock := fastDir(t), newTestClock()
			o := open(t, dir, small(clock))
			for i := range 40 {
				mustAppend(t, o, padded(fmt.Sprint("W", i%10), fmt.Sprint("e", i), 1795000000, 90_000))
			}
			closeChecked(t, o)
			path := registerPath(filepath.Join(dir, segmentName(1)))
			harm(t, path)
			o = open(t, dir, small(clock))
			got, err := o.OfWaybills([]scan.WaybillID{"W3"}, 100)
			if err != nil || fmt.Sprint(seqsOf(got)) != "[4 14 24 34]" {
				t.Fatalf("%v, %v", seqsOf(got), err)
			}
			closeChecked(t, o)
			f, err := openRegisterFile(path, 1)
			if err != nil {
				t.Fatal(err)
			}
			defer f.close()
			if s := o.journal.oldest(); f.upTo != s.last+1-s.first {
				t.Errorf("made up to %d", f.upTo)
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
	if err := os.WriteFile(registerPath(filepath.Join(dir, segmentName(4000))), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	clock.advance(1000 * 3600e9)
	o = open(t, dir, small(clock))
	closeChecked(t, o) // the start dropped what is past retain
	if got := registers(); len(got) != 1 {
		t.Errorf("registers %v are left", got)
	}
}

// FuzzRegisterFile: no file makes a lookup fail otherwise than by ErrDamaged.
func FuzzRegisterFile(f *testing.F) {
	path := filepath.Join(f.TempDir(), "seed")
	entries := make([]uint64, 1200)
	for i := range entries {
		entries[i] = uint64(i) << 50
	}
	if err := writeRegister(path, 7, 1200, entries); err != nil {
		f.Fatal(err)
	}
	seed, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed, uint64(0))
	f.Add(seed[:boltpage.PageSize], uint64(1)<<63)
	f.Fuzz(func(t *testing.T, content []byte, tag uint64) {
		path := filepath.Join(t.TempDir(), "register")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := openRegisterFile(path, 7)
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
				t.Fatal(err)
			}
			return
		}
		defer r.close()
		if _, err := r.find(tag&^slotMask, nil); err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
	})
}

func truncate(t *testing.T, path string, size int64) {
	t.Helper()
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

// The tag is 40 bits of an HMAC: without the segment's key it tells nothing, and
// under another key it is another.
func TestRegisterTellsNothing(t *testing.T) {
	cipher := otherCipher(t)
	tag := func(s *crypt.Cipher) uint64 { return newRegister("", s, 0).tagLocked([]byte("YT6900634716900")) }
	a := tag(cipher)
	if a != tag(cipher) || a == tag(otherCipher(t)) || a&slotMask != 0 {
		t.Error("the tag is not one of the key")
	}
	if b := binary.BigEndian.AppendUint64(nil, a); slices.Contains(b[:5], 'Y') && slices.Contains(b[:5], 'T') {
		t.Error("the tag shows the waybill")
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
	o.journal.newest().register.discard() // all of it is written anew
	if _, err := o.OfWaybills([]scan.WaybillID{"W2"}, 9); err != nil {
		t.Fatal(err)
	}
	closeChecked(t, o)
	name := registerPath(segmentName(1))
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
	overwrite(t, filepath.Join(w.dir, segmentName(2)), 4*boltpage.PageSize, 10*boltpage.PageSize)
	path := filepath.Join(w.dir, segmentName(2))
	err := errors.Join(os.WriteFile(filepath.Join(w.dir, unreadableName), []byte(segmentName(2)), 0o600),
		writeRegister(registerPath(path), 2, 400, nil)) // it has nothing in any slot
	if err != nil {
		t.Fatal(err)
	}
	o := open(t, w.dir, small(w.clock))
	s, read := o.journal.list()[1], 0
	for _, r := range all(t, o, Filter{}) {
		if r.ID.Seq < s.first || r.ID.Seq > s.last {
			continue
		}
		read++
		if got, err := o.OfWaybills([]scan.WaybillID{r.Event.Waybill}, 99); err != nil || !slices.Contains(seqsOf(got), r.ID.Seq) {
			t.Fatalf("%d is not among %v, %v", r.ID.Seq, seqsOf(got), err)
		}
	}
	if !s.rebuilt || read == 0 {
		t.Errorf("rebuilt: %t, %d events read", s.rebuilt, read)
	}
}

// One who gives up a register's file, since a page of it is damaged, does not make
// another one who reads it believe that the segment is gone.
func TestRegisterIsGivenUpWhileItIsRead(t *testing.T) {
	cipher := otherCipher(t)
	r := newRegister(filepath.Join(t.TempDir(), "x"+registerSuffix), cipher, 0)
	r.append("W")
	if err := r.save(7); err != nil {
		t.Fatal(err)
	}
	file := r.file
	r.discard()
	if slots, err := file.find(r.tagLocked([]byte("W")), nil); err != nil || len(slots) != 1 {
		t.Errorf("found %v, %v", slots, err)
	}
	file.close()
}

// A register that was filled from where its file ended, and lost the file
// meanwhile, is not written as if it had all.
func TestRegisterWithoutItsFileIsNotSaved(t *testing.T) {
	cipher := otherCipher(t)
	path := filepath.Join(t.TempDir(), "x"+registerSuffix)
	r := newRegister(path, cipher, 0)
	r.append("W0")
	if err := r.save(7); err != nil {
		t.Fatal(err)
	}
	r = newRegister(path, cipher, 2)
	if err := r.open(7); err != nil {
		t.Fatal(err)
	}
	from, to := r.lacks()
	f := &filler{r: r, from: from, to: to}
	f.add(1, []byte("W1"))
	r.discard()
	f.done()
	if err := r.save(7); err != nil {
		t.Fatal(err)
	}
	again := newRegister(path, cipher, 2)
	if err := again.open(7); err != nil {
		t.Fatal(err)
	}
	defer again.close()
	if from, to := again.lacks(); from == to {
		t.Error("it passes for whole without the first event")
	}
}

// Of two who fill a register at once the later one adds nothing, even if it was
// saved in between.
func TestRegisterIsFilledOnce(t *testing.T) {
	cipher := otherCipher(t)
	r := newRegister(filepath.Join(t.TempDir(), "x"+registerSuffix), cipher, 1)
	from, to := r.lacks()
	first, second := &filler{r: r, from: from, to: to}, &filler{r: r, from: from, to: to}
	first.add(0, []byte("W"))
	second.add(0, []byte("W"))
	first.done()
	if err := r.save(7); err != nil {
		t.Fatal(err)
	}
	second.done()
	if slots, err := r.find([]scan.WaybillID{"W"}); err != nil || len(slots) != 1 {
		t.Errorf("found %v, %v", slots, err)
	}
	r.close()
}

// A reader makes a damaged register again in memory and leaves the file alone.
func TestReaderKeepsDamagedRegister(t *testing.T) {
	dir, clock := fastDir(t), newTestClock()
	o := open(t, dir, small(clock))
	appendN(t, o, 10)
	closeChecked(t, o)
	path := registerPath(filepath.Join(dir, segmentName(1)))
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
	if err := o.roll(false); err != nil {
		t.Fatal(err)
	}
	appendN(t, o, 10)
	last := o.journal.oldest().last
	closeChecked(t, o)
	path := filepath.Join(dir, segmentName(1))
	if err := os.Remove(registerPath(path)); err != nil {
		t.Fatal(err)
	}
	overwrite(t, path, 40*boltpage.PageSize, 4*boltpage.PageSize)
	o, err := Open(dir, paged(clock, 4))
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close(t.Context())
	bad, err := o.readEvents(slices.Collect(func(yield func(uint64) bool) {
		for seq := uint64(1); seq <= last && yield(seq); seq++ {
		}
	}), func(uint64, []byte) error { return nil })
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
	dir = copied(t, dir)
	if err := os.WriteFile(filepath.Join(dir, suspectName), []byte(segmentName(1)), 0o600); err != nil {
		t.Fatal(err)
	}
	opts.MachineID = "another" // a new epoch has to be written
	opts.commit = func(*bolt.Tx) error { return errors.New("for the test") }
	if _, err := Open(dir, opts); err == nil {
		t.Fatal("opened")
	}
	if !durable.Exists(registerPath(filepath.Join(dir, segmentName(1)))) {
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
	o.background.Wait()
	dir = copied(t, dir)
	if err := removeRegister(registerPath(filepath.Join(dir, segmentName(2)))); err != nil {
		t.Fatal(err)
	}
	o = open(t, dir, small(clock))
	o.background.Wait()
	for _, s := range o.journal.list() {
		if from, to := s.register.lacks(); from != to {
			t.Errorf("the register of segment %d lacks %d to %d", s.number, from, to)
		}
		if sealed := s != o.journal.newest(); sealed && s.register.file == nil {
			t.Errorf("the register of segment %d has no file", s.number)
		}
	}
}
