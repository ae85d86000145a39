package store

import (
	"syscall"
	"testing"

	"scanrelay/store/durable"
)

// noDescriptors has the process open no further file until allow is called.
func noDescriptors(t *testing.T) (allow func()) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	set := func(l syscall.Rlimit) {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
			t.Error(err)
		}
	}
	allow = func() { set(limit) }
	t.Cleanup(allow)
	set(syscall.Rlimit{Cur: 0, Max: limit.Max})
	return allow
}

// A process that may open no further file waits until it may, as for a full disk: what
// needs a segment or a sealed one's records goes on then, nothing ends, and nothing
// passes for damaged. It is told and counted.
func TestNoDescriptors(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir, small(newTestClock()))
	appendN(t, o, 3)
	told := make(chan error, 1)
	durable.OnShortage(func(err error) { told <- err })
	before, _ := durable.Shortages()
	allow := noDescriptors(t)
	rolled := make(chan error, 1)
	go func() { rolled <- o.roll() }()
	if err := <-told; !durable.NoDescriptor(err) {
		t.Errorf("told: %v", err)
	}
	eventually(t, "the writer waits", func() bool { _, lasts := durable.Shortages(); return lasts > 0 })
	if waits, _ := durable.Shortages(); waits == before {
		t.Error("no wait is counted")
	}
	allow()
	if err := <-rolled; err != nil {
		t.Fatal(err)
	}
	if _, lasts := durable.Shortages(); lasts > 0 {
		t.Error("it still waits")
	}
	closeChecked(t, o)
	allow = noDescriptors(t)
	again := make(chan *Outbox, 1)
	go func() {
		o, err := Open(dir, small(newTestClock()))
		if err != nil {
			t.Error(err)
		}
		again <- o
	}()
	eventually(t, "the start waits", func() bool { _, lasts := durable.Shortages(); return lasts > 0 })
	allow()
	if o = <-again; o == nil {
		return
	}
	t.Cleanup(func() { closeChecked(t, o) })
	syncAll(t, o)
	if n := pushAll(t, o); n != 3 || segmentFiles(t, dir) != 2 {
		t.Errorf("%d pushed, %d segments", n, segmentFiles(t, dir))
	}
	if aside, err := durable.Aside(dir, ""); len(aside) > 0 || err != nil {
		t.Errorf("set aside: %v, %v", aside, err)
	}
}
