package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"scanrelay/agent/scan"
	"scanrelay/store/boltpage"
	"scanrelay/store/codec"
	"scanrelay/store/event"
	"scanrelay/store/format"
	"scanrelay/store/quarantine"
)

// faulty makes commits fail on demand.
type faulty struct {
	err  atomic.Pointer[error]
	late bool // fail behind the commit, as a failed second fdatasync does
}

func (f *faulty) set(err error) {
	if err == nil {
		f.err.Store(nil)
		return
	}
	f.err.Store(&err)
}

func (f *faulty) commit(tx *bolt.Tx) error {
	err := f.err.Load()
	if err == nil {
		return tx.Commit()
	}
	if f.late {
		if err := tx.Commit(); err != nil {
			return err
		}
		return *err
	}
	return errors.Join(tx.Rollback(), *err)
}

func TestCommitFailureMeans(t *testing.T) {
	write := func(errno syscall.Errno) error { return &fs.PathError{Op: "write", Path: "x", Err: errno} }
	for _, c := range []struct {
		err   error
		retry bool
	}{
		{write(syscall.ENOSPC), true},
		{write(syscall.EDQUOT), true},
		{fmt.Errorf("%w", bolterrors.ErrMaxSizeReached), true},
		{syscall.ENOSPC, false}, // a failed fdatasync
		{syscall.EIO, false},
		{write(syscall.EIO), false},
		{write(syscall.EROFS), false},
		{&fs.PathError{Op: "sync", Err: syscall.ENOSPC}, false},
		{errors.New("file resize error: no space left on device"), false}, // flattened: unknown
	} {
		if got := boltpage.Retryable(c.err); got != c.retry {
			t.Errorf("%v: retry %t, want %t", c.err, got, c.retry)
		}
	}
}

// A failed fdatasync: no acknowledgement, nothing is taken any more, and the
// next start does not write to that segment again.
func TestFailedSyncEndsTheOutbox(t *testing.T) {
	dir := t.TempDir()
	f := &faulty{late: true}
	opts := small(newTestClock())
	opts.commit = f.commit
	o := open(t, dir, opts)
	ctx := context.Background()
	mustAppend(t, o, newEvent("W", "before", 1))
	f.set(syscall.EIO)
	if _, err := o.Append(ctx, batch(newEvent("W", "lost", 1))); !errors.Is(err, event.ErrFailed) || !errors.Is(err, syscall.EIO) {
		t.Errorf("append: %v", err)
	}
	<-o.Failed()
	f.set(nil)
	if _, err := o.Append(ctx, batch(newEvent("W", "after", 1))); !errors.Is(err, event.ErrFailed) {
		t.Errorf("append after: %v", err)
	}
	if err := o.Synced(1, nil, nil); !errors.Is(err, event.ErrFailed) {
		t.Errorf("synced: %v", err)
	}
	if _, err := o.Lease(1, time.Second); !errors.Is(err, event.ErrFailed) {
		t.Errorf("lease: %v", err)
	}
	if err := o.Close(ctx); !errors.Is(err, event.ErrFailed) {
		t.Errorf("close: %v", err)
	}
	o = open(t, dir, small(newTestClock()))
	if n := newest(o).Number; n != 2 {
		t.Errorf("newest segment is %d: the suspect one is written to", n)
	}
	mustAppend(t, o, newEvent("W", "again", 1))
	if mark, err := os.ReadFile(filepath.Join(dir, stateName)); err != nil || bytes.Contains(mark, []byte(format.Name(1))) {
		t.Errorf("mark: %q, %v", mark, err)
	}
	if got := all(t, o, Filter{}); got[0].Event.EventID != "before" || got[len(got)-1].Event.EventID != "again" {
		t.Errorf("%+v", got)
	}
}

// No room in a commit: intake is refused and told when there is room, outcomes
// go through once there is, and nothing that failed is remembered as stored.
func TestNoSpaceInCommitIsSurvived(t *testing.T) {
	dir := t.TempDir()
	f := &faulty{}
	opts := small(newTestClock())
	opts.MaxSize = minMaxSize
	opts.commit = f.commit
	o := open(t, dir, opts)
	ctx := context.Background()
	appendN(t, o, 5)
	syncAll(t, o)
	leased := mustLease(t, o, 5)
	f.set(&fs.PathError{Op: "write", Err: syscall.ENOSPC})
	if _, err := o.Append(ctx, batch(newEvent("W", "x", 1))); !errors.Is(err, event.ErrFull) {
		t.Fatalf("append: %v", err)
	}
	select {
	case <-o.Room():
		t.Error("there is room")
	default:
	}
	if !o.Counts().Full {
		t.Error("counts do not say that it is full")
	}
	err := o.Settle(ctx, []event.Settlement{{Seq: leased[0].ID.Seq, Outcome: event.Pushed}})
	if !errors.Is(err, event.ErrFull) {
		t.Fatalf("settle: %v", err)
	}
	if _, err := o.Lease(1, time.Minute); !errors.Is(err, event.ErrFull) {
		t.Errorf("lease while outcomes cannot be written: %v", err)
	}
	f.set(nil)
	<-o.Room()
	settle(t, o, event.Pushed, leased...)
	mustAppend(t, o, newEvent("W", "x", 1))
	if c := o.Counts(); c.Received != 6 || c.State[event.Pushed] != 5 || c.Full {
		t.Errorf("%+v", c)
	}
}

