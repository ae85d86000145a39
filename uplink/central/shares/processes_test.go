package shares

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/uplink/central/internal/documents"
)

// away is a table that a process may be cut off from.
type away struct {
	*documents.Table
	cut bool
}

// node is one process of a centre.
type node struct {
	*Processes
	table *away
	dead  bool
}

// turnOf is a turn as Run makes it.
func (n *node) turnOf(t *testing.T, now time.Time) {
	if n.table.cut {
		if now.Sub(n.wrote) > heldLife {
			n.shares.bound(0)
		}
		return
	}
	if err := n.turn(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestPartsWithinRate: processes come, die and are cut off, depots go from one to the other:
// what depots have of living processes stays within the rate, and once all is quiet it is
// shared by how many depots each hears, nearly all of it.
func TestPartsWithinRate(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	now, table := time.Unix(1e9, 0), documents.New(nil)
	start := func() *node {
		a := &away{Table: table}
		return &node{Processes: Among(New(500, func() time.Time { return now }), a, slog.New(slog.DiscardHandler)), table: a}
	}
	nodes := []*node{start()}
	alive := func() *node {
		for {
			if n := nodes[r.IntN(len(nodes))]; !n.dead && !n.table.cut {
				return n
			}
		}
	}
	sum := func() (all float64) {
		for _, n := range nodes {
			if !n.dead {
				held, _ := n.shares.state()
				all += held
			}
		}
		return all
	}
	for round := range 1200 {
		now = now.Add(claimEvery)
		switch living := 0; {
		case round%200 == 50 && len(nodes) < 8:
			nodes = append(nodes, start())
		case round%100 == 75 && nodes[0].table.cut != (round%200 == 75):
			nodes[0].table.cut = !nodes[0].table.cut
		case round%200 == 100:
			for _, n := range nodes {
				if !n.dead && !n.table.cut {
					living++
				}
			}
			if living > 1 {
				alive().dead = true
			}
		}
		for _, n := range nodes {
			if !n.dead {
				n.turnOf(t, now)
			}
		}
		for range 20 {
			n := alive()
			if got, _ := n.shares.Share(t.Context(), scan.DepotID(fmt.Sprint("d", r.IntN(40))), r.Int64N(10_000)); got <= 0 {
				t.Fatalf("a depot is told %v", got)
			}
		}
		// leastPart of an even share is given at once to who is new: see there.
		if all := sum(); all > 500*1.1 {
			t.Fatalf("round %d: %v of 500 are handed out", round, all)
		}
	}
}

// TestParts: a second process gets nothing before the first has given up some of it, each
// then has by its depots, and of a dead one all falls to the other.
func TestParts(t *testing.T) {
	now, table := time.Unix(1e9, 0), documents.New(nil)
	make1 := func() *Processes {
		return Among(New(100, func() time.Time { return now }), table, slog.New(slog.DiscardHandler))
	}
	one := make1()
	turn := func(ps ...*Processes) {
		t.Helper()
		now = now.Add(claimEvery)
		for _, p := range ps {
			if err := p.turn(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	share := func(p *Processes, id scan.DepotID) float64 {
		rate, err := p.shares.Share(t.Context(), id, 1000)
		if err != nil {
			t.Fatal(err)
		}
		return rate
	}
	if got := share(one, "a"); got <= 0 || got > 1 {
		t.Errorf("before its first turn: %v", got)
	}
	turn(one)
	if got := share(one, "a"); got < 97 || got > 99 {
		t.Errorf("alone: %v", got)
	}
	two := make1()
	turn(two)
	if got := share(two, "b"); got <= 0 || got > 1 {
		t.Errorf("the second at first: %v", got)
	}
	for range 5 {
		turn(one, two)
		share(one, "a")
		share(two, "b")
	}
	if a, b := share(one, "a"), share(two, "b"); a < 45 || b < 45 || a+b > 100 {
		t.Errorf("both: %v and %v", a, b)
	}
	if whole, _ := two.shares.Total(t.Context()); whole != 100 {
		t.Errorf("the fleet's rate is %v", whole)
	}
	for range int(claimLife/claimEvery) - 1 {
		turn(one)
		if a := share(one, "a"); a > 60 {
			t.Fatalf("the other's part is taken too soon: %v", a)
		}
	}
	for range 5 {
		turn(one)
	}
	if a := share(one, "a"); a < 97 {
		t.Errorf("after the other's death: %v", a)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	one.Run(ctx) // a stop, whose next process need not wait
	next := make1()
	if turn(next); share(next, "a") < 97 {
		t.Error("a part that was given back is nobody's")
	}
}
