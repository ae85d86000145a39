package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/durable"
	"scanrelay/store/event"
	"scanrelay/store/format"
	"scanrelay/store/internal/storetest"
)

func mustCheck(t *testing.T, dir string) *CheckReport {
	t.Helper()
	r, err := Check(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *CheckReport) text() string {
	all := append([]string(nil), r.Problems...)
	for _, f := range r.Files {
		all = append(all, f.Problems...)
	}
	return strings.Join(all, "\n")
}

func TestCheckOfAGoodStore(t *testing.T) {
	w := newDamagedWorld(t)
	before := contents(t, w.dir)
	r := mustCheck(t, w.dir)
	if !r.Good() {
		t.Error(r.text())
	}
	events := uint64(0)
	for _, f := range r.Files {
		events += f.Events
	}
	if len(r.Files) != 4 || events != 1000 || r.Counts.Received != 1000 {
		t.Errorf("%d files, %d events, %+v", len(r.Files), events, r.Counts)
	}
	for name, content := range contents(t, w.dir) {
		if before[name] != content {
			t.Errorf("%s was changed", name)
		}
	}
	o := open(t, w.dir, small(w.clock))
	if _, err := Check(w.dir); !errors.Is(err, ErrInUse) {
		t.Errorf("beside an agent: %v", err)
	}
	closeChecked(t, o)
}

// Where an event cannot be read, Check says so; where it says that all is good,
// every event can.
func TestCheckFindsDamage(t *testing.T) {
	t.Parallel()
	w := newDamagedWorld(t)
	rnd := rand.New(rand.NewPCG(6, 6))
	found, images := 0, storetest.Rounds(80, 16)
	for i := range images {
		dir := fastDir(t)
		w.copyTo(t, dir, true)
		what := spoil(t, filepath.Join(dir, format.Name(uint64(1+i%3))), rnd, i)
		r := mustCheck(t, dir)
		if !r.Good() {
			found++
		} else if n := readable(t, dir); n != len(w.states) {
			t.Errorf("%d: %s: %d of %d events can be read, and all is good", i, what, n, len(w.states))
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	if found < images/4 {
		t.Errorf("found %d of %d", found, images)
	}
}

func readable(t *testing.T, dir string) (n int) {
	t.Helper()
	r, err := OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Scan(context.Background(), Filter{}, func(event.Record) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// What bbolt itself would find nothing wrong with.
func TestCheckFindsWhatDoesNotAddUp(t *testing.T) {
	edit := func(change func(*format.State)) func(tx *bolt.Tx) error {
		return func(tx *bolt.Tx) error {
			s, err := format.LoadState(boltpage.ReaderOf(tx).Bucket(format.BucketState))
			if err == nil {
				change(s)
				err = s.StoreAll(tx.Bucket(format.BucketState))
			}
			return err
		}
	}
	for want, change := range map[string]func(tx *bolt.Tx) error{
		"events 5 are missing": func(tx *bolt.Tx) error { return tx.Bucket(format.BucketEvents).Delete(codec.Key(5)) },
		"it cannot be decrypted": func(tx *bolt.Tx) error {
			v := tx.Bucket(format.BucketEvents).Get(codec.Key(5))
			return tx.Bucket(format.BucketEvents).Put(codec.Key(5), codec.Frame(codec.Key(5), append([]byte(nil), v[:len(v)-codec.CRCSize-1]...)))
		},
		"wrong checksum": func(tx *bolt.Tx) error {
			return tx.Bucket(format.BucketEvents).Put(codec.Key(5), []byte("0123456789"))
		},
		"numbers were given":          edit(func(s *format.State) { s.NextSeq += 3 }),
		"the watermark, 50, is above": edit(func(s *format.State) { s.Watermark = 50 }),
		"received is 17, but":         edit(func(s *format.State) { s.Base.Received += 7; s.Base.Outcome[event.Pushed] += 7 }),
		"the epoch of the oldest":     edit(func(s *format.State) { s.Relabel(0, 0) }),
		"a damaged file was kept":     edit(func(s *format.State) { s.Damage = []string{"segment 1"} }),
	} {
		t.Run(want, func(t *testing.T) {
			dir := t.TempDir()
			o := open(t, dir, small(newTestClock()))
			appendN(t, o, 10)
			closeChecked(t, o)
			if strings.Contains(want, "damaged file") {
				if err := os.WriteFile(filepath.Join(dir, format.Name(1)+durable.AsideSuffix), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			db, err := boltpage.OpenDB(filepath.Join(dir, format.Name(1)), format.MinSize)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(db.Update(change), db.Close()); err != nil {
				t.Fatal(err)
			}
			if r := mustCheck(t, dir); !strings.Contains(r.text(), want) {
				t.Error(fmt.Sprint(r.text()))
			}
		})
	}
}
