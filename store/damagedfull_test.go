package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/boltpage"
	"scanrelay/store/event"
	"scanrelay/store/internal/storetest"
	"scanrelay/store/quarantine"
)

// A damaged file on a disk that has not a byte left, and gets none, does not keep
// a start from coming up: what can be read drains.
func TestDamageOnAFullDisk(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, o *Outbox, dir string){
		"newest segment": func(t *testing.T, o *Outbox, _ string) { spoilEvents(t, o, len(o.journal.Segments())-1) },
		"oldest segment": func(t *testing.T, o *Outbox, _ string) { spoilEvents(t, o, 0) },
		"quarantine": func(t *testing.T, _ *Outbox, dir string) {
			overwrite(t, filepath.Join(dir, quarantine.FileName), 0, 2*boltpage.PageSize)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk, mounted := storetest.SmallDisk(t, 8)
			if !mounted {
				return // nothing else is full to all files
			}
			opts := Options{Retain: time.Second, MaxSize: 1 << 30, QuarantineSize: 1 << 20}
			dir := filepath.Join(disk, "outbox")
			o := open(t, dir, opts)
			n := cram(t, o, 300)
			// Ends with ENOSPC, which is what it is for.
			_ = os.WriteFile(filepath.Join(disk, "filler"), make([]byte, 8<<20), 0o600)
			if err := o.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			spoil(t, o, dir)
			// As a kill leaves it, whose byte the disk has not got either.
			if err := os.Remove(filepath.Join(dir, "outbox.state")); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			_ = os.WriteFile(filepath.Join(disk, "filler-2"), make([]byte, 8<<20), 0o600)

			o = open(t, dir, opts)
			if o.Counts().Damaged == "" {
				t.Error("nothing is said of it")
			}
			if _, err := o.Append(context.Background(), scan.Batch{Rejects: []scan.Reject{{Topic: "t", Payload: []byte("x"), Index: -1}}}); err != nil {
				t.Errorf("a message that is not understood stops intake: %v", err)
			}
			syncAll(t, o)
			got := drain(t, o, 100, func(int) event.State { return event.Pushed })
			c := o.Counts()
			if lost := int(c.State[event.Dead]); got+lost != n || lost > 40 {
				t.Errorf("%d of %d ended, %d were lost", got, n, lost)
			}
			for _, f := range []string{"filler", "filler-2"} {
				if err := os.Remove(filepath.Join(disk, f)); err != nil && !os.IsNotExist(err) {
					t.Error(err)
				}
			}
		})
	}
}

// However many segments are damaged on a disk without a byte left, the outbox
// starts: what can be read of them drains, nothing of it a second time, intake waits,
// and each segment is rebuilt once there is room.
func TestMoreDamageThanRoom(t *testing.T) {
	t.Parallel()
	disk, mounted := storetest.SmallDisk(t, 8)
	if !mounted {
		return // nothing else is full to all files
	}
	opts := Options{Retain: time.Hour, MaxSize: 1 << 30, QuarantineSize: 1 << 20}
	dir := filepath.Join(disk, "outbox")
	o := open(t, dir, opts)
	n := cram(t, o, 300)
	syncAll(t, o)
	pushed := map[uint64]bool{}
	push := func(most int) {
		t.Helper()
		for len(pushed) < most {
			records := mustLease(t, o, 100)
			if len(records) == 0 {
				return
			}
			for _, r := range records {
				if pushed[r.ID.Seq] {
					t.Fatalf("%d is pushed twice", r.ID.Seq)
				}
				pushed[r.ID.Seq] = true
			}
			settle(t, o, event.Pushed, records...)
		}
	}
	push(1500)
	// Ends with ENOSPC, which is what it is for.
	fill := func(name string) { _ = os.WriteFile(filepath.Join(disk, name), make([]byte, 8<<20), 0o600) }
	fill("filler")
	kill := func() {
		t.Helper()
		if err := o.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(dir, "outbox.state")); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		fill("filler-2")
	}
	kill()
	segments := o.journal.Segments()
	for i, s := range segments {
		switch i % 2 {
		case 0:
			overwrite(t, s.Path, 0, 2*boltpage.PageSize)
		case 1: // it stands in each state alike
			spoilEvents(t, o, i)
			overwrite(t, s.Path, boltpage.PageSize, boltpage.PageSize)
		}
	}
	if spares, err := filepath.Glob(filepath.Join(dir, "spare-*")); err != nil || len(segments) <= len(spares) {
		t.Fatalf("%d segments and %d spare ones: this tests nothing; %v", len(segments), len(spares), err)
	}

	o = open(t, dir, opts)
	if what := o.Counts().Damaged; !strings.Contains(what, "once the disk has room") {
		t.Errorf("it says %q", what)
	}
	if _, err := o.Append(t.Context(), scan.Batch{Events: []scan.Event{newEvent("W", "new", 1)}}); !errors.Is(err, ErrFull) {
		t.Errorf("an event is taken: %v", err)
	}
	push(3000)
	kill()
	o = open(t, dir, opts) // what waits, waits on
	if what := o.Counts().Damaged; !strings.Contains(what, "once the disk has room") {
		t.Errorf("after another start it says %q", what)
	}
	syncAll(t, o)
	push(n)
	lost := int(o.Counts().State[event.Dead])
	if len(pushed)+lost != n || lost > 40*len(segments) {
		t.Errorf("%d of %d are pushed, %d are lost", len(pushed), n, lost)
	}

	for _, f := range []string{"filler", "filler-2"} {
		if err := os.Remove(filepath.Join(disk, f)); err != nil && !os.IsNotExist(err) {
			t.Error(err)
		}
	}
	eventually(t, "the segments are rebuilt", func() bool {
		return !strings.Contains(o.Counts().Damaged, "once the disk has room")
	})
	if what := o.Counts().Damaged; !strings.Contains(what, "kept as segment-00000001.db.damaged") {
		t.Errorf("once there is room it says %q", what)
	}
	before := o.Counts()
	if err := o.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := Check(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Files {
		if len(f.Problems) > 0 {
			t.Errorf("%s: %v", f.Name, f.Problems)
		}
	}
	o = open(t, dir, opts)
	if after := o.Counts(); after.State != before.State || after.Received != before.Received {
		t.Errorf("after another start %v, before it %v", after.State, before.State)
	}
}

