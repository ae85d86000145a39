package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/boltfile"
	"scanrelay/store/snapshot/judge"
	"scanrelay/store/snapshot/values"
)

// TestOldAnswers: what formats before 3 have of each number is found as it was all
// the while it is brought into blocks, in steps, of which none is long; what came
// since stands.
func TestOldAnswers(t *testing.T) {
	const all = 3*sweepKeys + 77
	dir := t.TempDir()
	b := open(t, dir, quiet)
	send(t, b, 1, 3)
	mergeNow(t, b)
	first, err := steady(t.Context(), b, readsAnswer(b, 2))
	if err != nil {
		t.Fatal(err)
	}
	at := first.At // a block has one time, of its newest answer
	closed(t, b)
	olden(t, filepath.Join(dir, waybillsName), func(answers *bbolt.Bucket) error {
		var errs []error
		for seq := uint64(1); seq <= all; seq++ {
			key := values.OldKey(judge.Number{Depot: "hz-01", Epoch: 1, Seq: seq})
			v := binary.BigEndian.AppendUint64(nil, 1000+seq)
			v = binary.BigEndian.AppendUint32(append(v, byte(snapshot.Duplicate)), uint32(at))
			errs = append(errs, answers.Put(key, values.Seal(key, v)))
		}
		return errors.Join(errs...)
	})
	b = open(t, dir, quiet)
	kept := func(seq uint64) judge.Kept {
		k, err := steady(t.Context(), b, readsAnswer(b, seq))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	ours := kept(2)
	if ours.Ident == 1002 || ours.Ident == 0 {
		t.Errorf("what came since is %+v", ours)
	}
	for steps := 0; b.older.Load(); steps++ {
		for _, seq := range []uint64{4, sweepKeys, sweepKeys + 1, all} {
			if k := kept(seq); k.Ident != 1000+seq || k.Result != snapshot.Duplicate || k.At != at {
				t.Fatalf("step %d: number %d is %+v", steps, seq, k)
			}
		}
		if k := kept(2); k != ours {
			t.Fatalf("step %d: what came since is %+v", steps, k)
		}
		if _, err := b.Forget(t.Context(), snapshot.Retention{Keep: time.Hour}); err != nil || steps > all/sweepKeys+1 {
			t.Fatal(err, steps)
		}
		if s := stats(t, b); len(s.Damage) > 0 {
			t.Fatal(s.Damage)
		}
	}
	for seq := uint64(1); seq <= all; seq++ {
		if k := kept(seq); seq > 3 && k.Ident != 1000+seq {
			t.Fatalf("number %d is %+v", seq, k)
		}
	}
}

func readsAnswer(b *Store, seq uint64) func(r *boltpage.Finder) (judge.Kept, error) {
	return func(r *boltpage.Finder) (judge.Kept, error) {
		a := answers{s: b, r: r}
		k, _ := a.find(judge.Number{Depot: "hz-01", Epoch: 1, Seq: seq})
		return k, nil
	}
}

// olden makes waybills.db one of format 2, with these answers.
func olden(t *testing.T, path string, fill func(answers *bbolt.Bucket) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, boltfile.Options(waybillsName))
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(boltfile.Summed(func(tx *bbolt.Tx) error {
		answers, err := tx.CreateBucket(bucketAnswers)
		if err != nil {
			return err
		}
		return errors.Join(fill(answers), boltfile.PutNumber(tx.Bucket(bucketMeta), metaFormat, 2))
	}))
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestOldAnswersSurviveMending: a file of an older format that is mended before they
// are in blocks keeps them.
func TestOldAnswersSurviveMending(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, quiet)
	send(t, b, 1, 3)
	mergeNow(t, b)
	closed(t, b)
	olden(t, filepath.Join(dir, waybillsName), func(answers *bbolt.Bucket) error {
		key := values.OldKey(judge.Number{Depot: "hz-01", Epoch: 1, Seq: 9})
		v := append(binary.BigEndian.AppendUint64(nil, 1009), byte(snapshot.Duplicate), 0, 0, 0, 1)
		return answers.Put(key, values.Seal(key, v))
	})
	b = open(t, dir, quiet)
	b.mergeMu.Lock()
	err := b.swap()
	b.mergeMu.Unlock()
	k, bad := steady(t.Context(), b, readsAnswer(b, 9))
	if err != nil || bad != nil || k.Ident != 1009 {
		t.Errorf("%+v, %v, %v", k, err, bad)
	}
}

// TestSmallKeyThatChanged: a bit that turned in the key of an answer or a binding is
// found by who asks for it, as that of a waybill is.
func TestSmallKeyThatChanged(t *testing.T) {
	number := judge.Number{Depot: "hz-01", Epoch: 1, Seq: 2}
	phone := judge.PhoneKey{15: 2}
	block, _ := values.BlockKey(number)
	for name, ask := range map[string]func(s *Store, r *boltpage.Finder) bool{
		"number":  func(s *Store, r *boltpage.Finder) bool { _, ok := (&answers{s: s, r: r}).find(number); return ok },
		"binding": func(s *Store, r *boltpage.Finder) bool { _, ok := s.binding(r, phone); return ok },
	} {
		dir := t.TempDir()
		b := open(t, dir, quiet)
		send(t, b, 1, 3)
		mergeNow(t, b)
		closed(t, b)
		look := func() (ok, suspected bool) {
			f, err := boltpage.Open(filepath.Join(dir, waybillsName))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			s := &Store{tail: newTail(), suspects: make(chan struct{}, 1)}
			s.o.defaults()
			return ask(s, f.Finder()), len(s.suspects) > 0
		}
		edit(t, dir, waybillsName, func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketBindings).Put(phone[:], values.EncodeBinding(phone[:], judge.Binding{Exist: true, At: 1}))
		})
		if ok, suspected := look(); !ok || suspected {
			t.Errorf("%s: found %v, suspected %v", name, ok, suspected)
		}
		edit(t, dir, waybillsName, func(tx *bbolt.Tx) error {
			var errs []error
			for in, key := range map[*bbolt.Bucket][]byte{tx.Bucket(bucketNumbers): block, tx.Bucket(bucketBindings): phone[:]} {
				turned := bytes.Clone(key)
				turned[len(turned)-1] ^= 1
				errs = append(errs, in.Put(turned, bytes.Clone(in.Get(key))), in.Delete(key))
			}
			return errors.Join(errs...)
		})
		if ok, suspected := look(); ok || !suspected {
			t.Errorf("%s whose key changed: found %v, suspected %v", name, ok, suspected)
		}
	}
}
