package store

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"scanrelay/store/boltpage"
	"scanrelay/store/crypt"
	"scanrelay/store/format"
	"scanrelay/store/internal/storetest"
	"scanrelay/store/quarantine"
)

// Whatever is damaged, all that is left is read, what is not is told, and not a
// byte is changed.
func TestOpenDamaged(t *testing.T) {
	w := newDamagedWorld(t)
	rnd := rand.New(rand.NewPCG(10, 10))
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	damaged, lost, images := 0, 0, storetest.Rounds(30, 12)
	for i := range images {
		dir := fastDir(t)
		w.copyTo(t, dir, i%2 == 0)
		what := "nothing"
		if i > 0 {
			what = spoil(t, filepath.Join(dir, format.Name(uint64(1+i%3))), rnd, i)
		}
		before := contents(t, dir)
		r, err := OpenDamaged(dir)
		if err != nil {
			t.Fatalf("%d: %s: %v", i, what, err)
		}
		gone := len(w.states)
		for _, rec := range all(t, r, Filter{}) {
			if _, ok := w.states[rec.Event.EventID]; !ok {
				t.Errorf("%d: %s: %q came from nowhere", i, what, rec.Event.EventID)
			}
			gone--
		}
		if gone > 0 && len(r.Damage()) == 0 || i == 0 && len(r.Damage()) > 0 {
			t.Errorf("%d: %s: %d events are gone; told: %v", i, what, gone, r.Damage())
		}
		checkSum(t, r.Counts())
		lost += gone
		damaged += len(r.Damage())
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if !maps.Equal(before, contents(t, dir)) {
			t.Errorf("%d: %s: something was changed", i, what)
		}
		if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d images, %d damaged, %d events lost of %d each", images, damaged, lost, len(w.states))
	if damaged < 5 || lost == images*len(w.states) {
		t.Error("too little was damaged, or too much lost")
	}
}

// What is no damage stays an error, and what is nothing is said to be.
func TestOpenDamagedRefuses(t *testing.T) {
	t.Parallel()
	w := newDamagedWorld(t)
	if _, err := OpenDamaged(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty folder: %v", err)
	}
	o := open(t, w.dir, small(w.clock))
	if _, err := OpenDamaged(w.dir); !errors.Is(err, ErrInUse) {
		t.Errorf("beside an agent: %v", err)
	}
	closeChecked(t, o)
	dir := fastDir(t)
	w.copyTo(t, dir, true)
	for n := range 3 {
		path := filepath.Join(dir, format.Name(uint64(n+1)))
		if err := os.WriteFile(path, make([]byte, format.MinSize), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenDamaged(dir); !errors.Is(err, ErrDamaged) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing can be read: %v", err)
	}
	w.copyTo(t, dir, true)
	if err := os.Remove(filepath.Join(dir, keyFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDamaged(dir); !errors.Is(err, crypt.ErrKey) {
		t.Errorf("without its key: %v", err)
	}
	// A quarantine that is none: the events are there all the same.
	w.copyTo(t, dir, true)
	if err := os.WriteFile(filepath.Join(dir, quarantine.FileName), []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := OpenDamaged(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n := len(all(t, r, Filter{})); n != len(w.states) || !slices.ContainsFunc(r.Damage(), func(s string) bool { return s != "" }) {
		t.Error(fmt.Sprint(n, r.Damage()))
	}
}

// Who only reads says of a quarantine that cannot be read what is so: the store is
// there, and a start sets that file aside.
func TestReaderOfADamagedQuarantine(t *testing.T) {
	t.Parallel()
	w := newDamagedWorld(t)
	overwrite(t, filepath.Join(w.dir, quarantine.FileName), 0, 2*boltpage.PageSize)
	r, err := OpenReadOnly(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if c := r.Counts(); c.Received != uint64(len(w.states)) || !strings.Contains(c.Damaged, "quarantine") {
		t.Errorf("it says %+v", c)
	}
	if n := len(all(t, r, Filter{})); n != len(w.states) {
		t.Errorf("%d events are read", n)
	}
	if err := r.Quarantine(t.Context(), func(Quarantined) error { return nil }); err != nil {
		t.Error(err)
	}
	c, err := Check(w.dir)
	if err != nil || c.Good() || len(c.Problems) != 1 || !strings.Contains(c.Problems[0], "quarantine") {
		t.Errorf("check says %+v, %v", c, err)
	}
}
