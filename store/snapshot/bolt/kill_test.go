package bolt_test

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
	"scanrelay/store/snapshot/bolt"
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
	s, err := bolt.Open(dir, bolt.Options{MergeEvery: time.Millisecond, MergeRecords: 1})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	ctx := context.Background()
	for next := haveOf(s) + 1; ; next++ {
		e := scan.Event{Waybill: waybillOf(next), EventID: fmt.Sprintf("e%d", next), ActionTime: int64(next), ActionType: scan.ActionTransport, ActionMsg: "x"}
		b := snapshot.Batch{Depot: "hz-01", Epoch: 1, From: next, NextSeq: next + 1, Events: []snapshot.Event{{Seq: next, Event: e}}}
		if _, err := s.Merge(ctx, b); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println(next)
	}
}

func waybillOf(seq uint64) scan.WaybillID { return scan.WaybillID(fmt.Sprintf("KILL%03d", seq%37)) }

func haveOf(s *bolt.Store) uint64 {
	if d, err := s.Depots(context.Background()); err == nil && len(d) == 1 {
		return d[0].Have
	}
	return 0
}

// TestKill kills a process at random moments while it merges. Whatever it said
// was taken is there after all, once, and in order; nothing is reported damaged.
func TestKill(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	dir := t.TempDir()
	acknowledged := uint64(0)
	for range 8 {
		acknowledged = max(acknowledged, runVictim(t, dir, 20+random.IntN(150)))
		s, err := bolt.Open(dir, bolt.Options{})
		if err != nil {
			t.Fatalf("open after a kill: %v", err)
		}
		have := haveOf(s)
		if have < acknowledged {
			t.Errorf("have %d, the ledger says %d", have, acknowledged)
		}
		if st, err := s.Stats(t.Context()); err != nil || len(st.Damage) > 0 {
			t.Errorf("damage: %v, %v", st.Damage, err)
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

// runVictim kills the victim after that many acknowledgements, and returns the
// highest number that it acknowledged.
func runVictim(t *testing.T, dir string, most int) (acknowledged uint64) {
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
	for ; lines.Scan(); most-- {
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
func checkAll(t *testing.T, s *bolt.Store, have uint64) {
	t.Helper()
	want := map[scan.WaybillID]string{}
	for seq := uint64(1); seq <= have; seq++ {
		want[waybillOf(seq)] += fmt.Sprintf("e%d ", seq)
	}
	for id, path := range want {
		got, _, err := s.Lookup(t.Context(), id)
		have := ""
		for _, n := range got.Nodes {
			have += n.EventID + " "
		}
		if err != nil || have != path {
			t.Fatalf("path of %s: %q, want %q (%v)", id, have, path, err)
		}
	}
}
