package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/store/boltpage"
	"scanrelay/store/durable"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/boltfile"
	"scanrelay/store/snapshot/judge"
	"scanrelay/store/snapshot/values"
)

// quiet merges only when it is told to.
var quiet = Options{MergeEvery: time.Hour, Key: testKey}

// testKey is a master key that copies of a folder need not bring along.
const testKey = secret.Text("00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff")

// movable is a clock that a test moves while the store reads it.
func movable(t time.Time) (now func() time.Time, move func(time.Duration)) {
	var at atomic.Int64
	at.Store(t.UnixNano())
	return func() time.Time { return time.Unix(0, at.Load()).UTC() }, func(d time.Duration) { at.Add(int64(d)) }
}

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
	db, err := bbolt.Open(filepath.Join(dir, name), 0o600, boltfile.Options(name))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(boltfile.Summed(fn)), db.Close()); err != nil {
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
		if len(stats(t, b).Damage) > 0 {
			t.Fatalf("damage %v", stats(t, b).Damage)
		}
		last := b.tail.Depots["hz-01"].View("hz-01").At
		before := time.Now().Truncate(time.Second)
		if m := send(t, b, 8, 9); !m.Rewind || m.Have != 5 {
			t.Fatalf("no rewind: %+v", m)
		}
		after := time.Now().Add(time.Second) // of a time there is a second at least
		send(t, b, 6, 9)
		if have(b) != 9 || nodes(t, b, 7) != 1 {
			t.Fatalf("have %d, damage %v", have(b), stats(t, b).Damage)
		}
		told := stats(t, b).Damage
		if missing := stats(t, b).Missing; missing < before.Sub(last) || missing > after.Sub(last) {
			t.Errorf("missing %v, from %v to a time between %v and %v", missing, last, before, after)
		}
		damageSays(t, b, "imported between "+last.Format(time.RFC3339)+" and ")
		mergeNow(t, b)
		closed(t, b)
		b = open(t, copied, quiet)
		if got := stats(t, b).Damage; !slices.Equal(got, told) {
			t.Fatalf("after a restart: %q, before %q", got, told)
		}
		closed(t, b)
	}
}

// TestOneDepotsWord: that a store was put back from a backup is what two depots say,
// or the only one; one of several is named, and raises no alarm.
func TestOneDepotsWord(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, quiet)
	from := func(depot scan.DepotID, seq uint64) {
		t.Helper()
		e := event(seq)
		if _, err := b.Merge(t.Context(), snapshot.Batch{Depot: depot, Epoch: 1, From: seq, NextSeq: seq + 1, Events: []snapshot.Event{e}}); err != nil {
			t.Fatal(err)
		}
	}
	from("hz-01", 1)
	from("sh-02", 1)
	closed(t, b)
	b = open(t, dir, quiet)
	for seq := uint64(100); seq < 110; seq++ {
		from("hz-01", seq)
	}
	if s := stats(t, b); s.Missing != 0 || len(s.Damage) != 1 || !strings.Contains(s.Damage[0], "depot hz-01 says") {
		t.Errorf("one depot's word: %+v", s)
	}
	from("sh-02", 200)
	damageSays(t, b, "this store was put back")
	if b.restored.Load() == nil {
		t.Error("two depots are not believed")
	}
}

// TestPutBackIsKept: what depots say of a time that is lost they say once, so it is
// kept before they are answered, whenever the process ends then, and in each log that
// takes the place of that one.
func TestPutBackIsKept(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, quiet)
	say := func(depot scan.DepotID, seq uint64) {
		t.Helper()
		e := event(seq)
		if _, err := b.Merge(t.Context(), snapshot.Batch{Depot: depot, Epoch: 1, From: seq, NextSeq: seq + 1, Events: []snapshot.Event{e}}); err != nil {
			t.Fatal(err)
		}
	}
	killed := func() {
		t.Helper()
		next := t.TempDir()
		copyFiles(t, dir, next, logName, waybillsName)
		closed(t, b)
		dir = next
		b = open(t, dir, quiet)
	}
	say("hz-01", 1)
	say("sh-02", 1)
	say("hz-01", 100)
	killed()
	trimmed(t, b)
	killed()
	if m := stats(t, b).Missing; m != 0 {
		t.Fatalf("one depot's word: %v", m)
	}
	say("sh-02", 100)
	damageSays(t, b, "this store was put back")
	told := stats(t, b)
	for range 2 {
		killed()
		if got := stats(t, b); got.Missing == 0 || got.Missing != told.Missing || !slices.Contains(told.Damage, got.Damage[0]) {
			t.Fatalf("after a kill: %+v, before %+v", got, told)
		}
		trimmed(t, b)
	}
	mergeNow(t, b)
	b.horizon.At = b.restored.Load().To + 1
	say("hz-01", 2)
	mergeNow(t, b)
	if err := b.update(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketMeta).Put(metaHorizon, values.EncodeHorizon(metaHorizon, b.horizon))
	}); err != nil {
		t.Fatal(err)
	}
	if killed(); stats(t, b).Missing != 0 {
		t.Errorf("it is told when all that is missing would be forgotten: %+v", stats(t, b))
	}
	closed(t, b)
}

