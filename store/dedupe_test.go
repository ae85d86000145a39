package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"scanrelay/agent/scan"
	"scanrelay/store/event"
	"scanrelay/store/format"
	"scanrelay/store/internal/storetest"
)

// The latest identities are known for certain, in bounded memory.
func TestIdentitiesAreBounded(t *testing.T) {
	d := newDedupe()
	const n = 3 * rememberIdentities
	for i := range n {
		d.add(identity(i * 7919))
		if i%100 == 0 {
			d.settle()
		}
	}
	held := len(d.young)
	for _, run := range d.runs {
		held += len(run)
	}
	if held > rememberIdentities+2*maxIdentityRun || len(d.runs) > 12 {
		t.Errorf("%d are held in %d runs", held, len(d.runs))
	}
	for i := n - rememberIdentities; i < n; i++ {
		if !d.has(identity(i * 7919)) {
			t.Fatalf("%d of %d is forgotten", i, n)
		}
	}
	if d.has(0) || d.has(1) {
		t.Error("what is long gone is known, or what never was")
	}
}

// A broker may hand again all that it holds: 200,000 are recognised, also after a
// restart.
func TestManyAreRecognisedAfterARestart(t *testing.T) {
	t.Parallel()
	n := storetest.Rounds(200_000, 20_000)
	dir, c := fastDir(t), newTestClock()
	opts := Options{MaxSize: 512 << 20, Now: c.Now}
	o := open(t, dir, opts)
	deliver := func() (s scan.Stored) {
		for i := 0; i < n; i += 2000 {
			b := batch()
			for k := i; k < i+2000; k++ {
				b.Events = append(b.Events, newEvent(fmt.Sprint("W", k), fmt.Sprint("e", k), int64(k)))
			}
			got, err := o.Append(context.Background(), b)
			if err != nil {
				t.Fatal(err)
			}
			s.Events += got.Events
			s.Duplicate += got.Duplicate
		}
		return s
	}
	if s := deliver(); s.Events != n {
		t.Fatalf("%+v", s)
	}
	closeChecked(t, o)
	o = open(t, dir, opts)
	if s := deliver(); s.Duplicate != n {
		t.Errorf("handed again: %+v", s)
	}
}

// A commit that fails takes back only what it added itself.
func TestWeakKeyAndAFailedCommit(t *testing.T) {
	f := &faulty{}
	opts := small(newTestClock())
	opts.commit = f.commit
	o := open(t, t.TempDir(), opts)
	n := 0
	weak := func(dup bool) (scan.Stored, error) {
		n++
		e := newEvent("W1", fmt.Sprint("made-up-", n), 1795000000)
		e.Weak = scan.WeakKey{7}
		return o.Append(context.Background(), scan.Batch{Events: []scan.Event{e}, Redelivered: dup})
	}
	if s, err := weak(false); err != nil || s.Events != 1 {
		t.Fatal(s, err)
	}
	f.set(&fs.PathError{Op: "write", Err: syscall.ENOSPC})
	if _, err := weak(false); !errors.Is(err, event.ErrFull) {
		t.Fatal(err)
	}
	f.set(nil)
	<-o.Room()
	if s, err := weak(true); err != nil || s.Duplicate != 1 {
		t.Errorf("a redelivery of what is stored: %+v, %v", s, err)
	}
}

// A sync fails, and the disk never gets that file's last transaction, though the
// kernel shows it: the next process acknowledges what is sent again, and a power
// cut follows.
func TestAcknowledgedAfterAFailedSync(t *testing.T) {
	dir := fastDir(t)
	f := &faulty{late: true}
	opts := small(newTestClock())
	opts.commit = f.commit
	o := open(t, dir, opts)
	mustAppend(t, o, newEvent("W", "before", 1))
	path := filepath.Join(dir, format.Name(1))
	medium, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0) // that file, whatever has its name later
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	f.set(syscall.EIO)
	sent := batch(newEvent("W2", "lost", 2))
	if _, err := o.Append(context.Background(), sent); !errors.Is(err, event.ErrFailed) {
		t.Fatal(err)
	}
	_ = o.Close(context.Background()) // it says once more that a sync failed
	o = open(t, dir, small(newTestClock()))
	if _, err := o.Append(context.Background(), sent); err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt(medium, 0); err != nil {
		t.Fatal(err)
	}
	after := open(t, copied(t, dir), small(newTestClock()))
	found := 0
	for _, r := range all(t, after, Filter{}) {
		if r.Event.EventID == "lost" {
			found++
		}
	}
	if c := after.Counts(); found == 0 || c.Damaged != "" {
		t.Errorf("the acknowledged event is there %d times; damaged: %q", found, c.Damaged)
	}
}
