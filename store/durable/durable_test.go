package durable_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"scanrelay/store/durable"
)

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A file is there whole, or what was there before is; nothing is left aside.
func TestCreateIsWholeOrNot(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	if err := durable.Create(path, []byte("old")); err != nil || content(t, path) != "old" {
		t.Fatal(err)
	}
	full := &os.PathError{Op: "write", Err: syscall.ENOSPC}
	err := durable.Build(path, func(temp string) error {
		return errors.Join(os.WriteFile(temp, []byte("ne"), 0o600), full)
	})
	if !durable.NoSpace(err) || content(t, path) != "old" || durable.Exists(path+durable.TempSuffix) {
		t.Errorf("%v, %q", err, content(t, path))
	}
	if err := os.WriteFile(path+durable.TempSuffix, []byte("left by a crash"), 0o600); err != nil {
		t.Fatal(err)
	}
	err = durable.Build(path, func(temp string) error {
		if durable.Exists(temp) {
			t.Error("it builds on what a crash left")
		}
		return os.WriteFile(temp, []byte("new"), 0o600)
	})
	if err != nil || content(t, path) != "new" {
		t.Errorf("%v, %q", err, content(t, path))
	}
}

// Damaged files are kept under names of their own; one that has got its second
// name already gets no third.
func TestSetAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	for i, want := range []string{"x.damaged", "x.damaged-2"} {
		if err := os.WriteFile(path, []byte{byte(i)}, 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			name := durable.AsideName(path)
			if err := durable.SetAside(path, name); name != want || err != nil {
				t.Errorf("%q, %v", name, err)
			}
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// Many read, or one writes.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if _, err := durable.LockShared(path); err == nil {
		t.Error("there is nothing to read yet")
	}
	w, err := durable.LockExclusive(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err1 := durable.LockExclusive(path)
	_, err2 := durable.LockShared(path)
	if !errors.Is(err1, durable.ErrInUse) || !errors.Is(err2, durable.ErrInUse) {
		t.Error(err1, err2)
	}
	w.Release()
	a, err1 := durable.LockShared(path)
	b, err2 := durable.LockShared(path)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	got := make(chan error)
	go func() { // it waits for readers
		w, err := durable.LockExclusive(path)
		if err == nil {
			w.Release()
		}
		got <- err
	}()
	a.Release()
	b.Release()
	if err := <-got; err != nil {
		t.Error(err)
	}
}
