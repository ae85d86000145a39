package index

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestFirstDead: the lowest dead letter is known, whatever comes and goes.
func TestFirstDead(t *testing.T) {
	m := newMemory(10)
	var all []uint64
	for range 2000 {
		if len(all) == 0 || rand.IntN(5) > 1 {
			seq := 1 + rand.Uint64N(500)
			if m.die(seq); !slices.Contains(all, seq) {
				all = append(all, seq)
			}
		} else {
			i := rand.IntN(len(all))
			m.undead(all[i])
			all = slices.Delete(all, i, i+1)
		}
		if len(all) > 0 && m.firstDead() != slices.Min(all) {
			t.Fatalf("%d, want %d", m.firstDead(), slices.Min(all))
		}
	}
}
