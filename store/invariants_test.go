package store

import "testing"

// checkIndex holds that what is in memory agrees with itself: the counts of the
// windows, the chains, and which waybills may be leased.
func checkIndex(t testing.TB, x *index) {
	t.Helper()
	all, end := &x.all, uint64(1)<<62
	same := func(what string, got, want int) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
	same("unsynced", x.unsynced, all.countIn(anyPending, x.watermark+1, end))
	same("held and unsynced", x.heldUnsynced, all.countIn(anyHeld, x.watermark+1, end))
	same("young", x.young, all.countIn(anyHeld, x.high, end))
	same("shelved", x.shelved(), all.countIn(shelved, 0, x.watermark))
	same("waiting but not synced", all.countIn(anyWaiting, x.watermark+1, end), 0)
	same("cooling but not synced", all.countIn(anyCooling, x.watermark+1, end), 0)
	if seq, ok := all.next(shelved, 0); ok && seq < x.low {
		t.Errorf("%d is on disk only, but nothing below %d should be", seq, x.low)
	}
	for seq, ok := all.next(anyHeld, 0); ok; seq, ok = all.next(anyHeld, seq+1) {
		e := x.get(seq)
		if e == nil || all.has(setWaiting, seq) || all.has(setCooling, seq) || !all.has(setPending, seq) {
			t.Fatalf("%d is held, but has an entry: %t, waits: %t", seq, e != nil, all.has(setWaiting, seq))
		}
		if _, noted := x.notes[seq]; noted != (e.flags&entryNoted != 0) {
			t.Errorf("%d is noted: %t", seq, noted)
		}
	}
	checkChains(t, x)
}

func checkChains(t testing.TB, x *index) {
	t.Helper()
	held := 0
	for h, w := range x.waybills {
		last := uint64(0)
		for seq := w.head; seq != 0; seq = x.nextOf(seq) {
			if e := x.get(seq); e == nil || e.waybill != h || seq <= last || x.prevOf(seq) != last {
				t.Fatalf("the chain of a waybill is broken at %d", seq)
			}
			last = seq
			held++
		}
		leased, ok := x.leasedOf[h]
		if ok != w.is(waybillLeased) || ok && x.get(leased).waybill != h {
			t.Errorf("waybill of %d is leased: %t, but %d is", w.head, w.is(waybillLeased), leased)
		}
		if w.is(waybillChecked) {
			t.Errorf("somebody still looks for what is before %d", w.head)
		}
		if last != w.tail() || w.is(waybillReady) != x.leasable(&w) {
			t.Errorf("waybill of %d to %d: tail %d, ready %t", w.head, last, w.tail(), w.is(waybillReady))
		}
	}
	if held != x.all.count[setHeld] {
		t.Errorf("%d in chains, %d are held", held, x.all.count[setHeld])
	}
	for seq := range x.leases {
		if e := x.get(seq); e == nil || x.leasedOf[e.waybill] != seq {
			t.Errorf("%d is leased, but not of its waybill", seq)
		}
	}
}
