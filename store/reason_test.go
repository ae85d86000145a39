package store

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/crypt"
	"scanrelay/store/event"
	"scanrelay/store/format"
)

// discarded makes an outbox with an event that was discarded, and
// closes it.
func discarded(t *testing.T, dir string, c *testClock) {
	t.Helper()
	o := open(t, dir, small(c))
	appendN(t, o, 2)
	mustAppend(t, o, padded("WX", "x", 1, 3000)) // so that events have pages of their own
	dieOne(t, o)
	if n, err := o.Discard(context.Background(), "typed by a person", o.DeadIDs()...); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	closeChecked(t, o)
}

func editNewest(t *testing.T, dir string, change func(tx *bolt.Tx) error) {
	t.Helper()
	db, err := boltpage.OpenDB(filepath.Join(dir, format.Name(1)), format.MinSize)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(change), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func reasonOf(t *testing.T, o *Outbox, seq uint64) string {
	t.Helper()
	for _, r := range all(t, o, Filter{}) {
		if r.ID.Seq == seq {
			return r.Last.Reason
		}
	}
	t.Fatalf("%d is gone", seq)
	return ""
}

// The reason comes through a rebuild, and Check decrypts it.
func TestReasonIsRebuilt(t *testing.T) {
	dir := t.TempDir()
	c := newTestClock()
	discarded(t, dir, c)
	if r := mustCheck(t, dir); !r.Good() {
		t.Error(r.text())
	}
	// The leaf of events; notes stand in the root.
	pages := pagesHolding(t, filepath.Join(dir, format.Name(1)), format.BucketEvents)
	overwrite(t, filepath.Join(dir, format.Name(1)), pages[0]*boltpage.PageSize+8, 8)
	o := open(t, dir, small(c))
	if o.Counts().Damaged == "" {
		t.Error("it was not rebuilt")
	}
	var got event.Reply
	p, err := boltpage.Open(filepath.Join(dir, format.Name(1)))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.Walk(func(bucket string, key, value []byte) {
		if bucket != string(format.BucketNotes) {
			return
		}
		n, err := codec.DecodeNote(key, value)
		if err == nil && n.Outcome == event.Discarded && o.journal.Cipher(1).DecryptReason(codec.Seq(key), &n) == nil {
			got = n.Last
		}
	}, func(_, what string) { t.Error(what) })
	if got.Reason != "typed by a person" {
		t.Errorf("%+v", got)
	}
}

// pagesHolding lists the pages of a bucket that has its own.
func pagesHolding(t *testing.T, path string, bucket []byte) (pages []int64) {
	t.Helper()
	db, err := boltpage.OpenDB(path, format.MinSize)
	if err != nil {
		t.Fatal(err)
	}
	err = db.View(func(tx *bolt.Tx) error {
		pages = append(pages, int64(tx.Bucket(bucket).Root()))
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil || pages[0] == 0 {
		t.Fatal(pages, err)
	}
	return pages
}

// Reasons that an earlier release wrote in clear are read, also one that looks
// like a sealed one.
func TestReasonInClearIsRead(t *testing.T) {
	for _, clear := range []string{"typed in clear", "sealed:no base64!", "sealed:c2hvcnQ"} {
		dir := t.TempDir()
		c := newTestClock()
		discarded(t, dir, c)
		editNewest(t, dir, func(tx *bolt.Tx) error {
			b := tx.Bucket(format.BucketNotes)
			key, value := b.Cursor().Last()
			n, err := codec.DecodeNote(key, value)
			if err != nil || n.Outcome != event.Discarded {
				return errors.Join(err, errors.New("not the note"))
			}
			return b.Put(bytes.Clone(key), codec.EncodeNote(key, &n, clear))
		})
		o := open(t, dir, small(c))
		if got := reasonOf(t, o, 1); got != clear {
			t.Errorf("%q came back as %q", clear, got)
		}
		closeChecked(t, o)
		if r := mustCheck(t, dir); !r.Good() {
			t.Error(r.text())
		}
	}
}

// otherCipher returns one under a key of another outbox.
func otherCipher(t testing.TB) *crypt.Cipher {
	t.Helper()
	keys, err := crypt.Open(t.TempDir(), false, true)
	if err != nil {
		t.Fatal(err)
	}
	return keys.Cipher(crypt.QuarantineKey)
}

// An encrypted reason that cannot be decrypted is said, and Check finds it.
func TestReasonOfAnotherKey(t *testing.T) {
	dir := t.TempDir()
	c := newTestClock()
	discarded(t, dir, c)
	editNewest(t, dir, func(tx *bolt.Tx) error {
		b := tx.Bucket(format.BucketNotes)
		key, _ := b.Cursor().Last()
		n := event.Note{Kind: event.NoteOutcome, Seq: 1, Outcome: event.Discarded, At: c.Now(), Last: event.Reply{Reason: "secret"}}
		return b.Put(bytes.Clone(key), otherCipher(t).EncodeNote(key, &n))
	})
	if r := mustCheck(t, dir); !strings.Contains(r.text(), "the reason cannot be decrypted") {
		t.Errorf("check: %s", r.text())
	}
	o := open(t, dir, small(c))
	if got := reasonOf(t, o, 1); got != "the reason cannot be decrypted" {
		t.Errorf("reason %q", got)
	}
}

// A note of a kind, or with an outcome, that only a later release knows is
// passed over and no damage: this release may be the one that is fallen back to.
func TestLaterNotesArePassedOver(t *testing.T) {
	dir := t.TempDir()
	c := newTestClock()
	discarded(t, dir, c)
	editNewest(t, dir, func(tx *bolt.Tx) error {
		b := tx.Bucket(format.BucketNotes)
		last, _ := b.Cursor().Last()
		for i, body := range []string{"\x05", "\x06some fields of later", "\xff\x00\x01", "\x01\x20\x02\x00later"} {
			key := codec.Key(codec.Seq(last) + 1 + uint64(i))
			value := append([]byte{codec.Version}, body...)
			if err := b.Put(key, codec.Frame(key, append(value, 0))); err != nil {
				return err
			}
		}
		return nil
	})
	r := mustCheck(t, dir)
	if later := r.Files[0].Later; later != 4 || !r.Good() {
		t.Errorf("%d later notes: %s", later, r.text())
	}
	for _, clean := range []bool{true, false} {
		if !clean {
			if err := os.Remove(filepath.Join(dir, stateName)); err != nil {
				t.Fatal(err)
			}
		}
		o := open(t, dir, small(c))
		if got := o.Counts(); got.Damaged != "" || got.State[event.Discarded] != 1 || got.Received != 3 {
			t.Errorf("%+v", got)
		}
		if got := reasonOf(t, o, 1); got != "typed by a person" {
			t.Errorf("reason %q", got)
		}
		appendN(t, o, 1) // a duplicate
		closeChecked(t, o)
	}
}