// A record that cannot be read is a dead letter, and holds nobody up.
func TestDamagedRecordBecomesDeadLetter(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir, small(newTestClock()))
	mustAppend(t, o, newEvent("W1", "a", 1), newEvent("W1", "b", 2), newEvent("W2", "c", 3))
	damage(t, o, 1)
	u, err := o.Unsynced(10, 1<<20)
	if err != nil || len(u) != 2 || u[0].ID.Seq != 2 {
		t.Fatalf("unsynced %+v, %v", u, err)
	}
	syncAll(t, o)
	if n := pushAll(t, o); n != 2 {
		t.Errorf("%d pushed", n)
	}
	if ids := o.DeadIDs(); len(ids) != 1 || ids[0].Seq != 1 {
		t.Errorf("dead: %v", ids)
	}
	dead := event.Dead
	if got := all(t, o, Filter{State: &dead}); len(got) != 1 || got[0].Last.Reason == "" {
		t.Errorf("listed %+v", got)
	}
	if n, _ := o.Requeue(context.Background(), o.DeadIDs()...); n != 0 {
		t.Error("it was put back")
	}
	if n, err := o.Discard(context.Background(), "unreadable", o.DeadIDs()...); n != 1 || err != nil {
		t.Error(n, err)
	}
}

// damage flips a bit of a stored record, as bbolt itself would not notice.
func damage(t *testing.T, o *Outbox, seq uint64) {
	t.Helper()
	path := newest(o).Path
	var record []byte
	p, err := boltpage.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	p.Walk(func(bucket string, key, value []byte) {
		if bucket == string(format.BucketEvents) && codec.Seq(key) == seq {
			record = bytes.Clone(value)
		}
	}, func(_, what string) { t.Error(what) })
	content, readErr := os.ReadFile(path)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err := errors.Join(p.Close(), readErr, err); err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte{record[10] ^ 4}, int64(bytes.Index(content, record)+10))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// A damaged event is still pending after a restart: received = pending +
// outcomes holds, and its waybill's other events go on.
func TestDamagedRecordSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	c := newTestClock()
	o := open(t, dir, small(c))
	mustAppend(t, o, newEvent("W1", "a", 1), newEvent("W1", "b", 2))
	syncAll(t, o)
	damage(t, o, 1)
	if err := o.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	o = open(t, dir, small(c))
	r := mustLease(t, o, 10)
	if len(r) != 1 || r[0].ID.Seq != 2 {
		t.Fatalf("%+v", r)
	}
	settle(t, o, event.Pushed, r...)
	if c := o.Counts(); c.State[event.Dead] != 1 || c.State[event.Pushed] != 1 {
		t.Errorf("%+v", c)
	}
}

// A segment that makes no sense is set aside, named, and never deleted; the
// outbox goes on under a new epoch.
func TestDamagedSegmentIsSetAside(t *testing.T) {
	dir := t.TempDir()
	c := newTestClock()
	o := open(t, dir, small(c))
	mustAppend(t, o, newEvent("W1", "a", 1))
	epoch := o.Counts().Epoch
	closeChecked(t, o)
	path := filepath.Join(dir, format.Name(1))
	overwrite(t, path, 0, 2*boltpage.PageSize)
	o = open(t, dir, small(c))
	if _, err := os.Stat(path + ".damaged"); err != nil {
		t.Error(err)
	}
	got := o.Counts()
	if got.Damaged == "" || got.Epoch == epoch {
		t.Errorf("%+v", got)
	}
	mustAppend(t, o, newEvent("W1", "b", 1))
	closeChecked(t, o)
	o = open(t, dir, small(c))
	if o.Counts().Damaged == "" {
		t.Error("the damage is forgotten")
	}
}

// One bad meta page: bbolt opens the file silently, perhaps one transaction
// back. What was in it may have reached the centre under this epoch.
func TestLostTransactionTakesNewEpoch(t *testing.T) {
	dir := t.TempDir()
	c := newTestClock()
	o := open(t, dir, small(c))
	appendN(t, o, 3)
	if err := o.Synced(2, nil, nil); err != nil {
		t.Fatal(err)
	}
	before := o.Counts()
	closeChecked(t, o)
	overwrite(t, filepath.Join(dir, format.Name(1)), boltpage.PageSize+16, 40)
	o = open(t, dir, small(c))
	after := o.Counts()
	if after.Epoch == before.Epoch {
		t.Error("the epoch is the old one")
	}
	for _, r := range all(t, o, Filter{}) {
		want := before.Epoch
		if r.ID.Seq > after.Watermark {
			want = after.Epoch
		}
		if r.ID.Epoch != want {
			t.Errorf("%d has epoch %x, want %x", r.ID.Seq, r.ID.Epoch, want)
		}
	}
}

func overwrite(t *testing.T, path string, at int64, n int) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(make([]byte, n), at); err != nil {
		t.Fatal(err)
	}
}

// A quarantine that cannot be written does not stop intake.
func TestQuarantineWithoutRoom(t *testing.T) {
	full := &faulty{}
	full.set(&fs.PathError{Op: "write", Err: syscall.ENOSPC})
	opts := small(newTestClock())
	opts.commit = func(tx *bolt.Tx) error {
		if filepath.Base(tx.DB().Path()) == quarantine.FileName {
			return full.commit(tx)
		}
		return tx.Commit()
	}
	o := open(t, t.TempDir(), opts)
	b := scan.Batch{Events: []scan.Event{newEvent("W", "e", 1)}, Rejects: []scan.Reject{{Topic: "t", Payload: []byte("?"), Index: 1}}}
	got, err := o.Append(context.Background(), b)
	if err != nil || got.Events != 1 || got.Rejected != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	if c := o.Counts(); c.Rejected != 1 || c.Quarantined != 0 || c.Forgotten != 1 {
		t.Errorf("%+v", c)
	}
	full.set(nil)
	if _, err := o.Append(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	if c := o.Counts(); c.Rejected != 2 || c.Quarantined != 1 {
		t.Errorf("%+v", c)
	}
}
