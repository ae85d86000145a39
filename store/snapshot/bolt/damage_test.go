package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"scanrelay/agent/scan"
	"scanrelay/store/boltpage"
	"scanrelay/store/durable"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/judge"
)

// quiet merges only when it is told to.
var quiet = Options{MergeEvery: time.Hour}

func open(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	b, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func send(t testing.TB, b *Store, from, to uint64) snapshot.Merged {
	t.Helper()
	in := snapshot.Batch{Depot: "hz-01", Epoch: 1, From: from, NextSeq: to + 1}
	for seq := from; seq <= to; seq++ {
		in.Events = append(in.Events, snapshot.Event{Seq: seq, Event: scan.Event{
			EventID: fmt.Sprintf("e%d", seq), Waybill: scan.WaybillID(fmt.Sprintf("WAYBILL%d", seq)), ActionTime: int64(seq),
			ActionType: 200001, ActionMsg: "x",
		}})
	}
	m, err := b.Merge(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func nodes(t testing.TB, b *Store, seq uint64) int {
	t.Helper()
	w, _, err := b.Lookup(t.Context(), scan.WaybillID(fmt.Sprintf("WAYBILL%d", seq)))
	if err != nil {
		t.Fatal(err)
	}
	return len(w.Nodes)
}

func have(b *Store) uint64 {
	return b.tail.Depots["hz-01"].Effective(1, 1<<40)
}

func mergeNow(t testing.TB, b *Store) {
	t.Helper()
	b.mergeMu.Lock()
	defer b.mergeMu.Unlock()
	if err := b.mergeTail(); err != nil {
		t.Fatal(err)
	}
}

func closed(t testing.TB, b *Store) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

// edit changes a file behind the store's back.
func edit(t testing.TB, dir, name string, fn func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(dir, name), 0o600, boltOptions(name))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(fn), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func copyFiles(t testing.TB, from, to string, names ...string) {
	t.Helper()
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(from, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func stats(t testing.TB, b *Store) snapshot.Stats {
	t.Helper()
	s, err := b.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func damageSays(t testing.TB, b *Store, word string) {
	t.Helper()
	if d := strings.Join(stats(t, b).Damage, "\n"); !strings.Contains(d, word) {
		t.Errorf("damage %q does not speak of %q", d, word)
	}
}

// TestBackup puts a backup back: the same store with a lower have, from which
// the depot sends again, and the answers agree.
func TestBackup(t *testing.T) {
	for _, merged := range []bool{false, true} {
		dir, copied := t.TempDir(), t.TempDir()
		b := open(t, dir, quiet)
		send(t, b, 1, 5)
		if merged {
			mergeNow(t, b)
		}
		id := b.id
		closed(t, b)
		copyFiles(t, dir, copied, logName, waybillsName)
		b = open(t, dir, quiet)
		send(t, b, 6, 9)
		mergeNow(t, b)
		closed(t, b)
		b = open(t, copied, quiet)
		if b.id != id || have(b) != 5 {
			t.Fatalf("id %s, have %d", b.id, have(b))
		}
		if m := send(t, b, 8, 9); !m.Rewind || m.Have != 5 {
			t.Fatalf("no rewind: %+v", m)
		}
		send(t, b, 6, 9)
		if have(b) != 9 || nodes(t, b, 7) != 1 || len(stats(t, b).Damage) > 0 {
			t.Fatalf("have %d, damage %v", have(b), stats(t, b).Damage)
		}
		closed(t, b)
	}
}

// TestMixedBackup puts files of different moments together.
func TestMixedBackup(t *testing.T) {
	prepare := func(t *testing.T) (old, now string) {
		old, now = t.TempDir(), t.TempDir()
		b := open(t, now, quiet)
		send(t, b, 1, 4)
		mergeNow(t, b)
		send(t, b, 5, 6)
		closed(t, b)
		copyFiles(t, now, old, logName, waybillsName)
		b = open(t, now, quiet)
		send(t, b, 7, 8)
		mergeNow(t, b)
		send(t, b, 9, 9) // cuts the log's prefix
		send(t, b, 10, 10)
		closed(t, b)
		return old, now
	}
	t.Run("an old log loses nothing", func(t *testing.T) {
		old, now := prepare(t)
		copyFiles(t, old, now, logName)
		b := open(t, now, quiet)
		damageSays(t, b, logName)
		if have(b) != 8 || nodes(t, b, 8) != 1 || nodes(t, b, 9) != 0 {
			t.Fatalf("have %d", have(b))
		}
		closed(t, b)
		b = open(t, now, quiet) // said once
		if m := send(t, b, 9, 9); m.Have != 9 || nodes(t, b, 9) != 1 {
			t.Fatalf("%+v", m)
		}
		mergeNow(t, b)
		closed(t, b)
		b = open(t, now, quiet)
		if len(stats(t, b).Damage) > 0 || have(b) != 9 || nodes(t, b, 9) != 1 {
			t.Fatalf("have %d, damage %v", have(b), stats(t, b).Damage)
		}
	})
	t.Run("old waybills are sent again", func(t *testing.T) {
		old, now := prepare(t)
		copyFiles(t, old, now, waybillsName)
		b := open(t, now, quiet)
		damageSays(t, b, waybillsName+" is older")
		if have(b) != 0 || nodes(t, b, 10) != 1 || nodes(t, b, 7) != 0 {
			t.Fatalf("have %d", have(b))
		}
		if m := send(t, b, 1, 10); m.Have != 10 || nodes(t, b, 7) != 1 || nodes(t, b, 10) != 1 {
			t.Fatalf("%+v", m)
		}
		closed(t, b)
	})
	t.Run("no log", func(t *testing.T) {
		_, now := prepare(t)
		if err := os.Remove(filepath.Join(now, logName)); err != nil {
			t.Fatal(err)
		}
		b := open(t, now, quiet)
		damageSays(t, b, "missing")
		if have(b) != 8 {
			t.Fatalf("have %d, want what was merged", have(b))
		}
		send(t, b, 9, 12)
		closed(t, b)
		b = open(t, now, quiet)
		if have(b) != 12 || nodes(t, b, 12) != 1 || len(stats(t, b).Damage) > 0 {
			t.Fatalf("have %d, damage %v", have(b), stats(t, b).Damage)
		}
	})
	t.Run("no waybills", func(t *testing.T) {
		_, now := prepare(t)
		if err := os.Remove(filepath.Join(now, waybillsName)); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(now, quiet); err == nil || !strings.Contains(err.Error(), waybillsName) {
			t.Fatalf("opened with nothing beside a log: %v", err)
		}
	})
	t.Run("another store's log", func(t *testing.T) {
		_, now := prepare(t)
		other := t.TempDir()
		closed(t, open(t, other, quiet))
		copyFiles(t, other, now, logName)
		if _, err := Open(now, quiet); err == nil || !strings.Contains(err.Error(), "another store") {
			t.Fatalf("opened files of two stores: %v", err)
		}
	})
}

// TestDamagedRecord: what is behind a damaged record is kept, and have stays
// before it, so that the depot sends it again.
func TestDamagedRecord(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, quiet)
	send(t, b, 1, 3)
	send(t, b, 4, 6)
	closed(t, b)
	edit(t, dir, logName, func(tx *bbolt.Tx) error {
		log := tx.Bucket(bucketLog)
		v := bytes.Clone(log.Get(number(4)))
		v[len(v)/2] ^= 1
		return log.Put(number(4), v)
	})
	b = open(t, dir, quiet)
	damageSays(t, b, "record 4")
	if have(b) != 3 || nodes(t, b, 4) != 0 || nodes(t, b, 5) != 1 {
		t.Fatalf("have %d", have(b))
	}
	m := send(t, b, 4, 7)
	if m.Have != 7 || nodes(t, b, 4) != 1 || nodes(t, b, 5) != 1 || len(m.Gaps) > 0 {
		t.Fatalf("%+v", m)
	}
	mergeNow(t, b)
	closed(t, b)
	b = open(t, dir, quiet)
	if have(b) != 7 || nodes(t, b, 6) != 1 {
		t.Fatalf("have %d", have(b))
	}
}

// TestDamagedWaybill: it is set aside, never deleted, and starts again.
func TestDamagedWaybill(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, quiet)
	send(t, b, 1, 2)
	mergeNow(t, b)
	closed(t, b)
	var broken []byte
	edit(t, dir, waybillsName, func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(bucketWaybills)
		broken = bytes.Clone(bucket.Get([]byte("WAYBILL1")))
		broken[3] ^= 0x40
		return bucket.Put([]byte("WAYBILL1"), broken)
	})
	b = open(t, dir, quiet)
	if nodes(t, b, 1) != 0 || nodes(t, b, 2) != 1 {
		t.Fatal("a damaged value was shown")
	}
	damageSays(t, b, "unreadable")
	if a, err := b.Answers(t.Context(), "hz-01", []snapshot.Ask{{Epoch: 1, Seq: 1, Waybill: "WAYBILL1", EventID: "e1"}}); err != nil || a[0].Result != snapshot.Unknown {
		t.Fatalf("asked: %v, %v", a, err)
	}
	send(t, b, 1, 1) // the depot syncs the waybill again
	mergeNow(t, b)
	if nodes(t, b, 1) != 1 {
		t.Fatal("it did not start again")
	}
	closed(t, b)
	edit(t, dir, waybillsName, func(tx *bbolt.Tx) error {
		if !bytes.Equal(tx.Bucket(bucketDamaged).Get([]byte("WAYBILL1")), broken) {
			t.Error("the damaged value was not kept")
		}
		return nil
	})
}

func TestFormats(t *testing.T) {
	for _, name := range []string{logName, waybillsName} {
		dir := t.TempDir()
		closed(t, open(t, dir, quiet))
		edit(t, dir, name, func(tx *bbolt.Tx) error { return putNumber(tx.Bucket(bucketMeta), metaFormat, format+1) })
		_, err := Open(dir, quiet)
		if !errors.Is(err, snapshot.ErrNewer) || !strings.Contains(err.Error(), "format 2, this one knows 1") || !strings.Contains(err.Error(), name) {
			t.Errorf("%s of a newer format: %v", name, err)
		}
		edit(t, dir, name, func(tx *bbolt.Tx) error { return putNumber(tx.Bucket(bucketMeta), metaFormat, format) })
		closed(t, open(t, dir, quiet))
	}
}

func TestFilesArePrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "here")
	closed(t, open(t, dir, quiet))
	for _, name := range []string{logName, waybillsName, lockName} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, quiet)
	if _, err := Open(dir, quiet); !errors.Is(err, snapshot.ErrInUse) {
		t.Fatalf("opened twice: %v", err)
	}
	closed(t, b)
	closed(t, open(t, dir, quiet))
}

