package register

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"scanrelay/agent/scan"
	"scanrelay/store/durable"
	"scanrelay/store/internal/storetest"
)

func newMAC() hash.Hash {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never returns an error
	return hmac.New(sha256.New, key)
}

// A register against a plain map, in memory, in a file, and in both.
func TestRegisterAgainstMap(t *testing.T) {
	mac := newMAC()
	rnd := mathrand.New(mathrand.NewPCG(5, 6))
	for range storetest.Rounds(8, 2) {
		path := filepath.Join(t.TempDir(), "x"+".register")
		r := New(path, mac, 0)
		want := map[scan.WaybillID][]uint64{}
		waybills := 1 + rnd.IntN(4000)
		for slot := range uint64(rnd.IntN(9000)) {
			id := scan.WaybillID(fmt.Sprintf("YT%013d", rnd.IntN(waybills)))
			r.Append(id)
			want[id] = append(want[id], slot)
			if rnd.IntN(4000) == 0 {
				if err := r.Save(7); err != nil {
					t.Fatal(err)
				}
			}
		}
		compareRegister(t, r, want)
		if err := r.Save(7); err != nil {
			t.Fatal(err)
		}
		compareRegister(t, r, want)
		again := New(path, mac, r.end)
		again.Open(7)
		if !again.Whole() {
			t.Fatal("something is lacking")
		}
		compareRegister(t, again, want)
		r.Close()
		again.Close()
	}
}

func compareRegister(t *testing.T, r *Register, want map[scan.WaybillID][]uint64) {
	t.Helper()
	for id, slots := range want {
		got, err := r.Find([]scan.WaybillID{id})
		slices.Sort(got)
		if err != nil || !slices.Equal(got, slots) {
			t.Fatalf("%s: %v, %v; want %v", id, got, err, slots)
		}
	}
	for i := range 30 {
		if got, err := r.Find([]scan.WaybillID{scan.WaybillID(fmt.Sprint("none", i))}); err != nil || len(got) > 0 {
			t.Fatalf("found %v, %v", got, err)
		}
	}
}

// FuzzRegisterFile: no file makes a lookup fail otherwise than by durable.ErrDamaged.
func FuzzRegisterFile(f *testing.F) {
	path := filepath.Join(f.TempDir(), "seed")
	entries := make([]uint64, 1200)
	for i := range entries {
		entries[i] = uint64(i) << 50
	}
	if err := Write(path, 7, 1200, entries); err != nil {
		f.Fatal(err)
	}
	seed, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed, uint64(0))
	f.Add(seed[:pageSize], uint64(1)<<63)
	f.Fuzz(func(t *testing.T, content []byte, tag uint64) {
		path := filepath.Join(t.TempDir(), "register")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := openFile(path, 7)
		if err != nil {
			if !errors.Is(err, durable.ErrDamaged) && !errors.Is(err, durable.ErrNewer) {
				t.Fatal(err)
			}
			return
		}
		defer r.close()
		if _, err := r.find(tag&^slotMask, nil); err != nil && !errors.Is(err, durable.ErrDamaged) {
			t.Fatal(err)
		}
	})
}

// The tag is 40 bits of an HMAC: without the segment's key it tells nothing, and
// under another key it is another.
func TestRegisterTellsNothing(t *testing.T) {
	mac := newMAC()
	tag := func(mac hash.Hash) uint64 { return New("", mac, 0).tagLocked([]byte("YT6900634716900")) }
	a := tag(mac)
	if a != tag(mac) || a == tag(newMAC()) || a&slotMask != 0 {
		t.Error("the tag is not one of the key")
	}
	if b := binary.BigEndian.AppendUint64(nil, a); slices.Contains(b[:5], 'Y') && slices.Contains(b[:5], 'T') {
		t.Error("the tag shows the waybill")
	}
}

// One who gives up a register's file, since a page of it is damaged, does not make
// another one who reads it believe that the segment is gone.
func TestRegisterIsGivenUpWhileItIsRead(t *testing.T) {
	mac := newMAC()
	r := New(filepath.Join(t.TempDir(), "x"+".register"), mac, 0)
	r.Append("W")
	if err := r.Save(7); err != nil {
		t.Fatal(err)
	}
	file := r.file
	r.Discard()
	if slots, err := file.find(r.tagLocked([]byte("W")), nil); err != nil || len(slots) != 1 {
		t.Errorf("found %v, %v", slots, err)
	}
	file.close()
}

// Who is late to save the register of a segment that was dropped meanwhile leaves
// no file behind.
func TestRegisterIsNotSavedOnceItIsClosed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x"+".register")
	r := New(path, newMAC(), 0)
	r.Append("W")
	r.Close()
	if err := r.Save(7); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file is left: %v", err)
	}
}

// A register that was filled from where its file ended, and lost the file
// meanwhile, is not written as if it had all.
func TestRegisterWithoutItsFileIsNotSaved(t *testing.T) {
	mac := newMAC()
	path := filepath.Join(t.TempDir(), "x"+".register")
	r := New(path, mac, 0)
	r.Append("W0")
	if err := r.Save(7); err != nil {
		t.Fatal(err)
	}
	r = New(path, mac, 2)
	r.Open(7)
	f := r.Filler()
	f.Add(1, []byte("W1"))
	r.Discard()
	f.Done()
	if err := r.Save(7); err != nil {
		t.Fatal(err)
	}
	again := New(path, mac, 2)
	again.Open(7)
	defer again.Close()
	if again.Whole() {
		t.Error("it passes for whole without the first event")
	}
}

// Of two who fill a register at once the later one adds nothing, even if it was
// saved in between.
func TestRegisterIsFilledOnce(t *testing.T) {
	mac := newMAC()
	r := New(filepath.Join(t.TempDir(), "x"+".register"), mac, 1)
	first, second := r.Filler(), r.Filler()
	first.Add(0, []byte("W"))
	second.Add(0, []byte("W"))
	first.Done()
	if err := r.Save(7); err != nil {
		t.Fatal(err)
	}
	second.Done()
	if slots, err := r.Find([]scan.WaybillID{"W"}); err != nil || len(slots) != 1 {
		t.Errorf("found %v, %v", slots, err)
	}
	r.Close()
}
