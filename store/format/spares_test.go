package format

import (
	"syscall"
	"testing"

	"scanrelay/store/durable"
)

// A disk on which no file can be made has no room: that is no error of another kind,
// which would end the outbox.
func TestNoNameForASpareSegment(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16m,nr_inodes=1"); err != nil {
		t.Logf("no disk of its own: %v", err)
		return
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	s, err := OpenSpares(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Make(4 << 20); !durable.NoSpace(err) {
		t.Errorf("make a segment: %v", err)
	}
}
