package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/boltpage"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/boltfile"
	"scanrelay/store/snapshot/judge"
)

// inspected waits until the merger has looked at all, and the committer has asked
// the depots for what is lost.
func inspected(t testing.TB, b *Store) {
	t.Helper()
	b.inspectAll()
	imported(t, b, "LAST", 1)
	for end := time.Now().Add(2 * time.Minute); len(b.askAgain) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the depots are not asked")
		}
	}
	imported(t, b, "LAST", 2)
}

// imported imports until it is taken: what is damaged is mended meanwhile.
func imported(t testing.TB, b *Store, id scan.WaybillID, created int64) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Millisecond) {
		_, err := b.Import(t.Context(), []snapshot.Import{{Waybill: id, Data: scan.Waybill{CreateTime: created}}})
		if err == nil {
			return
		}
		if !errors.Is(err, snapshot.ErrDamaged) || time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// tailAndFile looks a waybill up without regard to holes.
func (s *Store) tailAndFile(t testing.TB, id scan.WaybillID) (snapshot.Waybill, bool, error) {
	t.Helper()
	st, err := read(t.Context(), s, func(r *boltpage.Finder) (*judge.State, error) { return s.state(r, id) })
	if err != nil || st == nil {
		return snapshot.Waybill{}, false, err
	}
	return st.View(id), true, nil
}

// sendAll sends what a depot has as a depot does: from have on, again where it is
// told to.
func sendAll(t testing.TB, b *Store, to uint64) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); {
		m, err := b.Merge(t.Context(), snapshot.Batch{Depot: "hz-01", Epoch: 1, NextSeq: to + 1})
		if err != nil {
			t.Fatal(err)
		}
		if m.Have == to {
			return
		}
		in := snapshot.Batch{Depot: "hz-01", Epoch: 1, From: m.Have + 1, NextSeq: to + 1}
		for seq := m.Have + 1; seq <= to; seq++ {
			in.Events = append(in.Events, event(seq))
		}
		m, err = b.Merge(t.Context(), in)
		if errors.Is(err, snapshot.ErrDamaged) {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Gaps) > 0 {
			t.Fatalf("gaps: %v", m.Gaps)
		}
	}
	t.Fatal("have never rises")
}

// event is one with a long text, so that few of them fill a page.
func event(seq uint64) snapshot.Event {
	return snapshot.Event{Seq: seq, Event: scan.Event{
		EventID: fmt.Sprintf("e%d", seq), Waybill: scan.WaybillID(fmt.Sprintf("WAYBILL%03d", seq)), ActionTime: int64(seq),
		ActionType: 200001, ActionMsg: scan.Text(bytes.Repeat([]byte("x"), 200)),
	}}
}

// filled is a folder with many waybills, merged ones and others.
func filled(t testing.TB, all uint64) string {
	t.Helper()
	dir := t.TempDir()
	b := open(t, dir, quiet)
	for seq := uint64(1); seq <= all; seq += 10 {
		in := snapshot.Batch{Depot: "hz-01", Epoch: 1, From: seq, NextSeq: seq + 10}
		for i := seq; i < seq+10; i++ {
			in.Events = append(in.Events, event(i))
		}
		if _, err := b.Merge(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		if seq == all/2+1 {
			mergeNow(t, b)
		}
	}
	if _, err := b.Import(t.Context(), []snapshot.Import{{Waybill: "WAYBILL001", Data: scan.Waybill{CreateTime: 7}}}); err != nil {
		t.Fatal(err)
	}
	closed(t, b)
	return dir
}

func pagesOf(t testing.TB, dir, name string) int64 {
	t.Helper()
	p, err := boltpage.Open(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	return int64(p.High())
}

// hurt changes a page of a file.
func hurt(t testing.TB, dir, name string, page int64, change func(page []byte)) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, boltpage.PageSize)
	if _, err := f.ReadAt(b, page*boltpage.PageSize); err != nil {
		t.Fatal(err)
	}
	change(b)
	if _, err := f.WriteAt(b, page*boltpage.PageSize); err != nil {
		t.Fatal(err)
	}
}

