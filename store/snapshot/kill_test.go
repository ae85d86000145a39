package snapshot_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
)

// victimDir tells the test binary that it is the victim of TestKill.
const victimDir = "SCANRELAY_SNAPSHOT_VICTIM"

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDir); dir != "" {
		victim(dir)
	}
	os.Exit(m.Run())
}

// victim merges and says so until it is killed. It goes on after what the store
// has, as a depot does.
func victim(dir string) {
	s, err := snapshot.Open(dir, snapshot.Options{MergeEvery: time.Millisecond, MergeRecords: 1})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	ctx := context.Background()
	next := uint64(1)
	if d := s.Depots(); len(d) == 1 {
		next = d[0].Have + 1
	}
	for ; ; next++ {
		e := ev(next, waybillOf(next), fmt.Sprintf("e%d", next), int(next))
		if _, err := s.Merge(ctx, batch(hz, 1, e)); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println(next)
	}
}

func waybillOf(seq uint64) string { return fmt.Sprintf("KILL%03d", seq%37) }

// TestKill kills a process at random moments while it merges. Whatever it said
// was taken is there after all, once, and in order; nothing is reported damaged.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	acknowledged := uint64(0)
	for range 8 {
		acknowledged = max(acknowledged, runVictim(t, dir))
		s, err := snapshot.Open(dir, snapshot.Options{})
		if err != nil {
			t.Fatalf("open after a kill: %v", err)
		}
		have := s.Depots()[0].Have
		if have < acknowledged {
			t.Errorf("have %d, the ledger says %d", have, acknowledged)
		}
		if d := s.Stats().Damage; len(d) > 0 {
			t.Errorf("damage: %v", d)
		}
		checkAll(t, s, have)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if acknowledged == 0 {
		t.Fatal("nothing was ever acknowledged")
	}
}

// runVictim returns the highest number that the victim acknowledged.
func runVictim(t *testing.T, dir string) (acknowledged uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=none")
	cmd.Env = append(os.Environ(), victimDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for most := 20 + rand.IntN(150); lines.Scan(); most-- {
		if strings.HasPrefix(lines.Text(), "error") {
			t.Fatal(lines.Text())
		}
		if _, err := fmt.Sscan(lines.Text(), &acknowledged); err != nil {
			t.Fatal(err)
		}
		if most == 0 {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // it was killed
	return acknowledged
}

// checkAll compares every path with what was sent.
func checkAll(t *testing.T, s *snapshot.Bolt, have uint64) {
	t.Helper()
	want := map[string]string{}
	for seq := uint64(1); seq <= have; seq++ {
		want[waybillOf(seq)] += fmt.Sprintf("hz-01/e%d ", seq)
	}
	for id, path := range want {
		got, _, err := s.Lookup(t.Context(), scan.WaybillID(id))
		if err != nil || pathOf(got.Nodes) != path {
			t.Fatalf("path of %s: %q, want %q (%v)", id, pathOf(got.Nodes), path, err)
		}
	}
}
