package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func since(t *testing.T, l *Log, from time.Time) (all []Entry) {
	t.Helper()
	err := l.Since(from, func(line json.RawMessage) error {
		var e Entry
		err := json.Unmarshal(line, &e)
		all = append(all, e)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestLog: what was added is there, in order, from a time on; a line that a power cut
// left in part is gone, and nothing of a person stands there.
func TestLog(t *testing.T) {
	dir, now := t.TempDir(), time.Unix(1_795_400_000, 0)
	clock := func() time.Time { now = now.Add(time.Second); return now }
	l := Open(dir, clock)
	for _, detail := range []string{"one", "call 13800138000\nnow", strings.Repeat("字", 300)} {
		if err := l.Add(Entry{Who: "ops", Action: "depot.add", Depot: "hz-01", Result: OK, Detail: detail}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, Name)
	data, err := os.ReadFile(path)
	if err != nil || bytes.Contains(data, []byte("13800138000")) || bytes.Count(data, []byte("\n")) != 3 {
		t.Errorf("%s, %v", data, err)
	}
	if err := os.WriteFile(path, append(data, `{"v":1,"time":`...), 0o600); err != nil {
		t.Fatal(err)
	}
	l = Open(dir, clock)
	defer l.Close()
	if err := l.Add(Entry{Who: "ops", Action: "depot.reset", Result: OK}); err != nil {
		t.Fatal(err)
	}
	if all := since(t, l, time.Time{}); len(all) != 4 || all[0].Detail != "one" || all[3].Action != "depot.reset" {
		t.Errorf("%+v", all)
	}
	if all := since(t, l, now); len(all) != 1 {
		t.Errorf("from the last second on: %+v", all)
	}
}

// TestBounded: old files go.
func TestBounded(t *testing.T) {
	dir := t.TempDir()
	l := Open(dir, time.Now)
	defer l.Close()
	if err := l.Add(Entry{Who: "ops", Action: "depot.add", Result: OK}); err != nil {
		t.Fatal(err)
	}
	for range older + 3 {
		l.size = maxSize // as if it were full
		if err := l.f.Truncate(maxSize); err != nil {
			t.Fatal(err)
		}
		if err := l.Add(Entry{Who: "ops", Action: "depot.add", Result: OK}); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != older+1 {
		t.Errorf("%v, %v", files, err)
	}
	if l.size >= maxSize {
		t.Error("not begun anew")
	}
}

// TestDamaged: whatever stands in a file, what else stands there is shown.
func TestDamaged(t *testing.T) {
	l := Open(t.TempDir(), time.Now)
	defer l.Close()
	add := func() {
		t.Helper()
		if err := l.Add(Entry{Who: "ops", Action: "depot.add", Result: OK}); err != nil {
			t.Fatal(err)
		}
	}
	add()
	junk := append(make([]byte, 200<<10), '\n')
	if _, err := l.f.WriteAt(junk, l.size); err != nil {
		t.Fatal(err)
	}
	l.size += int64(len(junk))
	add()
	if all := since(t, l, time.Time{}); len(all) != 2 {
		t.Errorf("%+v", all)
	}
}

// TestWave: lines that wait while the disk is busy are synced together; all of them are
// told where that fails, and the next ones are kept.
func TestWave(t *testing.T) {
	const wave = 100
	l := Open(t.TempDir(), time.Now)
	defer l.Close()
	syncs := 0
	var failed error
	l.sync = func(f *os.File) error { syncs++; return errors.Join(failed, f.Sync()) }
	for _, failed = range []error{nil, errors.New("no disk"), nil} {
		l.mu.Lock()
		syncs = 0
		var all sync.WaitGroup
		for range wave {
			all.Go(func() {
				if err := l.Add(Entry{Who: "ops", Action: "depot.add", Result: OK}); !errors.Is(err, failed) {
					t.Error(err)
				}
			})
		}
		for end := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Millisecond) {
			l.queue.Lock()
			n := len(l.waiting)
			l.queue.Unlock()
			if n == wave {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%d wait", n)
			}
		}
		l.mu.Unlock()
		all.Wait()
		if syncs != 1 {
			t.Errorf("%d syncs", syncs)
		}
	}
	if all := since(t, l, time.Time{}); len(all) != 2*wave {
		t.Errorf("%d entries", len(all))
	}
}

// TestSinceWhileItRotates: a file that is renamed while older ones are read is not
// missed.
func TestSinceWhileItRotates(t *testing.T) {
	l := Open(t.TempDir(), time.Now)
	defer l.Close()
	add := func(detail string, full bool) {
		if full {
			l.size = maxSize // as if it were
		}
		if err := l.Add(Entry{Who: "ops", Action: "depot.add", Result: OK, Detail: detail}); err != nil {
			t.Fatal(err)
		}
	}
	add("1", false)
	add("2", true)
	var got []string
	err := l.Since(time.Time{}, func(line json.RawMessage) error {
		var e Entry
		err := json.Unmarshal(line, &e)
		if got = append(got, e.Detail); len(got) == 1 {
			add("3", true)
		}
		return err
	})
	if err != nil || strings.Join(got, " ") != "1 2" {
		t.Errorf("%q, %v", got, err)
	}
}
