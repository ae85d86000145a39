package shares

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"scanrelay/agent/scan"
)

func TestShares(t *testing.T) {
	now := time.Unix(1e9, 0)
	s := New(100, func() time.Time { return now })
	at := func(id scan.DepotID, backlog int64, want float64) {
		t.Helper()
		if got, _ := s.Share(t.Context(), id, backlog); got < want-0.01 || got > want+0.01 {
			t.Fatalf("%s with %d to push gets %v, want %v", id, backlog, got, want)
		}
	}
	at("a", 0, 100)  // alone
	at("b", 0, 2.5)  // the other has not given back yet
	at("a", 0, 50)   // now it does
	at("b", 0, 50)   //
	at("a", 90, 50)  // all is given out: its need is met when b syncs
	at("b", 10, 18)  // 20 % evenly, 80 % by need
	at("a", 90, 82)  //
	at("b", 0, 10)   // nothing to push: the even part is kept for new scans
	at("a", 900, 90) //
	now = now.Add(shareLife + time.Second)
	at("a", 900, 100) // b has fallen silent
	at("b", -5, 2.5)
}

// TestSharesWithinRate: whatever depots come, go and need, what is handed out
// and not given back stays within the rate.
func TestSharesWithinRate(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	now := time.Unix(1e9, 0)
	s := New(500, func() time.Time { return now })
	for range 20_000 {
		now = now.Add(time.Duration(r.IntN(400)) * time.Millisecond)
		id := scan.DepotID(fmt.Sprintf("d%d", r.IntN(1+r.IntN(60))))
		if got, _ := s.Share(t.Context(), id, r.Int64N(1+r.Int64N(100_000))); got <= 0 {
			t.Fatalf("%s gets %v", id, got)
		}
		sum := 0.0
		for _, e := range s.given {
			g := e.Value.(*grant)
			if now.Sub(g.at) <= shareLife {
				sum += g.rate
			}
		}
		if sum > 500*(1+2*leastPart) {
			t.Fatalf("%v of 500 are handed out", sum)
		}
	}
}

// TestSharesFollowNeed: depots that sync come to the share that their need asks
// for, and all of the rate is in use.
func TestSharesFollowNeed(t *testing.T) {
	now := time.Unix(1e9, 0)
	s := New(500, func() time.Time { return now })
	need := map[scan.DepotID]int64{"big": 1_000_000, "small": 10, "idle": 0}
	got := map[scan.DepotID]float64{}
	for range 10 {
		for id, n := range need {
			now = now.Add(time.Second)
			got[id], _ = s.Share(t.Context(), id, n)
		}
	}
	sum := got["big"] + got["small"] + got["idle"]
	if got["big"] < 400 || got["small"] < 30 || got["idle"] < 30 || sum < 499 || sum > 501 {
		t.Errorf("shares %v, sum %v", got, sum)
	}
}

// TestClaimsAreBounded: what a depot says that it has to push takes the rate from
// no other that needs it.
func TestClaimsAreBounded(t *testing.T) {
	now := time.Unix(1e9, 0)
	s := New(500, func() time.Time { return now })
	got := map[scan.DepotID]float64{}
	for range 10 {
		for id, n := range map[scan.DepotID]int64{"hostile": 1 << 62, "b": 400, "c": 500, "d": 60_000} {
			now = now.Add(time.Second)
			got[id], _ = s.Share(t.Context(), id, n)
		}
	}
	if got["hostile"] > 140 || got["b"] < 100 || got["c"] < 110 || got["d"] < 110 {
		t.Errorf("one depot's claim takes the rate from the others: %v", got)
	}
}

// TestShareCostsTheSame: a share is no work over all depots.
func TestShareCostsTheSame(t *testing.T) {
	cost := func(depots int) int64 {
		now := time.Unix(1e9, 0)
		s := New(500, func() time.Time { return now })
		ids := make([]scan.DepotID, depots)
		for i := range ids {
			ids[i] = scan.DepotID(fmt.Sprintf("d%d", i))
			_, _ = s.Share(t.Context(), ids[i], 5)
		}
		n := 0
		return testing.Benchmark(func(b *testing.B) {
			for range b.N {
				n++
				_, _ = s.Share(t.Context(), ids[n%depots], int64(n%7))
			}
		}).NsPerOp()
	}
	if few, many := cost(100), cost(31_000); many > 50*few {
		t.Errorf("a share among 31,000 depots takes %d ns, among 100 %d", many, few)
	}
}