// TestEveryPage spoils each page of each file in turn, in some way, while the
// store is closed or while it runs: nothing dies, a start goes on, and once the
// depot has sent again what it is asked for, all is there.
func TestEveryPage(t *testing.T) {
	const all = 200
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	ways := []func(page []byte){
		func(page []byte) { clear(page) },
		func(page []byte) { clear(page[rnd.IntN(8)*512:][:512]) },
		func(page []byte) { page[rnd.IntN(256)] ^= 1 << rnd.IntN(8) },
		func(page []byte) { page[rnd.IntN(len(page))] ^= 1 << rnd.IntN(8) },
		func(page []byte) {
			for i := range page {
				page[i] = byte(rnd.Uint32())
			}
		},
	}
	sound := filled(t, all)
	for _, name := range []string{logName, waybillsName} {
		for page := range pagesOf(t, sound, name) {
			way := rnd.IntN(len(ways))
			live := rnd.IntN(2) == 0
			t.Run(fmt.Sprintf("%s page %d way %d live %v", name, page, way, live), func(t *testing.T) {
				dir := t.TempDir()
				copyFiles(t, sound, dir, logName, waybillsName)
				if !live {
					hurt(t, dir, name, page, ways[way])
				}
				b := open(t, dir, quiet)
				if live {
					inspected(t, b)
					hurt(t, dir, name, page, ways[way])
				}
				mends(t, b, dir, all)
			})
		}
	}
}

// TestPageOfBefore takes waybills out as a disk does that left a page as it was before:
// nothing is wrong with any page, or with what the file says of itself.
func TestPageOfBefore(t *testing.T) {
	const all = 100
	dir := filled(t, all)
	edit(t, dir, waybillsName, func(tx *bbolt.Tx) error {
		for seq := uint64(20); seq < 30; seq++ {
			if err := tx.Bucket(bucketWaybills).Delete([]byte(event(seq).Waybill)); err != nil {
				return err
			}
		}
		return nil
	})
	told := ""
	if _, err := boltfile.CheckFolder(dir, func(what string) { told += what }); err != nil || !strings.Contains(told, "as it was before") {
		t.Errorf("a check tells %q, %v", told, err)
	}
	b := open(t, dir, quiet)
	inspected(t, b)
	damageSays(t, b, "as it was before")
	mends(t, b, dir, all)
}

// TestStatesOfOlder: a file that was written without the sum of all waybills gets it.
func TestStatesOfOlder(t *testing.T) {
	dir := filled(t, 100)
	edit(t, dir, waybillsName, func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Delete(boltfile.MetaStates) })
	b := open(t, dir, quiet)
	inspected(t, b)
	mergeNow(t, b)
	closed(t, b)
	if _, err := boltfile.CheckFolder(dir, func(what string) { t.Error(what) }); err != nil {
		t.Error(err)
	}
	edit(t, dir, waybillsName, func(tx *bbolt.Tx) error { return tx.Bucket(bucketWaybills).Delete([]byte(event(20).Waybill)) })
	b = open(t, dir, quiet)
	inspected(t, b)
	damageSays(t, b, "as it was before")
	mends(t, b, dir, 100)
}

