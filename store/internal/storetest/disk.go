package storetest

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
)

// SmallDisk makes a file system of some megabytes, where that is allowed. Nothing is
// left of it, however the process ends: it is mounted nowhere any more, and reached by
// what this process has open.
func SmallDisk(t testing.TB, megabytes int) (dir string, mounted bool) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", megabytes)); err != nil {
		t.Logf("no small disk: %v", err)
		return dir, false
	}
	root, err := os.Open(dir)
	if err := errors.Join(err, syscall.Unmount(dir, syscall.MNT_DETACH)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := root.Close(); err != nil {
			t.Error(err)
		}
	})
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), root.Fd()), true
}
