package index

import (
	"math/rand/v2"
	"slices"
	"testing"

	"scanrelay/store/codec"
	"scanrelay/store/internal/storetest"
)

// pendingUpTo is an index in which every number up to n is pending and synced.
func pendingUpTo(n uint64) *memory {
	x := newMemory(16)
	x.watermark = n
	for seq := uint64(1); seq <= n; seq++ {
		x.pend(seq)
	}
	return x
}

func waitingIn(x *memory) (seqs []uint64) {
	for seq, ok := x.all.next(anyWaiting, 0); ok; seq, ok = x.all.next(anyWaiting, seq+1) {
		seqs = append(seqs, seq)
	}
	return seqs
}

func TestWaitingMarkComesBack(t *testing.T) {
	rnd := rand.New(rand.NewPCG(10, 11))
	for range storetest.Rounds(50, 10) {
		const n = 5000
		x, share := pendingUpTo(n), 1+rnd.IntN(20)
		for seq := uint64(1); seq <= n; seq++ {
			if rnd.IntN(share) == 0 {
				x.wait(seq)
			}
		}
		mark := encodeWaiting(&x.all)
		again := pendingUpTo(n)
		again.waitAgain(mark)
		if !slices.Equal(waitingIn(x), waitingIn(again)) {
			t.Fatalf("%d wait, want %d", again.all.count[setWaiting], x.all.count[setWaiting])
		}
		// Of what the mark says only what is pending and synced counts.
		less := pendingUpTo(n / 2)
		less.remove(7)
		less.waitAgain(mark)
		for _, seq := range waitingIn(less) {
			if seq > n/2 || seq == 7 {
				t.Fatalf("%d waits", seq)
			}
		}
	}
}

func FuzzWaitingMark(f *testing.F) {
	x := pendingUpTo(100)
	x.wait(3)
	x.wait(4)
	x.wait(90)
	f.Add(encodeWaiting(&x.all)[1:])
	f.Fuzz(func(t *testing.T, body []byte) {
		x := pendingUpTo(100)
		x.waitAgain(codec.Frame(keyWaiting, append([]byte{codec.Version}, body...)))
		x.waitAgain(body)
		if n := x.all.count[setWaiting]; n > 100 {
			t.Fatalf("%d wait", n)
		}
	})
}