// trimmed makes the log anew of what is not merged.
func trimmed(t testing.TB, b *Store) {
	t.Helper()
	if err := b.copyLog(); err != nil {
		t.Fatal(err)
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
		send(t, b, 9, 9)
		closed(t, b)
		b = open(t, now, quiet)
		trimmed(t, b)
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

// spoil flips a bit of a value wherever a file has a copy of it, and returns the
// value as it was.
func spoil(t testing.TB, dir, name string, bucket, key []byte) []byte {
	t.Helper()
	var value []byte
	edit(t, dir, name, func(tx *bbolt.Tx) error {
		value = bytes.Clone(tx.Bucket(bucket).Get(key))
		return nil
	})
	path := filepath.Join(dir, name)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	broken := bytes.Clone(value)
	broken[len(broken)/2] ^= 1
	if err := os.WriteFile(path, bytes.ReplaceAll(content, value, broken), 0o600); err != nil {
		t.Fatal(err)
	}
	return value
}

// TestDamagedRecord: what is behind a damaged record is kept, and have stays
// before it, so that the depot sends it again.
func TestDamagedRecord(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, quiet)
	send(t, b, 1, 3)
	send(t, b, 4, 6)
	closed(t, b)
	spoil(t, dir, logName, bucketLog, number(4))
	b = open(t, dir, quiet)
	damageSays(t, b, "record 4")
	damageSays(t, b, "kept as "+logName+".damaged")
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

// TestImpossibleNumbers: a number that nobody can have written, though its sum is right,
// is damage: no event that comes behind it is answered as taken and missing.
func TestImpossibleNumbers(t *testing.T) {
	const none = 1<<63 + 5
	for what, c := range map[string]struct {
		file string
		fn   func(b *Store, tx *bbolt.Tx) error
	}{
		"a record": {logName, func(b *Store, tx *bbolt.Tx) error {
			key := number(none)
			return tx.Bucket(bucketLog).Put(key, values.EncodeRecord(b.ring, key, &judge.Record{Kind: judge.RecordAgain}))
		}},
		"a waybill": {waybillsName, func(b *Store, tx *bbolt.Tx) error {
			key := []byte("WAYBILL1")
			return tx.Bucket(bucketWaybills).Put(key, values.EncodeState(b.ring, key, &judge.State{Applied: none}))
		}},
		"an epoch": {waybillsName, func(_ *Store, tx *bbolt.Tx) error {
			key := values.EpochKey("hz-01", 1)
			return tx.Bucket(bucketDepots).Put(key, values.EncodeEpoch(key, &judge.Epoch{Epoch: 1, Have: 2, Last: none}))
		}},
		"merged": {waybillsName, func(_ *Store, tx *bbolt.Tx) error { return boltfile.PutNumber(tx.Bucket(bucketMeta), metaMerged, none) }},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			b := open(t, dir, quiet)
			send(t, b, 1, 2)
			mergeNow(t, b)
			send(t, b, 3, 3)
			closed(t, b)
			edit(t, dir, c.file, func(tx *bbolt.Tx) error { return c.fn(b, tx) })
			b = open(t, dir, quiet)
			inspected(t, b)
			damageSays(t, b, c.file)
			nodes := func(seq uint64) int { // of the one that was lost no lookup tells before its data is known
				wb, _, err := b.tailAndFile(t, scan.WaybillID(fmt.Sprint("WAYBILL", seq)))
				if err != nil {
					t.Fatal(err)
				}
				return len(wb.Nodes)
			}
			from := have(b) + 1
			for seq := from; seq <= 5; seq++ {
				if m := send(t, b, seq, seq); m.Have != seq || m.Answers[0].Result != snapshot.Taken || nodes(seq) != 1 {
					t.Fatalf("event %d: %+v, %d nodes", seq, m, nodes(seq))
				}
			}
			mergeNow(t, b)
			closed(t, b)
			b = open(t, dir, quiet)
			inspected(t, b)
			for seq := from; seq <= 5; seq++ {
				if nodes(seq) != 1 {
					t.Errorf("event %d is gone after a restart", seq)
				}
			}
		})
	}
}

