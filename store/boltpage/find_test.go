package boltpage_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/durable"
	"scanrelay/store/internal/storetest"
)

// reading opens a file without bbolt's map and gives a reader of it.
func reading(t testing.TB, path string, do func(p *boltpage.File, r *boltpage.Finder)) {
	t.Helper()
	p, err := boltpage.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	do(p, p.Finder())
}

// What bbolt wrote is found, within a transaction and without.
func TestFinderReadsWhatBoltWrote(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	want := makeFile(t, path)
	check := func(r *boltpage.Finder) {
		t.Helper()
		for name, value := range want {
			bucket, key, _ := bytes.Cut([]byte(name), []byte(" "))
			if got, err := r.Get(string(bucket), key); err != nil || string(got) != value {
				t.Fatalf("%s: %d bytes, %v", name, len(got), err)
			}
		}
		for _, key := range []string{"0", "000200a", "999999"} {
			if got, err := r.Get("wide", []byte(key)); got != nil || err != nil {
				t.Fatalf("%q: %q, %v", key, got, err)
			}
		}
		if got, err := r.Get("nowhere", []byte("x")); got != nil || err != nil {
			t.Fatal("found something in no bucket")
		}
		var keys []string
		r.Scan("wide", []byte("000123"), func(k, _ []byte) bool {
			keys = append(keys, string(k))
			return len(keys) < 200
		}, func(h *boltpage.Hole) bool { t.Error(h); return false })
		if len(keys) != 200 || keys[0] != "000123" || keys[199] != "000322" {
			t.Fatalf("%d keys: %v", len(keys), keys)
		}
	}
	reading(t, path, func(_ *boltpage.File, r *boltpage.Finder) { check(r) })
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.View(func(tx *bolt.Tx) error { check(boltpage.Within(tx, f, &boltpage.Kept{})); return nil }); err != nil {
		t.Error(err)
	}
}

// Whatever happens to a page: nothing is found under a key that does not belong
// there, what cannot be read is told with the keys that it may have held, and the
// rest is read. Of a key that changed and still stands in its place only its reader
// knows, by the value's sum: then what is between its neighbours is in doubt.
func TestFinderOfDamage(t *testing.T) {
	dir := t.TempDir()
	sound := filepath.Join(dir, "sound.db")
	want := makeFile(t, sound)
	content, err := os.ReadFile(sound)
	if err != nil {
		t.Fatal(err)
	}
	rnd := storetest.Rand(t)
	path := filepath.Join(dir, "x.db")
	pages := len(content) / boltpage.PageSize
	for i := range 4 * pages {
		if i%pages < 2 { // the file is read as it was a transaction before
			continue
		}
		b, page := bytes.Clone(content), i%pages
		at := b[page*boltpage.PageSize:][:boltpage.PageSize]
		switch i / pages {
		case 0:
			clear(at)
		case 1:
			clear(at[rnd.IntN(8)*512:][:512])
		case 2:
			at[rnd.IntN(64)] ^= 1 << rnd.IntN(8)
		default:
			b = b[:page*boltpage.PageSize+rnd.IntN(boltpage.PageSize)]
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		reading(t, path, func(_ *boltpage.File, r *boltpage.Finder) {
			found := map[string]bool{}
			var holes []*boltpage.Hole
			for _, bucket := range []string{"inline", "long", "wide"} {
				holes = append(holes, r.Sound(bucket, func(k, _ []byte) error {
					if _, ok := want[bucket+" "+string(k)]; !ok {
						return durable.ErrDamaged
					}
					return nil
				}, func(k, _ []byte) bool {
					found[bucket+" "+string(k)] = true
					return true
				})...)
			}
			for name := range want {
				bucket, key, _ := bytes.Cut([]byte(name), []byte(" "))
				_, err := r.Get(string(bucket), key)
				if err != nil && found[name] || err != nil && !errors.Is(err, durable.ErrDamaged) {
					t.Fatalf("%d: %s: scanned %v, got %v", i, name, found[name], err)
				}
				told := false
				for _, h := range holes {
					told = told || h.Bucket == string(bucket) && bytes.Compare(key, h.Low) >= 0 && (h.High == nil || bytes.Compare(key, h.High) < 0)
				}
				if !found[name] && !told {
					t.Fatalf("%d: %s is not told: %v", i, name, holes)
				}
			}
			if len(found) > len(want) {
				t.Fatalf("%d: found %d of %d", i, len(found), len(want))
			}
		})
	}
}

// The list of free pages names no page that is in use.
func TestFree(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db, err := bolt.Open(path, 0o600, &bolt.Options{PageSize: boltpage.PageSize})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		err = errors.Join(err, db.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte("b"))
			return errors.Join(err, b.Put(fmt.Appendf(nil, "%03d", i), make([]byte, 3000)))
		}))
	}
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	reading(t, path, func(p *boltpage.File, r *boltpage.Finder) {
		used := map[uint64]bool{}
		r.Seen = func(id, n uint64) {
			for i := range n {
				used[id+i] = true
			}
		}
		r.Scan("b", nil, func(_, _ []byte) bool { return true }, func(*boltpage.Hole) bool { return true })
		free, err := p.Free()
		if err != nil || len(free) == 0 || len(free)+len(used)+2 >= int(p.High())+1 {
			t.Errorf("%d free, %d used of %d, %v", len(free), len(used), p.High(), err)
		}
		for _, id := range free {
			if used[id] {
				t.Errorf("page %d is in use", id)
			}
		}
	})
}
