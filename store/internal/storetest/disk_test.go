package storetest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A small disk is one, and a test that is killed leaves no mount behind.
func TestSmallDiskGoesWithTheProcess(t *testing.T) {
	dir, mounted := SmallDisk(t, 1)
	if !mounted {
		return // nothing is left of what is not there
	}
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "d", "f"), make([]byte, 2<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("2 MiB on a disk of 1: %v", err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), t.Name()) {
		t.Errorf("it is mounted: %v", err)
	}
}
