package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"scanrelay/agent/scan"
	"scanrelay/store/event"
	"scanrelay/store/internal/storetest"
)

// cram appends events of about size bytes until no more are taken, many at a time.
func cram(t *testing.T, o *Outbox, size int) (n int) {
	t.Helper()
	for {
		b, next := scan.Batch{}, o.Counts().NextSeq
		for i := range uint64(50) {
			b.Events = append(b.Events, padded(fmt.Sprint("W", next+i), fmt.Sprint("c", next+i), 1795000000, size))
		}
		_, err := o.Append(context.Background(), b)
		if errors.Is(err, ErrFull) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
		n += len(b.Events)
	}
}

// drain ends everything, each outcome with as many words as WeChat may say, and
// returns how many there were. ErrFull may come, but not for ever.
func drain(t *testing.T, o *Outbox, group int, outcome func(i int) event.State) (n int) {
	t.Helper()
	last := event.Reply{Reason: strings.Repeat("the receiver's phone number is refused, 手机号不对 ", 8), ErrCode: 930001, RID: "65f2c3a1-5d0e8b7c-1c2d3e4f-00"}
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); {
		records, err := o.Lease(group, time.Minute)
		if err != nil && !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
		if err == nil && len(records) == 0 {
			return n
		}
		var ended []Settlement
		for i, r := range records {
			ended = append(ended, Settlement{Seq: r.ID.Seq, Lease: r.Lease, Outcome: outcome(n + i), Attempts: 5, Last: last})
		}
		if err == nil {
			err = o.Settle(context.Background(), ended)
		}
		switch {
		case errors.Is(err, ErrFull):
			time.Sleep(10 * time.Millisecond)
		case err != nil:
			t.Fatal(err)
		default:
			n += len(ended)
		}
	}
	t.Fatalf("outcomes find no room after %d", n)
	return n
}

// Whatever was taken can be finished, though no byte of disk ever comes back:
// room for that was kept when it was taken, over a restart, too. Each case was
// once a store that never drained.
func TestWhatWasTakenDrains(t *testing.T) {
	t.Parallel()
	pushed := func(int) event.State { return event.Pushed }
	for name, c := range map[string]struct {
		disk    int // megabytes; 0: max_size is what runs out
		max     int64
		size    int // of an event
		group   int // outcomes in a settlement
		filler  bool
		outcome func(int) event.State
	}{
		"small disk":        {disk: 24, size: 300, group: 500, outcome: pushed},
		"max_size":          {max: 8 << 20, size: 300, group: 8, outcome: pushed},
		"tiny events":       {max: 6 << 20, size: 1, group: 500, outcome: pushed},
		"all die":           {max: 6 << 20, size: 100, group: 100, outcome: func(int) event.State { return event.Dead }},
		"another's file":    {disk: 24, size: 300, group: 100, filler: true, outcome: pushed},
		"file and the dead": {disk: 12, size: 30, group: 1000, filler: true, outcome: func(i int) event.State { return []event.State{event.Dead, event.NotBound}[i%2] }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := Options{Retain: time.Second, MaxSize: min(c.max, int64(storetest.Rounds(1<<30, 5<<20))), QuarantineSize: 1 << 20}
			dir := fastDir(t)
			if c.disk > 0 {
				mounted := false
				c.disk = min(c.disk, storetest.Rounds(c.disk, 12))
				if dir, mounted = storetest.SmallDisk(t, c.disk); !mounted {
					opts.MaxSize = int64(c.disk) << 20
				}
			}
			path := filepath.Join(dir, "outbox")
			o := open(t, path, opts)
			n := cram(t, o, c.size)
			if c.filler {
				// Ends with ENOSPC, which is what it is for.
				_ = os.WriteFile(filepath.Join(dir, "filler"), make([]byte, c.disk<<20), 0o600)
			}
			closeChecked(t, o)
			o = open(t, path, opts)
			n += cram(t, o, c.size) // "room again" must not let in what finds none later
			syncAll(t, o)
			if got := drain(t, o, c.group, c.outcome); got != n {
				t.Errorf("%d of %d ended", got, n)
			}
			if c.filler {
				_ = os.Remove(filepath.Join(dir, "filler"))
			}
			if c.outcome(0) != event.Dead {
				select {
				case <-o.Room():
				case <-time.After(10 * time.Minute):
					t.Error("no room once all is finished")
				}
			}
		})
	}
}

// Where blocks cannot be reserved, status and Check say how many bytes of the room
// for outcomes another program could take.
func TestUnreservedIsSaid(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir, small(newTestClock()))
	mustAppend(t, o, newEvent("W", "e", 1))
	if n := o.Counts().Unreserved; n != 0 {
		t.Fatalf("%d bytes are not reserved", n)
	}
	f, err := os.OpenFile(o.journal.Segments()[0].Path, os.O_RDWR, 0)
	if err == nil {
		err = errors.Join(unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 512<<10, 256<<10), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	if n := o.Counts().Unreserved; n != 256<<10 {
		t.Errorf("%d bytes are said not to be reserved", n)
	}
	closeChecked(t, o)
	if r, err := Check(dir); err != nil || !r.Good() || r.Counts.Unreserved != 256<<10 {
		t.Errorf("%+v, %v", r, err)
	}
}
