package index

import (
	"math/rand/v2"
	"slices"
	"testing"

	"scanrelay/store/internal/storetest"
)

// The census against plain maps, over numbers that are dense here and far apart
// there.
func TestCensusAgainstMaps(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	var l census
	want := map[uint64]*[numSets]bool{}
	for i := range 30000 {
		seq := 1 + rnd.Uint64N(3000)
		if rnd.IntN(4) == 0 {
			seq = 1 + rnd.Uint64N(2_000_000)
		}
		in := want[seq]
		switch s := set(rnd.IntN(int(numSets))); {
		case in == nil:
			l.add(setPending, seq)
			want[seq] = &[numSets]bool{setPending: true}
		case s == setPending:
			for s := numSets; s > 0; s-- {
				l.del(s-1, seq)
			}
			delete(want, seq)
		case in[s]:
			l.del(s, seq)
			in[s] = false
		default:
			l.add(s, seq)
			l.add(s, seq) // again changes nothing
			in[s] = true
		}
		if i%storetest.Rounds(500, 3000) == 0 {
			compareCensus(t, &l, want, rnd)
		}
	}
}

func compareCensus(t *testing.T, l *census, want map[uint64]*[numSets]bool, rnd *rand.Rand) {
	t.Helper()
	var of [shelved + 1][]uint64
	var count [numSets]int
	for seq, in := range want {
		for s := range numSets {
			if in[s] != l.has(s, seq) {
				t.Fatalf("%d in set %d: %t", seq, s, !in[s])
			}
			if in[s] {
				count[s]++
				of[s] = append(of[s], seq)
			}
		}
		if !in[setHeld] {
			of[absent] = append(of[absent], seq)
			if !in[setWaiting] && !in[setCooling] {
				of[shelved] = append(of[shelved], seq)
			}
		}
	}
	if l.count != count {
		t.Fatalf("counts %v, want %v", l.count, count)
	}
	for k, seqs := range of {
		slices.Sort(seqs)
		compareKind(t, l, subset(k), seqs, rnd)
	}
}

func compareKind(t *testing.T, l *census, k subset, want []uint64, rnd *rand.Rand) {
	t.Helper()
	var up, down []uint64
	for seq, ok := l.next(k, 0); ok; seq, ok = l.next(k, seq+1) {
		up = append(up, seq)
	}
	for seq, ok := l.prev(k, 1<<40); ok; seq, ok = l.prev(k, seq-1) {
		down = append(down, seq)
	}
	slices.Reverse(down)
	if !slices.Equal(up, want) || !slices.Equal(down, want) {
		t.Fatalf("subset %d: %d up, %d down, want %d", k, len(up), len(down), len(want))
	}
	from := rnd.Uint64N(4000)
	to := from + rnd.Uint64N(4000)
	n := 0
	for _, seq := range want {
		if seq >= from && seq <= to {
			n++
		}
	}
	if got := l.countIn(k, from, to); got != n {
		t.Fatalf("subset %d from %d to %d: %d, want %d", k, from, to, got, n)
	}
}
