package repair_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
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
	spares, err := format.OpenSpares(dir)
	if err == nil {
		err = spares.Make(m.Size)
	}
	if err == nil {
		err = spares.Begin(&m, st)
	}
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, format.Name(1))
	db, err := boltpage.OpenDB(path, m.Size)
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
	for page := int64(19); page > 1 && leaf == 0; page-- { // the first are of commits before
		// Pages that were written before keep what was in them: this one has many elements.
		text := string(content[page*boltpage.PageSize : (page+1)*boltpage.PageSize])
		if text[10] > 10 && strings.Contains(text, string(codec.Key(100))) {
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

// Where the newest segment ends is not known once its end is cut off: it is not said
// that nothing is lost. Of a sealed one the next segment tells.
func TestReportOfACutSegment(t *testing.T) {
	s, _ := newSegment(t)
	used := storetest.PagesOf(t, s.Path).High * boltpage.PageSize
	if err := os.Truncate(s.Path, used/2); err != nil {
		t.Fatal(err)
	}
	const perhaps = "later ones may be lost"
	for until, want := range map[uint64]bool{0: true, events + 1: false} {
		cut := s
		cut.Until, cut.State = until, s.State.Clone()
		r, err := repair.Gather(cut)
		if err != nil || strings.Contains(r.Report, perhaps) != want || strings.Contains(r.Report, "none lost") {
			t.Errorf("until %d it says %q, %v", until, r.Report, err)
		}
	}
}

// What is only gathered reads as what is rebuilt, whatever is damaged.
func TestGatheredReadsAsRebuilt(t *testing.T) {
	s, _ := newSegment(t)
	whole, err := os.ReadFile(s.Path)
	if err != nil {
		t.Fatal(err)
	}
	used := storetest.PagesOf(t, s.Path).High * boltpage.PageSize
	rnd := rand.New(rand.NewPCG(3, 9))
	damaged := 0
	for i := range 150 {
		content := bytes.Clone(whole)
		for range 1 + i%3 {
			at := rnd.Int64N(used)
			switch i % 4 {
			case 0: // a page
				at &^= boltpage.PageSize - 1
				clear(content[at : at+boltpage.PageSize])
			case 1:
				content[at] ^= 1 << rnd.IntN(8)
			case 2: // its head and table
				content[at&^(boltpage.PageSize-1)+rnd.Int64N(200)] ^= 1 << rnd.IntN(8)
			case 3: // both meta pages and one more
				clear(content[:2*boltpage.PageSize])
				content[at] ^= 0xff
			}
		}
		if err := os.WriteFile(s.Path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		gathered := s
		s.State, gathered.State = s.State.Clone(), s.State.Clone()
		g, err := repair.Gather(gathered)
		if err != nil {
			t.Fatal(err)
		}
		temp := s.Path + durable.TempSuffix
		r, err := repair.Rebuild(s, temp)
		if err != nil {
			t.Fatal(err)
		}
		tree, err := boltpage.OpenTree(temp)
		if err != nil {
			t.Fatal(err)
		}
		if g.Report != r.Report || g.Found != r.Found || g.Meta.First != r.Meta.First || g.Meta.Format != r.Meta.Format {
			t.Errorf("%d: %+v, rebuilt %+v", i, g, r)
		}
		if r.Found {
			if got, want := recordsOf(t, g.Instead), recordsOf(t, tree); !slices.Equal(got, want) {
				t.Errorf("%d: %d records are gathered, %d rebuilt", i, len(got), len(want))
			}
		}
		if len(r.Lost) > 0 {
			damaged++
		}
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
	}
	if damaged < 20 {
		t.Errorf("only %d of the files lacked anything", damaged)
	}
}

// What is gathered is read to the end, though another file has got the name, or
// none has it.
func TestGatheredOutlivesTheName(t *testing.T) {
	s, _ := newSegment(t)
	g, err := repair.Gather(s)
	if err != nil {
		t.Fatal(err)
	}
	want := recordsOf(t, g.Instead)
	other := s.Path + "-2"
	if err := errors.Join(os.WriteFile(other, make([]byte, format.MinSize), 0o600), os.Rename(other, s.Path)); err != nil {
		t.Fatal(err)
	}
	if got := recordsOf(t, g.Instead); !slices.Equal(got, want) {
		t.Errorf("%d of %d records of a file that was replaced", len(got), len(want))
	}
	if err := os.Remove(s.Path); err != nil {
		t.Fatal(err)
	}
	if got := recordsOf(t, g.Instead); !slices.Equal(got, want) {
		t.Errorf("%d of %d records of a file that was unlinked", len(got), len(want))
	}
	missing := func(r boltpage.Reader) error { r.Bucket([]byte("none")).Get([]byte("x")); return nil }
	if err := g.Instead.View(missing); !errors.Is(err, durable.ErrDamaged) {
		t.Errorf("a bucket that is missing: %v", err)
	}
}

// recordsOf lists all records of a segment, by each way to read them.
func recordsOf(t *testing.T, file interface {
	View(func(boltpage.Reader) error) error
},
) (all []string) {
	t.Helper()
	err := file.View(func(r boltpage.Reader) error {
		st, err := format.LoadState(r.Bucket(format.BucketState))
		if err != nil {
			return err
		}
		all = append(all, fmt.Sprintf("%d %d %x", st.NextSeq, st.Watermark, st.EpochOf(1)))
		for _, name := range [][]byte{format.BucketEvents, format.BucketCarried, format.BucketNotes} {
			b := r.Bucket(name)
			c := b.Cursor()
			last, _ := b.Cursor().Last()
			for k, v := c.First(); k != nil; k, v = c.Next() {
				if sought, _ := b.Cursor().Seek(k); !bytes.Equal(sought, k) || !bytes.Equal(b.Get(k), v) || b.Get(k) == nil {
					t.Errorf("%s %x is not found", name, k)
				}
				all = append(all, fmt.Sprintf("%s %x %x", name, k, v))
				if bytes.Equal(k, last) {
					last = nil
				}
			}
			if k, _ := b.Cursor().Seek(codec.Key(1 << 60)); k != nil || last != nil || b.Get(codec.Key(1<<60)) != nil {
				t.Errorf("%s ends with %x", name, last)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return all
}
