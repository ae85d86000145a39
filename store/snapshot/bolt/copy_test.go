package bolt

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"go.etcd.io/bbolt"

	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/boltfile"
)

// CopiedTo is a Sink that makes files of a copy, as they were.
type CopiedTo struct {
	t      testing.TB
	dir    string
	id     string
	dbs    map[string]*bbolt.DB
	file   string
	bucket string
	before func(file, bucket string) // each record; may be nil
}

// CopyTo returns one that calls before in front of each record.
func CopyTo(t testing.TB, before func(file, bucket string)) *CopiedTo {
	return &CopiedTo{t: t, dir: t.TempDir(), dbs: map[string]*bbolt.DB{}, before: before}
}

func (c *CopiedTo) Begin(id string, _ time.Time, _ int64) error { c.id = id; return nil }

func (c *CopiedTo) Bucket(file, bucket string) error {
	c.file, c.bucket = file, bucket
	if c.dbs[file] == nil {
		db, err := bbolt.Open(filepath.Join(c.dir, file), 0o600, &bbolt.Options{NoSync: true, PageSize: 4096})
		if err != nil {
			return err
		}
		c.dbs[file] = db
	}
	return c.dbs[file].Update(func(tx *bbolt.Tx) error { return second(tx.CreateBucket([]byte(bucket))) })
}

func (c *CopiedTo) Record(key, value []byte) error {
	if c.before != nil {
		c.before(c.file, c.bucket)
	}
	return c.dbs[c.file].Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte(c.bucket)).Put(key, value) })
}

// Folder is where the files are, once all is copied.
func (c *CopiedTo) Folder() string {
	c.t.Helper()
	for _, db := range c.dbs {
		if err := db.Close(); err != nil {
			c.t.Fatal(err)
		}
	}
	if _, err := boltfile.CheckFolder(c.dir, func(what string) { c.t.Errorf("the copy is damaged: %s", what) }); err != nil {
		c.t.Fatal(err)
	}
	return c.dir
}

// restored opens what was copied.
func (c *CopiedTo) restored() *Store { return open(c.t, c.Folder(), quiet) }

// TestCopyWhileItRuns: a copy shows all that was answered before it began and nothing
// that came after, however often the merger carries, the log is made anew and the
// committer commits while it is made; none of them waits for it. A store that goes on
// from the copy gives no number of a record again.
func TestCopyWhileItRuns(t *testing.T) {
	for _, state := range []string{"not merged", "merged", "in the middle of a merge"} {
		o := quiet
		o.LogSize = 1 // each merge makes the log anew
		b := open(t, t.TempDir(), o)
		send(t, b, 1, 20)
		switch state {
		case "merged":
			mergeNow(t, b)
			send(t, b, 21, 40)
		case "in the middle of a merge":
			send(t, b, 21, 40)
			var chunk []write
			for w := range b.tail.copy().writes(b.ring, 0) {
				if chunk = append(chunk, w); len(chunk) == 25 {
					break
				}
			}
			b.mergeMu.Lock()
			err := b.put(chunk, nil)
			b.mergeMu.Unlock()
			if err != nil {
				t.Fatal(err)
			}
		default:
			send(t, b, 21, 40)
		}
		sent := uint64(40)
		records := 0
		c := CopyTo(t, func(string, string) {
			if records++; records%5 != 0 {
				return
			}
			send(t, b, sent+1, sent+3)
			sent += 3
			mergeNow(t, b)
		})
		if err := b.Copy(t.Context(), c); err != nil {
			t.Fatalf("%s: %v", state, err)
		}
		if c.id != b.id || sent < 60 {
			t.Errorf("%s: store %s, want %s; %d were sent meanwhile", state, c.id, b.id, sent)
		}
		r := c.restored()
		if damage := stats(t, r).Damage; len(damage) > 0 {
			t.Errorf("%s: the copy is opened with %q", state, damage)
		}
		for seq := uint64(1); seq <= 41; seq++ {
			if n := nodes(t, r, seq); n != 1 && seq <= 40 || n != 0 && seq > 40 {
				t.Errorf("%s: event %d has %d nodes in the copy", state, seq, n)
			}
		}
		if got := have(r); got != 40 {
			t.Errorf("%s: have is %d in the copy, want 40", state, got)
		}
		send(t, r, 41, sent) // as the depot does
		closed(t, r)
		for range 2 { // as it is read from the log, and from what is merged
			r = open(t, c.dir, quiet)
			for seq := uint64(1); seq <= sent; seq++ {
				if n := nodes(t, r, seq); n != 1 {
					t.Fatalf("%s: event %d has %d nodes after the copy went on", state, seq, n)
				}
			}
			mergeNow(t, r)
			closed(t, r)
		}
		for seq := uint64(1); seq <= sent; seq++ {
			if n := nodes(t, b, seq); n != 1 {
				t.Fatalf("%s: event %d has %d nodes in the store itself", state, seq, n)
			}
		}
	}
}