// TestTorn: what a power cut leaves of a file being made is made again.
func TestTorn(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{logName, waybillsName} {
		if err := os.WriteFile(filepath.Join(dir, name+durable.TempSuffix), []byte("torn"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := open(t, dir, quiet)
	send(t, b, 1, 1)
	closed(t, b)
	// A cut between the two files.
	if err := os.Remove(filepath.Join(dir, logName)); err != nil {
		t.Fatal(err)
	}
	closed(t, open(t, dir, quiet))
}

// TestUnreadableFile: a file that is none gives an error, no panic.
func TestUnreadableFile(t *testing.T) {
	dir := t.TempDir()
	closed(t, open(t, dir, quiet))
	if err := os.WriteFile(filepath.Join(dir, waybillsName), bytes.Repeat([]byte("x"), 8192), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, quiet); err == nil || !strings.Contains(err.Error(), waybillsName) {
		t.Fatalf("opened rubbish: %v", err)
	}
}

func TestHarmless(t *testing.T) {
	write := func(e syscall.Errno) error {
		return fmt.Errorf("commit: %w", &fs.PathError{Op: "write", Path: "log.db", Err: e})
	}
	for _, c := range []struct {
		err  error
		want bool
	}{
		{write(syscall.ENOSPC), true},
		{write(syscall.EDQUOT), true},
		{write(syscall.EIO), false},
		{write(syscall.EROFS), false},
		{syscall.ENOSPC, false}, // a failed fdatasync
		{syscall.EIO, false},
		{&fs.PathError{Op: "sync", Err: syscall.ENOSPC}, false},
		{bolterrors.ErrMaxSizeReached, true},
		{errors.New("file resize error: no space left on device"), false},
	} {
		if got := boltpage.Retryable(c.err); got != c.want {
			t.Errorf("Retryable(%v) = %v", c.err, got)
		}
	}
}

// TestFailed: after a failed sync the store takes and answers nothing, and says
// why.
func TestFailed(t *testing.T) {
	b := open(t, t.TempDir(), quiet)
	send(t, b, 1, 1)
	_ = b.fail(syscall.EIO)
	for what, err := range map[string]error{"Wait": b.Wait(t.Context()), "Health": b.Health(t.Context())} {
		if !errors.Is(err, snapshot.ErrFailed) || !errors.Is(err, syscall.EIO) {
			t.Fatalf("%s: %v", what, err)
		}
	}
	if _, err := b.Merge(t.Context(), snapshot.Batch{Depot: "hz-01", Epoch: 1, From: 2, NextSeq: 3, Events: []snapshot.Event{{Seq: 2}}}); !errors.Is(err, snapshot.ErrFailed) {
		t.Errorf("Merge: %v", err)
	}
	if _, _, err := b.Lookup(t.Context(), "NEVER99"); !errors.Is(err, snapshot.ErrFailed) {
		t.Errorf("Lookup: %v", err)
	}
	closed(t, b)
}

func TestClosed(t *testing.T) {
	b := open(t, t.TempDir(), quiet)
	closed(t, b)
	if _, err := b.Import(t.Context(), []snapshot.Import{{Waybill: "A"}}); !errors.Is(err, snapshot.ErrClosed) {
		t.Errorf("Import: %v", err)
	}
	if _, err := b.Known(t.Context(), []scan.WaybillID{"A"}); !errors.Is(err, snapshot.ErrClosed) {
		t.Errorf("Known: %v", err)
	}
	if _, err := b.Forget(t.Context(), time.Now()); !errors.Is(err, snapshot.ErrClosed) {
		t.Errorf("Forget: %v", err)
	}
	stats(t, b)
	closed(t, b)
}

// TestLogIsCut: what is merged leaves the log, by and by.
// A caller who goes away while its call is committed does not take the only word
// of the waybills that got their data with it.
func TestGainedIsNotLost(t *testing.T) {
	began, goOn := make(chan struct{}), make(chan struct{})
	b := open(t, t.TempDir(), Options{MergeEvery: time.Hour, Now: func() time.Time { // asked in the middle of a commit
		close(began)
		<-goOn
		return time.Now()
	}})
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		<-began
		leave()
		time.Sleep(50 * time.Millisecond) // for a caller who does not wait
		close(goOn)
	}()
	gained, err := b.Import(ctx, []snapshot.Import{{Waybill: "YT1", Data: scan.Waybill{CreateTime: 1}}})
	if err != nil || len(gained) != 1 {
		t.Errorf("gained %v, %v", gained, err)
	}
}

func TestLogIsCut(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, Options{MergeEvery: time.Millisecond})
	send(t, b, 1, 500)
	left := func() (n int) {
		err := b.log.View(func(tx *bbolt.Tx) error {
			n = tx.Bucket(bucketLog).Stats().KeyN
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for end := time.Now().Add(2 * time.Minute); left() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d records stay in the log", left())
		}
	}
	if stats(t, b).Waybills != 500 {
		t.Errorf("%d waybills", stats(t, b).Waybills)
	}
}

// TestTailIsBounded: batches wait for the merger rather than grow memory.
func TestTailIsBounded(t *testing.T) {
	b := open(t, t.TempDir(), Options{MergeEvery: time.Hour, MergeRecords: 1 << 40, MaxTail: 50})
	for seq := uint64(1); seq < 400; seq += 20 {
		send(t, b, seq, seq+19)
		if n := stats(t, b).Tail; n > 50+20 {
			t.Fatalf("%d records in the tail", n)
		}
	}
}

func FuzzDecodeState(f *testing.F) {
	w := scan.Waybill{CreateTime: 1, Receiver: scan.Party{Name: "李四", Phone: "13800138000"}}
	f.Add(encodeState(&judge.State{Data: &w, Imported: true, Since: -1, Changed: 2, Applied: 3, Nodes: []judge.Node{{Epoch: 1, Seq: 2}}}))
	f.Add(frame([]byte{stateForm, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v := range [][]byte{b, frame(bytes.Clone(b))} {
			changed, cerr := changedOf(v)
			st, err := decodeState(v)
			if err != nil {
				continue
			}
			if cerr != nil || changed != st.Changed {
				t.Fatalf("changedOf %d, %v; state says %d", changed, cerr, st.Changed)
			}
			again, err := decodeState(encodeState(st))
			if err != nil || fmt.Sprintf("%+v", again.Nodes) != fmt.Sprintf("%+v", st.Nodes) || again.HasData() != st.HasData() {
				t.Fatalf("does not come back: %v", err)
			}
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	w := scan.Waybill{CreateTime: 1}
	for _, r := range []*judge.Record{
		{Kind: judge.RecordEvent, At: 1, Result: snapshot.Taken, Waybill: "A", Node: judge.Node{Epoch: 1, Seq: 2, PathNode: scan.PathNode{Depot: "d", EventID: "e"}}},
		{Kind: judge.RecordMark, At: 1, Result: snapshot.Duplicate, Number: judge.Number{Depot: "d", Epoch: 1, Seq: 2}, Ident: 3},
		{Kind: judge.RecordData, Waybill: "A", Data: &w, Imported: true},
		{Kind: judge.RecordBinding, Binding: judge.Binding{Exist: true, At: 9}},
	} {
		f.Add(encodeRecord(r))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v := range [][]byte{b, frame(bytes.Clone(b))} {
			r, err := decodeRecord(v)
			if err != nil {
				continue
			}
			if again, err := decodeRecord(encodeRecord(r)); err != nil || again.Ident != r.Ident || again.Number != r.Number {
				t.Fatalf("does not come back: %v", err)
			}
		}
	})
}

func FuzzDecodeEpoch(f *testing.F) {
	f.Add(encodeEpoch(&judge.Epoch{Have: 5, Gaps: []judge.Span{{From: 1, To: 2}}}))
	f.Add(binary.AppendUvarint(nil, 1<<63))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = decodeEpoch(1, b)
		_, _ = decodeEpoch(1, frame(bytes.Clone(b)))
		_, _, _ = parseEpochKey(b)
	})
}
