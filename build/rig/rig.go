package rig

import (
	"context"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"time"
)

// T is the part of testing.TB that the rig needs; the benchmark, which is a
// program, has one of its own.
type T interface {
	Helper()
	Name() string
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(func())
	TempDir() string
	Failed() bool
	Context() context.Context
}

// Seed returns the seed of this run's chances, from SCANRELAY_E2E_SEED or a
// new one, and logs it, so that a failure can be run again.
func Seed(t T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("SCANRELAY_E2E_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("SCANRELAY_E2E_SEED: %v", err)
		}
	}
	t.Logf("seed %d (SCANRELAY_E2E_SEED repeats it)", seed)
	return seed
}

// Chance returns a source of chance for one purpose of one run.
func Chance(seed uint64, purpose string) *rand.Rand {
	var h uint64 = 14695981039346656037
	for i := range len(purpose) {
		h = (h ^ uint64(purpose[i])) * 1099511628211
	}
	return rand.New(rand.NewPCG(seed, h))
}

// Limit is how long the rig waits for anything: what has not come by then will
// not, however slow the machine is.
const Limit = 10 * time.Minute

// Await polls until done returns true. state says for the failure how far it
// came. It fails the test when Limit has passed.
func Await(t T, what string, done func() (ok bool, state string)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Limit)
	defer cancel()
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, state := done()
		if ok {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("wait for %s: %v: %s", what, ctx.Err(), state)
		case <-tick.C:
		}
	}
}

var ports struct {
	sync.Mutex
	given map[int]bool
}

// FreeAddr returns a loopback address that nobody listens on. Its port lies
// below those that the kernel gives to outgoing connections, so that a process
// that is down for a moment finds it free again.
func FreeAddr(t T) string {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	if ports.given == nil {
		ports.given = map[int]bool{}
	}
	for range 1000 {
		port := 20000 + rand.IntN(10000)
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if ports.given[port] {
			continue
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatalf("give port back: %v", err)
		}
		ports.given[port] = true
		return addr
	}
	t.Fatalf("no free port between 20000 and 30000")
	return ""
}
