package e2e

import (
	"bytes"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"scanrelay/build/rig"
)

// TestALogThatNobodyReads has the reader of both roles' logs gone, or hang: scans go
// all the way, a reload and the stop work, and lost lines are counted.
func TestALogThatNobodyReads(t *testing.T) {
	t.Parallel()
	for name, hangs := range map[string]bool{"gone": false, "hangs": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			site := newSite(t, rig.Options{Binary: plainBinary, Embedded: true})
			for _, role := range []*rig.Role{site.Agent, site.Central} {
				r, w, err := os.Pipe()
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _, _ = r.Close(), w.Close() })
				if hangs {
					fill(t, w)
				} else if err := r.Close(); err != nil {
					t.Fatal(err)
				}
				role.Stderr = w
			}
			site.Start()
			parcels := rig.Traffic(rig.Chance(11, name), "YT", 50)
			site.Import(parcels)
			publish(t, site.Scanner("line-1"), rig.Scans(parcels, 3, "line-1"))
			site.Central.Signal(syscall.SIGHUP)
			site.Agent.Signal(syscall.SIGHUP)
			site.Drain()
			for addr, metric := range map[string]string{
				site.AgentHTTP: "scanrelay_log_dropped_total", site.CentralHTTP: "scanrelay_central_log_dropped_total",
			} {
				if lost := site.Metric(addr, metric); lost == 0 && !hangs {
					t.Errorf("%s is 0", metric)
				}
			}
			site.Audit(rig.Allow{})
			for _, role := range []*rig.Role{site.Agent, site.Central} {
				if took := role.Stop(); took > 25*time.Second {
					t.Errorf("the stop of %s took %v", role.Name, took)
				}
			}
		})
	}
}

// fill leaves a pipe no room for a single byte.
func fill(t *testing.T, w *os.File) {
	t.Helper()
	if err := w.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(bytes.Repeat([]byte("\n"), 16<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("fill the pipe: %v", err)
	}
	if err := syscall.SetNonblock(int(w.Fd()), false); err != nil {
		t.Fatal(err)
	}
}
