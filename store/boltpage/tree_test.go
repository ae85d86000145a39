package boltpage_test

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	bolt "go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/durable"
)

var buckets = []string{"inline", "long", "wide", "none"}

// readTree reads all that a Tree leads to, forwards, singly, and from its end.
func readTree(path string) (got map[string]string, err error) {
	tree, err := boltpage.OpenTree(path)
	if err != nil {
		return nil, err
	}
	got = map[string]string{}
	for _, name := range buckets {
		err = errors.Join(err, tree.View(func(r boltpage.Reader) error {
			b := r.Bucket([]byte(name))
			if b == nil {
				return nil
			}
			c := b.Cursor()
			var last []byte
			for k, v := c.First(); k != nil; k, v = c.Next() {
				got[name+" "+string(k)] = string(v)
				last = k
			}
			if k, _ := c.Last(); string(k) != string(last) {
				return errors.New("the last key is another one")
			}
			return nil
		}))
	}
	return got, errors.Join(err, tree.Close())
}

// What bbolt wrote a Tree reads as bbolt does.
func TestTreeReadsWhatBoltWrote(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	want := makeFile(t, path)
	got, err := readTree(path)
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%d of %d values; %v", len(got), len(want), err)
	}
	db, err := boltpage.OpenDB(path, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := boltpage.OpenTree(path)
	if err != nil {
		t.Fatal(err)
	}
	err = db.View(func(tx *bolt.Tx) error {
		return tree.View(func(r boltpage.Reader) error {
			for _, name := range append(buckets, "nowhere") {
				ours, theirs := r.Bucket([]byte(name)), boltpage.ReaderOf(tx).Bucket([]byte(name))
				if (ours == nil) != (theirs == nil) {
					t.Errorf("%s: there is %t", name, ours != nil)
				}
				if ours == nil || theirs == nil {
					continue
				}
				for _, key := range []string{"", "0", "000000", "0000005", "000002", "000127", "000399", "0004", "x"} {
					k, v := ours.Cursor().Seek([]byte(key))
					wantK, wantV := theirs.Cursor().Seek([]byte(key))
					if string(k) != string(wantK) || string(v) != string(wantV) {
						t.Errorf("%s: seek %q gives %q, not %q", name, key, k, wantK)
					}
					if (ours.Get([]byte(key)) == nil) != (theirs.Get([]byte(key)) == nil) {
						t.Errorf("%s: get %q", name, key)
					}
				}
			}
			return nil
		})
	})
	if err := errors.Join(err, db.Close(), tree.Close()); err != nil {
		t.Error(err)
	}
}

// No file makes a Tree panic or go on for ever.
func FuzzTree(f *testing.F) {
	_, seed := seedFile(f)
	f.Add(uint32(0), []byte{})
	f.Add(uint32(4096+30), []byte{1})
	for page := range uint32(40) {
		f.Add(page*4096+8, []byte{1, 0})
		f.Add(page*4096+24, binary.NativeEndian.AppendUint64(nil, uint64(page)))
	}
	f.Fuzz(func(t *testing.T, at uint32, bytes []byte) {
		file := slices.Clone(seed)
		copy(file[int(at)%len(file):], bytes)
		path := filepath.Join(t.TempDir(), "x.db")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readTree(path); err != nil && !errors.Is(err, durable.ErrDamaged) {
			t.Error(err)
		}
	})
}

// A list of free pages, which is never written, is damage: bbolt would believe it,
// and give pages that are in use to the next commit.
func TestListOfFreePagesIsDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db, err := bolt.Open(path, 0o600, &bolt.Options{PageSize: boltpage.PageSize})
	if err == nil {
		err = db.Update(func(tx *bolt.Tx) error { return boltpage.MakeBuckets(tx, []byte("none")) })
	}
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if err := boltpage.CheckPages(path); !errors.Is(err, durable.ErrDamaged) {
		t.Error(err)
	}
}

// A tree that is deeper than one can get is not gone down.
func TestDeepTreeIsDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	makeFile(t, path)
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	order := binary.NativeEndian
	meta := file[16:]
	if order.Uint64(file[4096+16+48:]) > order.Uint64(meta[48:]) {
		meta = file[4096+16:]
	}
	high := order.Uint64(meta[40:])
	root := order.Uint64(meta[16:])
	const levels = 1000
	grown := append(slices.Clone(file[:high*4096]), make([]byte, levels*4096)...)
	for i := range uint64(levels) { // a branch of one child each, the last one leads to the root
		page := grown[(high+i)*4096:]
		next := high + i + 1
		if i == levels-1 {
			next = root
		}
		order.PutUint64(page, high+i)
		order.PutUint16(page[8:], 1)
		order.PutUint16(page[10:], 1)
		order.PutUint32(page[16:], 16)
		order.PutUint32(page[20:], 1)
		order.PutUint64(page[24:], next)
		page[32] = ' '
	}
	for id := range 2 {
		m := grown[id*4096+16:]
		order.PutUint64(m[16:], high)
		order.PutUint64(m[40:], high+levels)
		sum := fnv.New64a()
		sum.Write(m[:56])
		order.PutUint64(m[56:], sum.Sum64())
	}
	if err := os.WriteFile(path, grown, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readTree(path); !errors.Is(err, durable.ErrDamaged) {
		t.Error(err)
	}
	for _, check := range []error{boltpage.CheckPages(path), boltpage.CheckBranches(path, true)} {
		if !errors.Is(check, durable.ErrDamaged) {
			t.Error(check)
		}
	}
}
