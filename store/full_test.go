package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"scanrelay/agent/scan"
	"scanrelay/store/boltpage"
	"scanrelay/store/durable"
	"scanrelay/store/event"
	"scanrelay/store/format"
	"scanrelay/store/internal/storetest"
	"scanrelay/store/quarantine"
)

// fillUp appends until the outbox is full and returns how many events it took.
func fillUp(t *testing.T, o *Outbox) (n int) {
	t.Helper()
	for ; ; n++ {
		_, err := o.Append(context.Background(), batch(padded(fmt.Sprint("W", n), fmt.Sprint("f", o.Counts().NextSeq), 1795000000, 4000)))
		if errors.Is(err, event.ErrFull) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// checkFull: full is a state. What is stored can be finished, finished segments
// make way, and then intake goes on by itself.
func checkFull(t *testing.T, o *Outbox) {
	t.Helper()
	stored := fillUp(t, o)
	if stored < 100 {
		t.Fatalf("full after %d events", stored)
	}
	select {
	case <-o.Room():
		t.Fatal("there is room")
	default:
	}
	syncAll(t, o)
	if n := pushAll(t, o); n != stored {
		t.Errorf("%d of %d pushed while full", n, stored)
	}
	<-o.Room()
	mustAppend(t, o, newEvent("W", "after", 1795000000))
	if c := o.Counts(); c.Full || c.Received != uint64(stored+1) || c.State[event.Pushed] != uint64(stored) {
		t.Errorf("%+v", c)
	}
}

func TestFullAtMaxSize(t *testing.T) {
	opts := small(newTestClock())
	opts.MaxSize = minMaxSize
	dir := fastDir(t)
	o := open(t, dir, opts)
	checkFull(t, o)
	closeChecked(t, o) // no register is written any more
	files, err := filepath.Glob(filepath.Join(dir, segmentPrefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if total > opts.MaxSize {
		t.Errorf("segments take %d of %d bytes", total, opts.MaxSize)
	}
}

// smallDisk is a file system of a few megabytes. Where that is not allowed
// the folder is an ordinary one, and max_size is what runs out.
func smallDisk(t *testing.T, opts *Options) (dir string, mounted bool) {
	if dir, mounted = storetest.SmallDisk(t, 7); !mounted {
		opts.MaxSize = 6 << 20
	}
	return dir, mounted
}

func TestFullDisk(t *testing.T) {
	opts := small(newTestClock())
	dir, _ := smallDisk(t, &opts)
	o := open(t, filepath.Join(dir, "outbox"), opts)
	checkFull(t, o)
}

// Another file fills the disk, and goes away again: outcomes go through all the
// time, since their room was reserved.
func TestDiskFilledByAnotherFile(t *testing.T) {
	opts := small(newTestClock())
	dir, mounted := smallDisk(t, &opts)
	o := open(t, filepath.Join(dir, "outbox"), opts)
	mustAppend(t, o, newEvent("W", "first", 1795000000))
	filler := filepath.Join(dir, "filler")
	if mounted {
		// Ends with ENOSPC, which is what it is for.
		_ = os.WriteFile(filler, make([]byte, 16<<20), 0o600)
	}
	n := fillUp(t, o)
	syncAll(t, o)
	if got := pushAll(t, o); got != n+1 {
		t.Errorf("%d of %d pushed", got, n+1)
	}
	if err := os.Remove(filler); err != nil && mounted {
		t.Fatal(err)
	}
	<-o.Room()
	mustAppend(t, o, newEvent("W", "again", 1795000000))
}

// A full queue makes intake wait, whatever the disk does.
func TestQueueIsBounded(t *testing.T) {
	gate := make(chan struct{})
	o := open(t, t.TempDir(), Options{MaxSize: 1 << 30})
	if err := o.Submit(batch(newEvent("W", "gate", 1)), func(scan.Stored, error) { <-gate }); err != nil {
		t.Fatal(err)
	}
	taken := 0
	for i := 0; ; i++ {
		err := o.Submit(batch(padded("W", fmt.Sprint(i), 1, 50_000)), func(_ scan.Stored, err error) {
			if err != nil {
				t.Error(err)
			}
		})
		if errors.Is(err, event.ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		taken++
	}
	if taken*50_000 > 2*queueBytes {
		t.Errorf("%d batches are in memory", taken)
	}
	close(gate)
	<-o.Room()
	mustAppend(t, o, newEvent("W", "after", 1))
	if c := o.Counts(); c.Received != uint64(taken+2) {
		t.Errorf("%d received, %d taken", c.Received, taken)
	}
}

// A small store has as many segments as a large one: the last MiB is not lost to
// their registers.
func TestSmallStoreIsUsed(t *testing.T) {
	t.Parallel()
	for _, maxSize := range []int64{4 << 20, 8 << 20, 16 << 20} {
		t.Run(fmt.Sprint(maxSize>>20), func(t *testing.T) {
			dir := fastDir(t)
			o := open(t, dir, Options{MaxSize: maxSize, QuarantineSize: quarantine.MinSize})
			cram(t, o, 400)
			o.journal.Wait() // for registers
			used := o.journal.Usage().All
			if used > maxSize || used < maxSize/10*9 {
				t.Errorf("%d KiB of %d are used", used>>10, maxSize>>10)
			}
		})
	}
}

// The checkpoint grows as events end, after damage one is aside, and registers come when
// there is time: with them all is within max_size, whatever the segments left of that.
func TestCheckpointIsWithinMaxSize(t *testing.T) {
	t.Parallel()
	for _, maxSize := range []int64{4096 << 10, 4496 << 10, 4896 << 10} {
		t.Run(fmt.Sprint(maxSize>>10), func(t *testing.T) {
			t.Parallel()
			dir := fastDir(t)
			opts := Options{MaxSize: maxSize, QuarantineSize: quarantine.MinSize}
			within := func(when string) (checkpoints int64) {
				t.Helper()
				all, n := int64(0), 0
				for name, content := range contents(t, dir) {
					switch name = filepath.Base(name); {
					case strings.HasPrefix(name, checkpointName):
						checkpoints += int64(len(content))
						n++
						fallthrough
					case strings.HasPrefix(name, segmentPrefix) && !strings.Contains(name, durable.AsideSuffix), strings.HasPrefix(name, "spare-"):
						all += int64(len(content))
					}
				}
				if all > maxSize || n > 1 {
					t.Errorf("%s: %d bytes, %d of %d checkpoints", when, all, checkpoints, n)
				}
				return checkpoints
			}
			o := open(t, dir, opts)
			var late []string // the registers' files, of which none can be written for long
			for n := range uint64(6) {
				late = append(late, format.RegisterPath(filepath.Join(dir, format.Name(n+1))))
				if err := os.Mkdir(late[n], 0o700); err != nil {
					t.Fatal(err)
				}
			}
			cram(t, o, 1)
			for _, path := range late {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			}
			syncAll(t, o)
			for r := mustLease(t, o, 500); len(r) > 0; r = mustLease(t, o, 500) {
				slices.SortFunc(r, func(a, b event.Record) int { return cmp.Compare(a.ID.Seq%2, b.ID.Seq%2) })
				i := slices.IndexFunc(r, func(r event.Record) bool { return r.ID.Seq%2 == 1 })
				settle(t, o, event.Pushed, r[:max(i, 0)]...)
				settle(t, o, event.NotBound, r[max(i, 0):]...)
			}
			closeChecked(t, o)
			o = open(t, dir, opts)
			o.journal.Wait() // the registers are made
			closeChecked(t, o)
			if n := within("drained"); n < 5000 {
				t.Errorf("the checkpoint has only %d bytes", n)
			}
			first := slices.Sorted(maps.Keys(contents(t, dir)))
			i := slices.IndexFunc(first, func(path string) bool { return strings.HasPrefix(filepath.Base(path), segmentPrefix) })
			overwrite(t, first[i], 0, boltpage.PageSize)
			o = open(t, dir, opts)
			within("mended")
			closeChecked(t, o)
			within("after that")
		})
	}
}
