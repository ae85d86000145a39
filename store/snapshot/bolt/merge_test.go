package bolt

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
)

// TestFewEventsWriteLittle: where much was forgotten the list of free pages is long,
// and few events do not have it written each ten seconds; nor do they wait for long.
func TestFewEventsWriteLittle(t *testing.T) {
	b := open(t, t.TempDir(), quiet)
	inspected(t, b)
	for _, change := range []func(tx *bbolt.Tx) error{
		func(tx *bbolt.Tx) (err error) {
			for i := uint64(0); i < 5000 && err == nil; i++ {
				err = tx.Bucket(bucketDamaged).Put(number(i), make([]byte, 4000))
			}
			return err
		},
		func(tx *bbolt.Tx) error {
			return errors.Join(tx.DeleteBucket(bucketDamaged), second(tx.CreateBucket(bucketDamaged)))
		},
	} {
		b.mergeMu.Lock()
		err := b.update(change)
		b.mergeMu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
	}
	pages := b.file.db.Stats()
	before := pages.FreePageN + pages.PendingPageN
	if before < 4000 {
		t.Fatalf("only %d pages are free", before)
	}
	few := uint64((4*8*before-shortList)/4096) - 1
	merges, longest, since := 0, 0, 0
	for tick := range 600 { // of ten seconds
		if tick%60 == 0 {
			imported(t, b, scan.WaybillID(fmt.Sprintf("FEW%d", tick)), 1)
		}
		if since++; b.worthMerging() {
			merges, longest, since = merges+1, max(longest, since), 0
			b.mergeAll()
		}
	}
	if merges > 11 || longest > lateMerge+1 {
		t.Errorf("%d merges of %d records in 100 minutes, one of them after %d ticks", merges, few, longest)
	}
	for i := range few + 2 {
		imported(t, b, scan.WaybillID(fmt.Sprintf("MANY%d", i)), 1)
	}
	if !b.worthMerging() {
		t.Errorf("%d records are not worth a merge where %d pages are free", few+2, before)
	}
	mergeNow(t, b)
	imported(t, b, "LAST01", time.Now().Unix())
	if b.worthMerging() {
		t.Error("one record is worth a merge")
	}
}

// TestReadsDuringMerges: what reads while the merger writes finds nothing wrong, and
// nothing older than it found before.
func TestReadsDuringMerges(t *testing.T) {
	const all = 300
	b := open(t, t.TempDir(), quiet)
	inspected(t, b)
	id := func(i int) scan.WaybillID { return scan.WaybillID(fmt.Sprintf("WAYBILL%04d", i%all)) }
	done := make(chan struct{})
	write := func(round int64) error {
		items := make([]snapshot.Import, all)
		for i := range items {
			items[i] = snapshot.Import{Waybill: id(i), Data: scan.Waybill{CreateTime: round, Receiver: scan.Party{Address: scan.Private(make([]byte, 300))}}}
		}
		if _, err := b.Import(t.Context(), items); err != nil {
			return err
		}
		b.mergeAll()
		return b.Health(t.Context())
	}
	if err := write(1); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(done)
		for round := int64(2); round < 60; round++ {
			if err := write(round); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	var seen [all]int64
	for i := 0; ; i++ {
		w, ok, err := b.Lookup(t.Context(), id(i))
		if err != nil || !ok || w.Data.CreateTime < seen[i%all] {
			t.Fatalf("%+v after %d, %v", w, seen[i%all], err)
		}
		seen[i%all] = w.Data.CreateTime
		select {
		case <-done:
			return
		default:
		}
	}
}
