package repair_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/crypt"
	"scanrelay/store/durable"
	"scanrelay/store/event"
	"scanrelay/store/format"
	"scanrelay/store/internal/storetest"
	"scanrelay/store/repair"
)

const events = 200

// newSegment makes a segment of so many events and one note, and says which page
// holds some of the events.
func newSegment(t *testing.T) (repair.Segment, int64) {
	t.Helper()
	dir := t.TempDir()
	keys, err := crypt.Open(dir, false, true)
	if err != nil {
		t.Fatal(err)
	}
	cipher, err := keys.Add(1)
	if err != nil {
		t.Fatal(err)
	}
	st := &format.State{NextSeq: events + 1}
	st.Relabel(1, 7)
	m := codec.FileMeta{Format: codec.Version, Number: 1, First: 1, Size: format.MinSize, Begun: time.Unix(1795000000, 0)}
	size, err := format.Create(dir, m, st)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, format.Name(1))
	db, err := boltpage.OpenDB(path, size, false)
	if err != nil {
		t.Fatal(err)
	}
	var leaf int64
	err = db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(format.BucketEvents)
		for seq := uint64(1); seq <= events; seq++ {
			e := storetest.Event("W", "e", int64(seq))
			if err := b.Put(codec.Key(seq), cipher.Encrypt(crypt.EventRecord, codec.Key(seq), crypt.NewSalt(), codec.EncodeEvent(&e))); err != nil {
				return err
			}
		}
		n := event.Note{Kind: event.NoteOutcome, Seq: 1, Outcome: event.Pushed, At: time.Unix(1795000000, 0)}
		return tx.Bucket(format.BucketNotes).Put(codec.Key(1), cipher.EncodeNote(codec.Key(1), &n))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for page := int64(2); page < 20 && leaf == 0; page++ {
		if strings.Contains(string(content[page*boltpage.PageSize:(page+1)*boltpage.PageSize]), string(codec.Key(100))) {
			leaf = page
		}
	}
	return repair.Segment{Path: path, Number: 1, Format: codec.Version, Cipher: cipher, State: st}, leaf
}

// A segment that is whole passes both depths of looking.
func TestWholeSegmentPasses(t *testing.T) {
	s, _ := newSegment(t)
	if err := errors.Join(repair.CheckOutline(s.Path, 1, events+1), repair.Check(s.Path, s.Cipher)); err != nil {
		t.Error(err)
	}
	r, err := repair.Inspect(s.Path, s.Cipher)
	if err != nil || r.Events != events || r.Notes != 1 || r.First != 1 || r.Last != events || r.Metas != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

// A page that is gone is found, by the cheap look, too; what comes of it has all
// numbers, passes, and says which events are lost; the damaged file is kept.
func TestReplacedSegmentIsWhole(t *testing.T) {
	s, leaf := newSegment(t)
	f, err := os.OpenFile(s.Path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(make([]byte, boltpage.PageSize), leaf*boltpage.PageSize)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if err := repair.CheckOutline(s.Path, 1, events+1); !errors.Is(err, durable.ErrDamaged) {
		t.Fatalf("page %d: %v", leaf, err)
	}
	r, err := repair.Replace(s)
	if err != nil || !r.Found || r.Meta.First != 1 || !strings.Contains(r.Report, "lost: ") || !strings.Contains(r.Report, "kept as ") {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := errors.Join(repair.CheckOutline(s.Path, 1, events+1), repair.Check(s.Path, s.Cipher)); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(s.Path + durable.AsideSuffix); err != nil {
		t.Error(err)
	}
}