// TestDamagedWaybill: one bit makes a waybill unreadable, not unknown: WeChat is
// told to ask again until the depot has sent it again.
func TestDamagedWaybill(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, quiet)
	send(t, b, 1, 2)
	mergeNow(t, b)
	closed(t, b)
	spoil(t, dir, waybillsName, bucketWaybills, []byte("WAYBILL1"))
	b = open(t, dir, quiet)
	inspected(t, b)
	for range 2 {
		damageSays(t, b, "lost in 1 places")
		if _, _, err := b.Lookup(t.Context(), "WAYBILL1"); !errors.Is(err, snapshot.ErrDamaged) || nodes(t, b, 2) != 1 {
			t.Fatalf("looked up: %v", err)
		}
		if _, ok, err := b.Lookup(t.Context(), "WAYBILL3"); ok || err != nil {
			t.Fatalf("never heard of: %v, %v", ok, err)
		}
		if have(b) != 0 {
			t.Fatalf("have %d: the depot is not asked again", have(b))
		}
		closed(t, b)
		b = open(t, dir, quiet) // it is remembered
		inspected(t, b)
	}
	if m := send(t, b, 1, 2); m.Have != 2 || len(m.Gaps) > 0 {
		t.Fatalf("%+v", m)
	}
	mergeNow(t, b)
	wb, ok, err := b.tailAndFile(t, "WAYBILL1")
	if !ok || err != nil || len(wb.Nodes) != 1 || nodes(t, b, 2) != 1 {
		t.Fatalf("it did not start again: %v, %v", ok, err)
	}
	closed(t, b)
	b = open(t, dir, quiet)
	inspected(t, b)
	if have(b) != 2 {
		t.Fatalf("have %d: the depot is asked twice", have(b))
	}
}

func TestFormats(t *testing.T) {
	for _, name := range []string{logName, waybillsName} {
		dir := t.TempDir()
		closed(t, open(t, dir, quiet))
		edit(t, dir, name, func(tx *bbolt.Tx) error { return boltfile.PutNumber(tx.Bucket(bucketMeta), metaFormat, format+1) })
		_, err := Open(dir, quiet)
		if !errors.Is(err, snapshot.ErrNewer) || !strings.Contains(err.Error(), "format 5, this one knows 4") || !strings.Contains(err.Error(), name) {
			t.Errorf("%s of a newer format: %v", name, err)
		}
		edit(t, dir, name, func(tx *bbolt.Tx) error { return boltfile.PutNumber(tx.Bucket(bucketMeta), metaFormat, format) })
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
	if _, err := b.Known(t.Context(), "", []scan.WaybillID{"A"}); !errors.Is(err, snapshot.ErrClosed) {
		t.Errorf("Known: %v", err)
	}
	if _, err := b.Forget(t.Context(), snapshot.Retention{Keep: time.Hour}); !errors.Is(err, snapshot.ErrClosed) {
		t.Errorf("Forget: %v", err)
	}
	stats(t, b)
	closed(t, b)
}

// A caller who goes away while its call is committed does not take the only word
// of the waybills that got their data with it.
func TestGainedIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, goOn := make(chan struct{}), make(chan struct{})
		var gate atomic.Bool
		b := open(t, t.TempDir(), Options{MergeEvery: time.Hour, Now: func() time.Time { // asked in the middle of a commit
			if gate.CompareAndSwap(true, false) {
				close(began)
				<-goOn
			}
			return time.Now()
		}})
		gate.Store(true)
		ctx, leave := context.WithCancel(t.Context())
		go func() {
			<-began
			leave()
			synctest.Wait() // for a caller who does not wait
			close(goOn)
		}()
		got, err := b.Import(ctx, []snapshot.Import{{Waybill: "YT1", Data: scan.Waybill{CreateTime: 1}}})
		if err != nil || len(got.Gained) != 1 {
			t.Errorf("gained %v, %v", got.Gained, err)
		}
		closed(t, b)
	})
}

// TestLogIsTrimmed: a log that is big is made anew of what is not merged, and
// nothing else of it is lost.
func TestLogIsTrimmed(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, Options{Key: testKey, MergeEvery: time.Millisecond, LogSize: 64 << 10})
	for seq := uint64(1); seq < 20000; seq += 100 {
		send(t, b, seq, seq+99)
	}
	closed(t, b)
	info, err := os.Stat(filepath.Join(dir, logName))
	if err != nil || info.Size() > 2<<20 {
		t.Fatalf("the log has %d bytes, %v", info.Size(), err)
	}
	b = open(t, dir, quiet)
	for seq := uint64(1); seq <= 20000; seq++ {
		if nodes(t, b, seq) != 1 {
			t.Fatalf("%d is not there", seq)
		}
	}
	if have(b) != 20000 || len(stats(t, b).Damage) > 0 {
		t.Errorf("have %d, damage %v", have(b), stats(t, b).Damage)
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
