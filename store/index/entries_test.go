package index

import (
	"math/rand/v2"
	"testing"

	"scanrelay/store/internal/storetest"
)

// Entries against a plain map, over numbers that are dense here and far apart
// there.
func TestEntriesAgainstMap(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	x, want := entries{}, map[uint64]bool{}
	for range 20000 {
		seq := 1 + rnd.Uint64N(300)
		if rnd.IntN(3) == 0 {
			seq = 1 + rnd.Uint64N(200_000)
		}
		if want[seq] {
			x.del(seq)
			x.del(seq) // again changes nothing
			delete(want, seq)
		} else {
			x.put(seq, entry{waybill: seq})
			want[seq] = true
		}
	}
	n := 0
	for c := range x {
		for seq := c * chunkLen; seq < (c+1)*chunkLen; seq++ {
			if e := x.get(seq); (e != nil) != want[seq] || e != nil && e.waybill != seq {
				t.Fatalf("entry of %d: %+v, want one: %t", seq, e, want[seq])
			} else if e != nil {
				n++
			}
		}
	}
	if n != len(want) {
		t.Fatalf("%d entries, want %d", n, len(want))
	}
	for seq := range want {
		x.del(seq)
	}
	if len(x) > 0 {
		t.Errorf("%d chunks are left of no entries", len(x))
	}
}

// What waits on disk costs a lease nothing, however much there is: only blocks
// of numbers that may be leased are looked at.
func TestReadyIsFoundBesideMillionsThatWait(t *testing.T) {
	pending := uint64(storetest.Rounds(1_000_000, 200_000))
	ready := pending / 2
	m := newMemory(windowSize)
	for seq := uint64(1); seq <= pending; seq++ {
		m.pend(seq)
	}
	m.rise(pending, nil)
	for seq := uint64(1); seq <= pending; seq++ {
		if seq == ready {
			m.hold(seq, entry{waybill: seq}, 0)
		} else {
			m.wait(seq)
		}
	}
	if seq, ok := m.firstReady(); !ok || seq != ready || len(m.ready.blocks) != 1 || len(m.entries) != 1 {
		t.Errorf("%d is ready (%t), found in %d blocks; %d chunks of entries", seq, ok, len(m.ready.blocks), len(m.entries))
	}
	m.remove(ready)
	if len(m.ready.blocks) != 0 || len(m.entries) != 0 {
		t.Errorf("%d blocks, %d chunks of entries are left of nothing", len(m.ready.blocks), len(m.entries))
	}
}