// The newest segment is damaged, there is no spare one, and the disk has no room for
// any: the outbox starts all the same, and goes on once there is room. Nothing is
// leased before, since no outcome could be written.
func TestDamageWithoutASpareSegment(t *testing.T) {
	t.Parallel()
	disk, mounted := storetest.SmallDisk(t, 8)
	if !mounted {
		return // nothing else is full to all files
	}
	fault := &faulty{}
	opts := Options{MaxSize: 1 << 30, QuarantineSize: 1 << 20, commit: fault.commit}
	dir := filepath.Join(disk, "outbox")
	o := open(t, dir, opts)
	appendN(t, o, 300)
	syncAll(t, o)
	epoch := o.Counts().Epoch
	if err := o.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	spares, err := filepath.Glob(filepath.Join(dir, "spare-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range append(spares, filepath.Join(dir, "outbox.state")) {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	spoilEvents(t, o, 0)
	// Ends with ENOSPC, which is what it is for.
	_ = os.WriteFile(filepath.Join(disk, "filler"), make([]byte, 8<<20), 0o600)

	for range 2 {
		o = open(t, dir, opts)
		if c := o.Counts(); !c.Full || !strings.Contains(c.Damaged, "once the disk has room") || c.State[event.Unsynced]+c.State[event.ToPush] != 300 {
			t.Errorf("it starts as %+v", c)
		}
		if _, err := o.Lease(10, time.Minute); !errors.Is(err, ErrFull) {
			t.Errorf("an event is leased whose outcome finds no room: %v", err)
		}
		if _, err := o.Append(t.Context(), scan.Batch{Events: []scan.Event{newEvent("W", "new", 1)}}); !errors.Is(err, ErrFull) {
			t.Errorf("an event is taken: %v", err)
		}
		if err := o.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	o = open(t, dir, opts)
	fault.set(&fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}) // the first commits find a segment, and no room all the same
	if err := os.Remove(filepath.Join(disk, "filler")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		<-o.Room()
		if _, err := o.Append(t.Context(), scan.Batch{Events: []scan.Event{newEvent("W", "new", 1)}}); !errors.Is(err, ErrFull) {
			t.Errorf("without room: %v", err)
		}
	}
	fault.set(nil)
	<-o.Room()
	mustAppend(t, o, newEvent("W", "new", 1))
	syncAll(t, o)
	pushAll(t, o)
	c := o.Counts()
	if lost := c.State[event.Dead]; c.State[event.Pushed]+lost != 301 || lost > 40 || c.Epoch == epoch {
		t.Errorf("in the end %+v", c)
	}
	eventually(t, "the segment is rebuilt", func() bool {
		return strings.Contains(o.Counts().Damaged, "kept as segment-00000001.db.damaged")
	})
}

// spoilEvents overwrites a page of a segment's events.
func spoilEvents(t *testing.T, o *Outbox, i int) {
	t.Helper()
	path := o.journal.Segments()[i].Path
	leaves := slices.Clone(storetest.PagesOf(t, path).Kinds["lower events leaf"])
	if len(leaves) == 0 {
		t.Fatalf("no leaves: %v", storetest.PagesOf(t, path).Kinds)
	}
	overwrite(t, path, leaves[len(leaves)/2]*boltpage.PageSize, boltpage.PageSize)
}
