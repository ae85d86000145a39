package index

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// The table against a plain map, over numbers that are dense here and far apart
// there.
func TestTableAgainstMap(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var x table
	want := map[uint64]bool{} // in memory, and whether ready
	for range 20000 {
		seq := 1 + rnd.Uint64N(300)
		if rnd.IntN(3) == 0 {
			seq = 1 + rnd.Uint64N(200_000)
		}
		_, there := want[seq]
		switch {
		case !there:
			x.put(seq, entry{waybill: seq})
			want[seq] = false
		case rnd.IntN(2) == 0:
			x.del(seq)
			delete(want, seq)
		default:
			want[seq] = !want[seq]
			x.setReady(seq, want[seq])
		}
		if rnd.IntN(500) == 0 {
			compareTable(t, &x, want)
		}
	}
}

func compareTable(t *testing.T, x *table, want map[uint64]bool) {
	t.Helper()
	var seqs, ready, got []uint64
	for seq, r := range want {
		seqs = append(seqs, seq)
		if r {
			ready = append(ready, seq)
		}
	}
	slices.Sort(seqs)
	slices.Sort(ready)
	for _, b := range x.blocks {
		for i := range uint64(blockLen) {
			seq := b.number*blockLen + i
			if e := x.get(seq); e != nil {
				got = append(got, seq)
				if e.waybill != seq {
					t.Fatalf("entry of %d: %+v", seq, e)
				}
			}
		}
	}
	if !slices.Equal(got, seqs) {
		t.Fatalf("%d in memory, want %d", len(got), len(seqs))
	}
	first, ok1 := x.firstReady()
	last, ok2 := x.lastReady()
	if ok1 != (len(ready) > 0) || ok2 != ok1 || ok1 && (first != ready[0] || last != ready[len(ready)-1]) {
		t.Fatalf("ready from %d to %d, want %v", first, last, ready)
	}
}
