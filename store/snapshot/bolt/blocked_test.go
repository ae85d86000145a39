package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"scanrelay/store/snapshot"
)

// TestBlocked: while a disk is full or read only nothing is taken, lookups go on,
// and once it is not all does; a failed sync is another thing.
func TestBlocked(t *testing.T) {
	for what, err := range map[string]error{
		"full":             &fs.PathError{Op: "write", Path: logName, Err: syscall.ENOSPC},
		"file limit":       &fs.PathError{Op: "write", Path: logName, Err: syscall.EFBIG},
		"read only":        &fs.PathError{Op: "write", Path: logName, Err: syscall.EROFS},
		"cannot grow":      errors.New("file resize error: truncate log.db: no space left on device"),
		"full at the sync": syscall.ENOSPC,
		"failed":           &fs.PathError{Op: "write", Path: logName, Err: syscall.EIO},
	} {
		b := open(t, t.TempDir(), quiet)
		send(t, b, 1, 3)
		update := b.logUpdate
		b.logUpdate = func(fn func(tx *bbolt.Tx) error) error { // as the committer's next transaction: none goes on
			return fmt.Errorf("commit: %w", err)
		}
		batch := snapshot.Batch{Depot: "hz-01", Epoch: 1, From: 4, NextSeq: 5, Events: []snapshot.Event{event(4)}}
		_, got := b.Merge(t.Context(), batch)
		if !errors.Is(got, err) || errors.Is(got, snapshot.ErrFailed) != !refused(err) {
			t.Errorf("%s: %v", what, got)
		}
		if !refused(err) {
			if b.Health(t.Context()) == nil {
				t.Errorf("%s: goes on", what)
			}
			continue
		}
		if b.Health(t.Context()) != nil || nodes(t, b, 2) != 1 || stats(t, b).Blocked == "" {
			t.Errorf("%s: %v, %+v", what, b.Health(t.Context()), stats(t, b))
		}
		b.logUpdate = update
		if m, err := b.Merge(t.Context(), batch); err != nil || m.Have != 4 || stats(t, b).Blocked != "" {
			t.Errorf("%s: afterwards %+v, %v, %+v", what, m, err, stats(t, b))
		}
	}
}

// TestTakenAway: what is written to a file that was taken away or replaced is not
// answered as taken, and the process ends in order.
func TestTakenAway(t *testing.T) {
	for what, spoil := range map[string]func(path string) error{
		"taken away": os.Remove,
		"replaced": func(path string) error {
			return errors.Join(os.Rename(path, path+".old"), os.WriteFile(path, make([]byte, 1<<20), 0o600))
		},
	} {
		for _, name := range []string{logName, waybillsName} {
			t.Run(name+" "+what, func(t *testing.T) {
				dir := t.TempDir()
				b := open(t, dir, quiet)
				send(t, b, 1, 3)
				mergeNow(t, b)
				if err := spoil(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
				_, err := b.Merge(t.Context(), snapshot.Batch{Depot: "hz-01", Epoch: 1, From: 4, NextSeq: 5, Events: []snapshot.Event{event(4)}})
				if name == waybillsName && err == nil {
					b.mergeMu.Lock()
					err = b.mergeTail() // the log has it still
					b.mergeMu.Unlock()
				}
				if !errors.Is(err, snapshot.ErrFailed) || b.Health(t.Context()) == nil {
					t.Errorf("%v", err)
				}
			})
		}
	}
}

// TestMergeFailsQuietly: a merge that cannot be written is tried again and again,
// and told now and then.
func TestMergeFailsQuietly(t *testing.T) {
	var out bytes.Buffer
	now, move := movable(time.Now())
	b := open(t, t.TempDir(), Options{MergeEvery: time.Hour, Now: now, Logger: slog.New(slog.NewTextHandler(&out, nil))})
	inspected(t, b)
	send(t, b, 1, 300)
	b.file.db.MaxSize = 1 // it cannot grow
	told := func() int { return strings.Count(out.String(), "merge waybills: trying again") }
	for range 60 { // ten minutes of them
		b.mergeAll()
		move(10 * time.Second)
	}
	if told() != 1 {
		t.Errorf("told %d times in ten minutes", told())
	}
	b.mergeAll()
	if told() != 2 || !strings.Contains(out.String(), "failed_since_last_line=59") {
		t.Errorf("not told again: %s", out.String())
	}
	b.file.db.MaxSize = 0
	b.mergeAll()
	if s := stats(t, b); s.Tail != 0 {
		t.Errorf("%+v", s)
	}
}
