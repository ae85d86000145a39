package durable_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/store/durable"
)

// A disk that cannot read for a few seconds is not believed; one that cannot for
// longer is, and then at once for a while, so that each bad block does not cost
// seconds.
func TestReadsArePatient(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	want := bytes.Repeat([]byte("0123456789abcdef"), 1024)
	if err := os.WriteFile(path, want, 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var failUntil atomic.Int64
		defer durable.FailReads(func(string, int64) error {
			if time.Now().UnixNano() < failUntil.Load() {
				return syscall.EIO
			}
			return nil
		})()
		failFor := func(d time.Duration) { failUntil.Store(time.Now().Add(d).UnixNano()) }
		f, err := durable.OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		read := func() (time.Duration, error) {
			began, b := time.Now(), make([]byte, 100)
			n, err := f.ReadAt(b, 300)
			if err == nil && !bytes.Equal(b[:n], want[300:400]) {
				t.Error("it reads something else")
			}
			return time.Since(began), err
		}
		failFor(6 * time.Second)
		if took, err := read(); err != nil || took < 6*time.Second {
			t.Errorf("after six seconds: %v in %v", err, took)
		}
		failFor(time.Hour)
		if took, err := read(); !errors.Is(err, syscall.EIO) || took < 6*time.Second || took > 10*time.Second {
			t.Errorf("for good: %v in %v", err, took)
		}
		if took, err := read(); !errors.Is(err, syscall.EIO) || took > time.Second {
			t.Errorf("the next one: %v in %v", err, took)
		}
		time.Sleep(2 * time.Minute)
		if took, err := read(); !errors.Is(err, syscall.EIO) || took < 6*time.Second {
			t.Errorf("minutes later: %v in %v", err, took)
		}
		failFor(0)
		if _, err := read(); err != nil {
			t.Error(err)
		}
	})
}

// What can be read of a small file is.
func TestReadFileInPart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, bytes.Repeat([]byte{7}, 10000), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		defer durable.FailReads(func(_ string, at int64) error {
			if at == 4096 {
				return syscall.EIO
			}
			return nil
		})()
		got, err := durable.ReadFile(path)
		if !errors.Is(err, syscall.EIO) || len(got) != 10000 || bytes.Count(got, []byte{7}) != 10000-4096 || got[4096] != 0 {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}
