package index

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// BenchmarkHeld: what full windows take in memory, alone and beside 5 million
// events on disk, and what it costs to lease and end what they hold.
func BenchmarkHeld(b *testing.B) {
	for _, pending := range []uint64{2 * windowSize, 5_000_000} {
		b.Run(fmt.Sprintf("pending=%d", pending), func(b *testing.B) {
			for b.Loop() {
				before := heapBytes()
				m := fullWindows(pending)
				b.ReportMetric(float64(heapBytes()-before)/1e6, "MB")
				start, n := time.Now(), 0
				for range 200 {
					claims, _ := m.lease(64, time.Minute, &ends{})
					for _, c := range claims {
						m.remove(c.Seq)
					}
					n += len(claims)
				}
				b.ReportMetric(float64(time.Since(start).Nanoseconds())/float64(n), "ns/lease")
			}
		})
	}
}

// fullWindows holds the first and the last of so many events, each of a waybill of
// its own, of which it is sure that nothing comes before.
func fullWindows(pending uint64) *memory {
	m := newMemory(windowSize)
	for seq := uint64(1); seq <= pending; seq++ {
		m.pend(seq)
	}
	m.rise(pending, nil)
	m.high = pending - windowSize + 1
	hold := func(seq uint64) {
		m.hold(seq, entry{waybill: seq}, 0)
		m.edit(seq, func(w *waybill) { w.set(waybillVerified, true) })
	}
	for i := range uint64(windowSize) {
		hold(1 + i)
		hold(m.high + i)
	}
	return m
}

func heapBytes() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