func mends(t *testing.T, b *Store, dir string, all uint64) {
	t.Helper()
	for seq := uint64(1); seq <= all; seq++ { // nothing is shown that is not so
		wb, ok, err := b.Lookup(t.Context(), event(seq).Waybill)
		if err != nil && !errors.Is(err, snapshot.ErrDamaged) || ok && len(wb.Nodes) > 1 {
			t.Fatalf("looked up: %+v, %v, %v", wb, ok, err)
		}
	}
	inspected(t, b)
	sendAll(t, b, all)
	b.mergeAll()
	if err := b.Health(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := stats(t, b).Waybills; n != all+1 {
		t.Fatalf("%d waybills are counted", n)
	}
	for range 2 {
		for seq := uint64(1); seq <= all; seq++ {
			wb, ok, err := b.tailAndFile(t, event(seq).Waybill)
			if err != nil || !ok || len(wb.Nodes) != 1 {
				t.Fatalf("%d is not there: %+v, %v, %v; damage: %v", seq, wb, ok, err, stats(t, b).Damage)
			}
		}
		closed(t, b)
		b = open(t, dir, quiet)
		inspected(t, b)
	}
	if _, err := boltfile.CheckFolder(dir, nil); !errors.Is(err, snapshot.ErrInUse) {
		t.Errorf("checked a store that is open: %v", err)
	}
	closed(t, b)
	if r, err := boltfile.CheckFolder(dir, func(what string) { t.Error(what) }); err != nil || r.Waybills+r.Records < int(all) {
		t.Error(r, err)
	}
}

// TestEachBitOfTheFreeList turns bits of the list of free pages while the store
// runs, those included that leave it a list: it is made anew, and nothing ends.
func TestEachBitOfTheFreeList(t *testing.T) {
	const all = 200
	sound := filled(t, all)
	var list int64
	for page := range pagesOf(t, sound, waybillsName) {
		hurt(t, sound, waybillsName, page, func(b []byte) {
			if binary.LittleEndian.Uint16(b[8:]) == 0x10 { // the last one is the newest
				list = page
			}
		})
	}
	for _, at := range []int{8, 10, 16, 24, 2000, boltpage.PageSize - 1} {
		t.Run(fmt.Sprintf("byte %d of page %d", at, list), func(t *testing.T) {
			dir := t.TempDir()
			copyFiles(t, sound, dir, logName, waybillsName)
			b := open(t, dir, quiet)
			inspected(t, b)
			b.mergeMu.Lock()
			hurt(t, dir, waybillsName, list, func(page []byte) { page[at] ^= 1 })
			if err := b.file.untouched(); !isDamage(err) {
				t.Errorf("that is not the list: %v", err)
			}
			b.mergeMu.Unlock()
			mends(t, b, dir, all)
		})
	}
}

// TestKeyThatChanged turns a bit of the length of each page's last key, which stays in
// its place, before a start and while the store runs: it is not said that there is no
// such waybill, and it comes again.
func TestKeyThatChanged(t *testing.T) {
	const all = 200
	sound := filled(t, all)
	change := func(t *testing.T, dir string) (ids []scan.WaybillID) {
		for page := range pagesOf(t, dir, waybillsName) {
			hurt(t, dir, waybillsName, page, func(b []byte) {
				n := int(binary.LittleEndian.Uint16(b[10:]))
				if binary.LittleEndian.Uint16(b[8:]) != 2 || n == 0 {
					return // no leaf
				}
				last := b[16*n:]
				if key := last[binary.LittleEndian.Uint32(last[4:]):]; bytes.HasPrefix(key, []byte("WAYBILL")) && last[8] == 10 {
					ids = append(ids, scan.WaybillID(key[:10]))
					last[8] ^= 1 // the key's length
				}
			})
		}
		if len(ids) < 5 {
			t.Fatalf("only %v are changed", ids)
		}
		return ids
	}
	for _, live := range []bool{false, true} {
		t.Run(fmt.Sprint("live ", live), func(t *testing.T) {
			dir := t.TempDir()
			copyFiles(t, sound, dir, logName, waybillsName)
			var ids []scan.WaybillID
			if !live {
				ids = change(t, dir)
			}
			b := open(t, dir, quiet)
			if live {
				inspected(t, b)
				ids = change(t, dir)
			}
			for _, id := range ids {
				if wb, ok, err := b.Lookup(t.Context(), id); err == nil && (!ok || len(wb.Nodes) != 1) {
					t.Errorf("it is said that there is no %s: %+v", id, wb)
				}
			}
			mends(t, b, dir, all)
		})
	}
}

// TestCutOff truncates the file of a store that runs, so that what is mapped is no
// longer there.
func TestCutOff(t *testing.T) {
	const all = 200
	dir := filled(t, all)
	b := open(t, dir, quiet)
	inspected(t, b)
	if err := os.Truncate(filepath.Join(dir, waybillsName), 9*boltpage.PageSize); err != nil {
		t.Fatal(err)
	}
	mends(t, b, dir, all)
}

// TestLogSpoiled spoils the log of a store that runs, in each way: nothing that was
// answered is lost, nothing dies, and it goes on by itself.
func TestLogSpoiled(t *testing.T) {
	const all = 200
	sound := filled(t, all)
	pages := pagesOf(t, sound, logName)
	each := func(change func(page []byte)) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			for page := range pages {
				hurt(t, dir, logName, page, change)
			}
		}
	}
	cut := func(size int64) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(dir, logName), size); err != nil {
				t.Fatal(err)
			}
		}
	}
	for what, spoil := range map[string]func(t *testing.T, dir string){
		"zeroed": each(func(page []byte) { clear(page) }), "other numbers": each(func(page []byte) { page[0]++ }),
		"cut to nothing": cut(0), "cut to one page": cut(boltpage.PageSize), "cut to the metas": cut(2 * boltpage.PageSize),
		"cut in the middle": cut(pages / 2 * boltpage.PageSize),
	} {
		for _, merged := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, merged %v", what, merged), func(t *testing.T) {
				dir := t.TempDir()
				copyFiles(t, sound, dir, logName, waybillsName)
				b := open(t, dir, quiet)
				inspected(t, b)
				if merged {
					b.mergeAll()
				}
				spoil(t, dir)
				imported(t, b, "WAYBILL002", 3)
				if err := b.Health(t.Context()); err != nil || stats(t, b).Blocked != "" || have(b) != all {
					t.Fatalf("%v, %+v, have %d", err, stats(t, b), have(b))
				}
				damageSays(t, b, "kept as "+logName+".damaged")
				closed(t, b)
				b = open(t, dir, quiet)
				if have(b) != all || len(stats(t, b).Damage) > 0 {
					t.Errorf("have %d, damage %v", have(b), stats(t, b).Damage)
				}
				for seq := uint64(1); seq <= all; seq++ {
					if wb, _, err := b.Lookup(t.Context(), event(seq).Waybill); err != nil || len(wb.Nodes) != 1 {
						t.Fatalf("%d: %+v, %v", seq, wb, err)
					}
				}
			})
		}
	}
}

