package durable

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"
)

// A released lock is free, although a program that is just being started has a
// copy of the file.
func TestReleaseWhileAProgramIsStarted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := LockExclusive(path)
	if err != nil {
		t.Fatal(err)
	}
	inherited, err := unix.Dup(int(l.f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(inherited)
	l.Release()
	again, err := LockExclusive(path)
	if err != nil {
		t.Fatal(err)
	}
	again.Release()
}

// Who had opened a lock that was removed meanwhile has it not: somebody else may have
// the file that took its place.
func TestRemovedLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := LockExclusive(path)
	if err != nil {
		t.Fatal(err)
	}
	if l.removed() {
		t.Error("a lock that is there counts as removed")
	}
	late, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	if err := l.Remove(); err != nil || Exists(path) {
		t.Fatalf("remove: %v", err)
	}
	if !(&Lock{late}).removed() {
		t.Error("a lock that was removed counts as there")
	}
	if l, err = LockExclusive(path); err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	if !(&Lock{late}).removed() {
		t.Error("a lock that another took the place of counts as there")
	}
}

// Who cannot have the folder is told who has it: what is to be ended is another
// thing where somebody only reads.
func TestRefusalSaysWhoHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "lock")
		refused := func(take func(string) (*Lock, error), want string) {
			t.Helper()
			if _, err := take(path); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), want) {
				t.Errorf("it says %v, want %q", err, want)
			}
		}
		l, err := LockExclusive(path)
		if err != nil {
			t.Fatal(err)
		}
		refused(LockExclusive, "by another process that writes to it")
		refused(LockShared, "by another process that writes to it")
		l.Release()
		if l, err = LockShared(path); err != nil {
			t.Fatal(err)
		}
		defer l.Release()
		refused(LockExclusive, "by a command that reads it: end that")
	})
}
