package store

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"scanrelay/store/boltpage"
	"scanrelay/store/event"
	"scanrelay/store/format"
	"scanrelay/store/internal/storetest"
)

// pageEdit changes a page of a file's tree; page is its bytes, id its number.
type pageEdit func(page []byte, id uint64)

// Where bbolt's branch page says how many children it has, and where the first
// one is.
const (
	countAt  = 10
	childAt  = 16 + 8
	childLen = 16
)

func child(page []byte, i int) []byte { return page[childAt+i*childLen:] }

// editPage changes one page in place.
func editPage(t *testing.T, path string, id int64, edit pageEdit) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, boltpage.PageSize)
	if _, err := f.ReadAt(page, id*boltpage.PageSize); err != nil {
		t.Fatal(err)
	}
	edit(page, uint64(id))
	if _, err := f.WriteAt(page, id*boltpage.PageSize); err != nil {
		t.Fatal(err)
	}
}

// A branch that leads to itself, or to the same page many times, in any bucket and
// segment, after any stop: nothing that opens, reads, checks or salvages the
// folder goes in circles, and what is lost is named.
func TestPageCycles(t *testing.T) {
	t.Parallel()
	order := binary.NativeEndian
	edits := map[string]pageEdit{
		"the last child is itself": func(page []byte, id uint64) {
			order.PutUint64(child(page, int(order.Uint16(page[countAt:]))-1), id)
		},
		"the first child is itself": func(page []byte, id uint64) { order.PutUint64(child(page, 0), id) },
		"a child in the middle is itself": func(page []byte, id uint64) {
			order.PutUint64(child(page, int(order.Uint16(page[countAt:]))/2), id)
		},
		"all children are one": func(page []byte, _ uint64) {
			for i := range int(order.Uint16(page[countAt:])) {
				copy(child(page, i)[:8], child(page, 0)[:8])
			}
		},
		"the last child is the root": func(page []byte, _ uint64) {
			order.PutUint64(child(page, int(order.Uint16(page[countAt:]))-1), 3)
		},
	}
	w := newDeepWorld(t)
	o := open(t, w.dir, small(w.clock)) // the deep segment is sealed, too
	roll(t, o)
	mustAppend(t, o, newEvent("W", "newest", 1))
	w.states["newest"], w.last = event.Unsynced, o.Counts().NextSeq-1
	closeChecked(t, o)
	tried := 0
	for _, sealed := range []bool{true, false} {
		kinds := storetest.PagesOf(t, filepath.Join(w.dir, format.Name(2))).Kinds
		for _, kind := range []string{"events branch", "lower events branch", "notes branch", "carried branch"} {
			for what, edit := range edits { // by chance
				if tried++; tried%storetest.Rounds(1, 3) != 0 {
					continue
				}
				dir := fastDir(t)
				w.copyTo(t, dir, sealed)
				if !sealed { // the deep segment is the newest
					if err := os.Remove(filepath.Join(dir, format.Name(3))); err != nil {
						t.Fatal(err)
					}
				}
				page := kinds[kind][len(kinds[kind])-1]
				editPage(t, filepath.Join(dir, format.Name(2)), page, edit)
				name := fmt.Sprintf("sealed %t, %s page %d: %s", sealed, kind, page, what)
				bounded(t, name, func() { readEverything(t, copied(t, dir)) })
				if sealed {
					bounded(t, name, func() { w.check(t, dir, name) })
				} else {
					bounded(t, name, func() { closeChecked(t, open(t, dir, small(w.clock))) })
				}
				if t.Failed() {
					return
				}
			}
		}
	}
}

// readEverything reads a folder in all the ways that change nothing.
func readEverything(t *testing.T, dir string) {
	mustCheck(t, dir)
	for _, openReader := range []func(string) (*Reader, error){OpenReadOnly, OpenDamaged} {
		r, err := openReader(dir)
		if err != nil {
			continue // it says so
		}
		_ = r.Scan(t.Context(), Filter{}, func(event.Record) error { return nil }) // or it says so
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// bounded fails the whole test where fn goes in circles: such a loop cannot be
// ended from without.
func bounded(t *testing.T, what string, fn func()) {
	t.Helper()
	late := time.AfterFunc(5*time.Minute, func() { panic(what + ": it goes in circles") })
	defer late.Stop()
	fn()
}