// TestWipedWaybills takes all of waybills.db from a store that runs: whoever reads
// is answered, and the process can end.
func TestWipedWaybills(t *testing.T) {
	dir := filled(t, 200)
	b := open(t, dir, quiet)
	inspected(t, b)
	if err := os.Truncate(filepath.Join(dir, waybillsName), 0); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, _, err := b.Lookup(t.Context(), "WAYBILL005"); !errors.Is(err, snapshot.ErrDamaged) {
			t.Fatal(err)
		}
		b.inspectAll()
	}
	b.mergeAll()
	closed(t, b)
}

// TestCannotMend: where there is no room for a new file reads go on, and what is
// damaged is refused until there is room.
func TestCannotMend(t *testing.T) {
	const all = 200
	dir := filled(t, all)
	now, move := movable(time.Now())
	b := open(t, dir, Options{Key: testKey, MergeEvery: time.Hour, Now: now})
	inspected(t, b)
	b.mergeAll()
	p, err := boltpage.Open(filepath.Join(dir, waybillsName))
	if err != nil {
		t.Fatal(err)
	}
	leaf := leafOf(t, p, "WAYBILL150")
	hurt(t, dir, waybillsName, leaf, func(page []byte) { clear(page) })
	block := filepath.Join(dir, waybillsName+".tmp")
	if err := os.MkdirAll(filepath.Join(block, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	b.inspectAll()
	damageSays(t, b, "it is tried again")
	if _, ok, err := b.Lookup(t.Context(), "WAYBILL001"); !ok || err != nil {
		t.Errorf("another waybill: %v, %v", ok, err)
	}
	if _, _, err := b.Lookup(t.Context(), "WAYBILL150"); !errors.Is(err, snapshot.ErrDamaged) {
		t.Errorf("a damaged one: %v", err)
	}
	e := event(all + 1)
	e.Waybill = "WAYBILL150"
	batch := snapshot.Batch{Depot: "hz-01", Epoch: 1, From: all + 1, NextSeq: all + 2, Events: []snapshot.Event{e}}
	if _, err := b.Merge(t.Context(), batch); !errors.Is(err, snapshot.ErrDamaged) {
		t.Errorf("a scan of it: %v", err)
	}
	b.mergeAll()
	if err := errors.Join(b.Health(t.Context()), os.RemoveAll(block)); err != nil {
		t.Fatal(err)
	}
	move(2 * mendPause)
	inspected(t, b)
	batch.From = 1
	for seq := range uint64(all) {
		batch.Events = append(batch.Events[:seq], event(seq+1), e)
	}
	if m, err := b.Merge(t.Context(), batch); err != nil || m.Have != all+1 {
		t.Errorf("%+v, %v", m, err)
	}
}

func leafOf(t testing.TB, p *boltpage.File, id string) (leaf int64) {
	t.Helper()
	r := p.Finder()
	r.Seen = func(page, _ uint64) { leaf = int64(page) }
	if v, err := r.Get(string(bucketWaybills), []byte(id)); v == nil || err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	return leaf
}

// TestLookupsEnd: where the disk answers none of as many reads as there may be, a lookup
// ends with its context, of what is merged; of what is not it is answered.
func TestLookupsEnd(t *testing.T) {
	b := open(t, t.TempDir(), quiet)
	send(t, b, 1, 1)
	mergeNow(t, b)
	send(t, b, 2, 2)
	goOn, inside := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for range readers {
		all.Go(func() {
			_, _ = read(ctx, b, func(*boltpage.Finder) (int, error) {
				inside <- struct{}{}
				<-goOn
				return 0, nil
			})
		})
		<-inside
	}
	short, end := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer end()
	if _, _, err := b.Lookup(short, "WAYBILL1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("looked up: %v", err)
	}
	if nodes(t, b, 2) != 1 {
		t.Error("what is in memory is not answered")
	}
	cancel()
	close(goOn)
	all.Wait()
	if nodes(t, b, 1) != 1 {
		t.Error("lookups do not go on")
	}
}

// TestSlowRead: a read that the disk does not answer ends with its context.
func TestSlowRead(t *testing.T) {
	b := open(t, t.TempDir(), quiet)
	send(t, b, 1, 1)
	ctx, cancel := context.WithCancel(t.Context())
	stuck, goOn := make(chan struct{}), make(chan struct{})
	go func() {
		<-stuck
		cancel()
	}()
	_, err := read(ctx, b, func(*boltpage.Finder) (int, error) {
		close(stuck)
		<-goOn
		return 1, nil
	})
	if !errors.Is(err, context.Canceled) || nodes(t, b, 1) != 1 || b.Health(t.Context()) != nil {
		t.Errorf("%v", err)
	}
	close(goOn)
}
