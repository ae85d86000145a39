package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// harness is a rig.T outside of a test: a failure ends the measurement under
// way, not the program.
type harness struct {
	ctx      context.Context
	cleanups []func()
	failed   bool
	dirs     int
	base     string
}

// gaveUp is what Fatalf panics with.
type gaveUp struct{}

// part runs one measurement and cleans up behind it; false if it gave up.
func (h *harness) part(measure func()) (ok bool) {
	h.failed = false
	defer func() {
		if r := recover(); r != nil {
			if _, mine := r.(gaveUp); !mine {
				panic(r)
			}
		}
		ok = !h.failed
		h.runCleanups()
	}()
	measure()
	return true
}

func (h *harness) runCleanups() {
	for _, f := range slices.Backward(h.cleanups) {
		f()
	}
	h.cleanups = nil
}

// cleanup removes what is left at the end of the program.
func (h *harness) cleanup() {
	if h.base != "" {
		if err := os.RemoveAll(h.base); err != nil {
			h.Logf("remove %s: %v", h.base, err)
		}
	}
}

func (h *harness) Helper()                         {}
func (h *harness) Name() string                    { return "bench" }
func (h *harness) Context() context.Context        { return h.ctx }
func (h *harness) Failed() bool                    { return h.failed }
func (h *harness) Cleanup(f func())                { h.cleanups = append(h.cleanups, f) }
func (h *harness) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (h *harness) Errorf(format string, args ...any) {
	h.failed = true
	h.Logf(format, args...)
}

func (h *harness) Fatalf(format string, args ...any) {
	h.Errorf(format, args...)
	panic(gaveUp{})
}

// TempDir makes a folder on the disk of the working directory, not in a /tmp
// that may be memory: fsync is what is measured.
func (h *harness) TempDir() string {
	if h.base == "" {
		base, err := os.MkdirTemp(onDisk(), "bench-")
		if err != nil {
			h.Fatalf("make a folder: %v", err)
		}
		h.base = base
	}
	h.dirs++
	dir := filepath.Join(h.base, fmt.Sprint(h.dirs))
	if err := os.Mkdir(dir, 0o700); err != nil {
		h.Fatalf("make a folder: %v", err)
	}
	return dir
}

// onDisk returns build/cache of the tree, made if need be.
func onDisk() string {
	dir, err := filepath.Abs("build/cache")
	if err != nil || os.MkdirAll(dir, 0o755) != nil {
		return "."
	}
	return dir
}
