package boltpage_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	bolt "go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/durable"
)

// makeFile makes a file with small, large and inline buckets, and returns what is
// in it.
func makeFile(t testing.TB, path string) map[string]string {
	t.Helper()
	want := map[string]string{}
	err := boltpage.Make(path, 1<<20, func(tx *bolt.Tx) error {
		if err := boltpage.MakeBuckets(tx, []byte("inline"), []byte("long"), []byte("wide"), []byte("none")); err != nil {
			return err
		}
		put := func(bucket string, i, size int) error {
			key, value := fmt.Sprintf("%06d", i), bytes.Repeat([]byte{byte(i)}, size)
			want[bucket+" "+key] = string(value)
			return tx.Bucket([]byte(bucket)).Put([]byte(key), value)
		}
		var all error
		for i := range 400 {
			all = errors.Join(all, put("wide", i, 100))
		}
		for i := range 3 {
			all = errors.Join(all, put("long", i, 9000), put("inline", i, 20))
		}
		return all
	})
	if err != nil {
		t.Fatal(err)
	}
	return want
}

func read(t testing.TB, path string) (got map[string]string, problems []string) {
	t.Helper()
	p, err := boltpage.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	got = map[string]string{}
	p.Walk(func(bucket string, key, value []byte) {
		got[bucket+" "+string(key)] = string(value)
	}, func(bucket, what string) { problems = append(problems, bucket+": "+what) })
	p.Strays(func(bool, []byte, []byte) {})
	return got, problems
}

// seedFile is makeFile's file, for whoever damages it.
func seedFile(t testing.TB) (path string, content []byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "seed.db")
	makeFile(t, path)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, content
}

// What bbolt wrote is read, and nothing is wrong with it.
func TestWalkReadsWhatBoltWrote(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	want := makeFile(t, path)
	if got, problems := read(t, path); !maps.Equal(got, want) || len(problems) > 0 {
		t.Errorf("%d of %d values; %v", len(got), len(want), problems)
	}
	if err := errors.Join(boltpage.CheckPages(path), boltpage.CheckBranches(path, true)); err != nil {
		t.Error(err)
	}
	db, err := boltpage.OpenDB(path, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bolt.Tx) error {
		r := boltpage.ReaderOf(tx)
		if v := boltpage.Value(r, []byte("inline"), []byte("000001")); len(v) != 20 || boltpage.Value(r, []byte("nowhere"), []byte("x")) != nil {
			t.Errorf("%d bytes", len(v))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// A page that says that it holds nothing, and holds something, is damage to all who
// read it.
func TestNoPageIsEmptiedInSilence(t *testing.T) {
	path, content := seedFile(t)
	want, _ := read(t, path)
	hit := 0
	for page := 2; page < len(content)/boltpage.PageSize; page++ {
		b := slices.Clone(content)
		if binary.NativeEndian.Uint64(b[page*boltpage.PageSize:]) != uint64(page) {
			continue // the middle of a value
		}
		clear(b[page*boltpage.PageSize+10:][:2])
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		found, holes := map[string]string{}, 0
		reading(t, path, func(_ *boltpage.File, r *boltpage.Finder) {
			for _, bucket := range buckets {
				r.Scan(bucket, nil, func(k, v []byte) bool {
					found[bucket+" "+string(k)] = string(v)
					return true
				}, func(*boltpage.Hole) bool { holes++; return true })
			}
		})
		walked, problems := read(t, path)
		tree, err := readTree(path)
		for who, silent := range map[string]bool{
			"finder": holes == 0 && !maps.Equal(found, want),
			"walk":   len(problems) == 0 && !maps.Equal(walked, want),
			"tree":   err == nil && !maps.Equal(tree, want),
			"check":  len(problems) > 0 && boltpage.CheckPages(path) == nil,
		} {
			if silent {
				t.Errorf("page %d: the %s says nothing", page, who)
			}
		}
		hit += min(holes, 1)
	}
	if hit < 20 {
		t.Errorf("%d pages were missed", hit)
	}
}

// A void meta page is damage only where both must be good.
func TestVoidMetaPage(t *testing.T) {
	path, b := seedFile(t)
	b[30] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := boltpage.CheckMetas(path); !errors.Is(err, durable.ErrDamaged) {
		t.Error(err)
	}
	if err := boltpage.CheckBranches(path, true); !errors.Is(err, durable.ErrDamaged) {
		t.Error(err)
	}
}

// A panic of bbolt's is damage, and comes back as such.
func TestGuard(t *testing.T) {
	err := boltpage.Guard(func() error { panic("page 7 already freed") })
	if !errors.Is(err, durable.ErrDamaged) {
		t.Error(err)
	}
}

// FuzzWalk: no file makes the walk panic or go on for ever, and it gives no key
// that it says nothing against twice.
func FuzzWalk(f *testing.F) {
	_, seed := seedFile(f)
	for _, at := range []int{0, 4096 + 30, 3*4096 + 8, 4*4096 + 20, len(seed) - 4000} {
		bad := slices.Clone(seed)
		bad[at] ^= 0x10
		f.Add(bad)
	}
	f.Add(seed)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, file []byte) {
		path := filepath.Join(t.TempDir(), "x.db")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		read(t, path)
		for _, err := range []error{boltpage.CheckPages(path), boltpage.CheckBranches(path, true)} {
			if err != nil && !errors.Is(err, durable.ErrDamaged) {
				t.Error(err)
			}
		}
	})
}

// Meta pages that cannot be read for a moment are the disk's fault: bbolt takes the
// file for none then.
func TestOpenIsPatient(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	if err := boltpage.Make(path, 1<<20, func(tx *bolt.Tx) error { return boltpage.MakeBuckets(tx, []byte("b")) }); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(b []byte) error {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteAt(b, 0)
		return errors.Join(err, f.Close())
	}
	if err := write(make([]byte, 2*boltpage.PageSize)); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		mended := make(chan error, 1)
		go func() {
			time.Sleep(5 * time.Second)
			mended <- write(whole)
		}()
		db, err := boltpage.OpenDB(path, 1<<20)
		if err := errors.Join(err, <-mended); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A disk that is busy for seconds is asked again before a start gives up.
func TestConfirmIsPatient(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	if err := boltpage.Make(path, 1<<20, func(tx *bolt.Tx) error { return boltpage.MakeBuckets(tx, []byte("b")) }); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		well, failed := time.Now().Add(5*time.Second), 0
		defer durable.FailReads(func(string, int64) error {
			if time.Now().Before(well) {
				failed++
				return syscall.EAGAIN
			}
			return nil
		})()
		if err := boltpage.Confirm(path); err != nil || failed == 0 {
			t.Errorf("after %d reads that failed: %v", failed, err)
		}
	})
}
