package storetest

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// Rounds is how often a test by chance tries something: all of the times, or few
// with -short. The race detector and an emulator make a round dear, and find what
// a round does wrong on them, not the round that is rare.
func Rounds(all, few int) int {
	if testing.Short() {
		return few
	}
	return all
}

// Rand returns a source of randomness whose seed a failing test prints;
// SCANRELAY_SEED gives it the same one again.
func Rand(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if s, err := strconv.ParseUint(os.Getenv("SCANRELAY_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("SCANRELAY_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