// TestCopyOfAFolder: a centre that does not run is copied as it is, whichever format
// its files have, and nothing of it is changed.
func TestCopyOfAFolder(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, quiet)
	send(t, b, 1, 5)
	mergeNow(t, b)
	send(t, b, 6, 9)
	if err := boltfile.CopyFolder(t.Context(), dir, time.Now(), CopyTo(t, nil)); !errors.Is(err, snapshot.ErrInUse) {
		t.Errorf("a centre that runs is copied behind its back: %v", err)
	}
	closed(t, b)
	before := folder(t, dir)
	c := CopyTo(t, nil)
	if err := boltfile.CopyFolder(t.Context(), dir, time.Now(), c); err != nil {
		t.Fatal(err)
	}
	if after := folder(t, dir); len(after) != len(before) || !bytes.Equal(after[logName].Data, before[logName].Data) || !bytes.Equal(after[waybillsName].Data, before[waybillsName].Data) {
		t.Error("the folder was changed")
	}
	r := c.restored()
	if nodes(t, r, 1) != 1 || nodes(t, r, 9) != 1 || have(r) != 9 {
		t.Errorf("the copy has %d of 9", have(r))
	}
	err := boltfile.CopyFolder(t.Context(), t.TempDir(), time.Now(), CopyTo(t, nil))
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an empty folder: %v", err)
	}
}

// folder is all that a folder holds.
func folder(t testing.TB, dir string) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		data, bad := os.ReadFile(filepath.Join(dir, e.Name()))
		err = errors.Join(err, bad)
		files[e.Name()] = &fstest.MapFile{Data: data}
	}
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestCopyFindsDamage: nothing that is damaged is copied, and what a copy finds is
// mended as when a read finds it.
func TestCopyFindsDamage(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, quiet)
	send(t, b, 1, 5)
	mergeNow(t, b)
	closed(t, b)
	edit(t, dir, waybillsName, func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketWaybills).Put([]byte("WAYBILL3"), []byte("nonsense"))
	})
	if err := boltfile.CopyFolder(t.Context(), dir, time.Now(), CopyTo(t, nil)); !isDamage(err) || !strings.Contains(err.Error(), "copy waybills.db: bucket \"waybills\"") {
		t.Errorf("a damaged folder: %v", err)
	}
	b = open(t, dir, quiet)
	b.mergeMu.Lock() // the merger looks at all when it begins
	unmended := b.file
	b.mergeMu.Unlock()
	if err := b.Copy(t.Context(), CopyTo(t, nil)); err != nil && !errors.Is(err, snapshot.ErrDamaged) && unmended == b.file {
		t.Errorf("a store that is damaged: %v", err)
	}
}

// TestCopyEndsWithTheFile: who makes a copy holds up neither a stop nor a file that
// is opened anew.
func TestCopyEndsWithTheFile(t *testing.T) {
	for name, end := range map[string]func(b *Store){
		"a stop":         func(b *Store) { _ = b.Close() },
		"another file":   func(b *Store) { b.mergeMu.Lock(); defer b.mergeMu.Unlock(); _ = b.swap() },
		"a call's end":   nil,
		"a failed store": func(b *Store) { _ = b.fail(errors.New("the disk lies")) },
	} {
		b := open(t, t.TempDir(), quiet)
		send(t, b, 1, 500)
		mergeNow(t, b)
		ctx, cancel := context.WithCancel(t.Context())
		f, ended, records := b.file, make(chan struct{}), 0
		c := CopyTo(t, func(file, bucket string) {
			if bucket != string(bucketWaybills) {
				return
			}
			if records++; records == 3 {
				if end == nil {
					cancel()
					close(ended)
					return
				}
				go func() { end(b); close(ended) }()
				select { // by then whoever ends it waits for the copy
				case <-f.left:
				case <-b.life.Done():
				}
			}
		})
		err := b.Copy(ctx, c)
		<-ended
		if err == nil || records > 10 {
			t.Errorf("%s: the copy went on to its end: %v, %d records", name, err, records)
		}
		cancel()
	}
	b := open(t, t.TempDir(), quiet)
	closed(t, b)
	if err := b.Copy(t.Context(), CopyTo(t, nil)); !errors.Is(err, snapshot.ErrClosed) {
		t.Errorf("a closed store: %v", err)
	}
}

// TestMarkRestored: a copy that was put back says from its first start on of which
// time it knows nothing.
func TestMarkRestored(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, quiet)
	send(t, b, 1, 5)
	closed(t, b)
	at := time.Unix(1_795_400_000, 0)
	for i, from := range []time.Time{at, at.Add(time.Hour)} { // one that was put back before has missed more
		if err := boltfile.MarkRestored(dir, from, at.Add(2*time.Hour)); err != nil {
			t.Fatal(err)
		}
		b = open(t, dir, quiet)
		damageSays(t, b, "import again the waybill data that was imported between 2026-11-23T")
		if m := stats(t, b).Missing; m != 2*time.Hour {
			t.Errorf("%d: %v are missing, want 2h", i, m)
		}
		closed(t, b)
	}
}
