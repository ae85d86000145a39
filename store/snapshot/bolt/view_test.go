package bolt

import (
	"bytes"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"scanrelay/store/boltpage"
	"scanrelay/store/durable"
	"scanrelay/store/snapshot/boltfile"
)

// TestReadsShareATransaction: reads begin one transaction until something is written,
// and see what was.
func TestReadsShareATransaction(t *testing.T) {
	b := open(t, t.TempDir(), quiet)
	send(t, b, 1, 50)
	mergeNow(t, b)
	for round := range 3 {
		before := b.file.db.Stats().TxN
		for seq := uint64(1); seq <= 50; seq++ {
			if nodes(t, b, seq) != 1 {
				t.Fatalf("round %d: waybill %d", round, seq)
			}
		}
		if s := b.file.db.Stats(); s.TxN > before+1 || s.OpenTxN != 1 {
			t.Errorf("round %d: %d transactions were begun, %d are open", round, s.TxN-before, s.OpenTxN)
		}
		last := uint64(51 + round)
		send(t, b, last, last)
		mergeNow(t, b)
		if open := b.file.db.Stats().OpenTxN; open != 0 || nodes(t, b, last) != 1 {
			t.Errorf("round %d: %d transactions are open after a merge", round, open)
		}
	}
}

// TestViewHoldsUpNobody: a view in which nobody reads any more does not keep bbolt
// from mapping the file anew, as it must where address space is scarce.
func TestViewHoldsUpNobody(t *testing.T) {
	path, bucket := filepath.Join(t.TempDir(), "x.db"), []byte("b")
	o := boltfile.Options(waybillsName)
	o.InitialMmapSize = 0
	db, err := bbolt.Open(path, 0o600, o)
	if err != nil {
		t.Fatal(err)
	}
	pages, err := durable.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f := &file{db: db, pages: pages, place: durable.Place{Path: path}, left: make(chan struct{})}
	put := func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucket, bucketMeta} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return tx.Bucket(bucket).Put(number(tx.Bucket(bucket).Sequence()), make([]byte, 4<<20))
	}
	read := func() ([]byte, error) {
		return readShared(f, func(r *boltpage.Finder) ([]byte, error) {
			v, err := r.Get(string(bucket), number(0))
			return bytes.Clone(v), err
		})
	}
	if err := f.place.Look(); err != nil {
		t.Fatal(err)
	}
	if err := f.readHead(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := read(); err != nil {
			t.Fatal(err)
		}
		if err := f.update(put); err != nil {
			t.Fatal(err)
		}
	}
	if v, err := read(); err != nil || len(v) != 4<<20 {
		t.Errorf("%d bytes, %v", len(v), err)
	}
	if err := f.close(); err != nil {
		t.Error(err)
	}
}
