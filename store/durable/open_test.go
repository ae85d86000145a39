package durable

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestACommandGivesUpWaiting: where no descriptor is to be had, a command has its error
// after the patience that a disk gets; a service, which tells of it, waits on.
func TestACommandGivesUpWaiting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	allow := func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(allow)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	commandWaits = 100 * time.Millisecond
	t.Cleanup(func() { commandWaits = patience })
	began := time.Now()
	if _, err := Open(path, os.O_RDONLY, 0); !NoDescriptor(err) || time.Since(began) < commandWaits {
		t.Fatalf("after %v: %v", time.Since(began), err)
	}
	told := make(chan error, 1)
	OnShortage(func(err error) { told <- err })
	opened := make(chan error, 1)
	go func() {
		f, err := Open(path, os.O_RDONLY, 0)
		if err == nil {
			err = f.Close()
		}
		opened <- err
	}()
	<-told
	time.Sleep(3 * commandWaits)
	if len(opened) > 0 {
		t.Fatal("a service does not wait")
	}
	allow()
	if err := <-opened; err != nil {
		t.Error(err)
	}
}
