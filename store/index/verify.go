package index

import (
	"errors"
	"fmt"
)

// Verify reports where what is in memory does not agree with itself: the counts
// of the windows, the chains, and which waybills may be leased. Nobody may be
// leasing meanwhile.
func (x *Index) Verify() (err error) {
	x.locked(func(m *memory) {
		v := &verifier{memory: m}
		v.counts()
		v.held()
		v.chains()
		err = errors.Join(v.problems...)
	})
	return err
}

type verifier struct {
	*memory
	problems []error
}

func (v *verifier) problem(format string, args ...any) {
	v.problems = append(v.problems, fmt.Errorf(format, args...))
}

func (v *verifier) counts() {
	all := &v.all
	for _, c := range []struct {
		what      string
		got, want int
	}{
		{"unsynced", v.unsynced, all.countIn(anyPending, v.watermark+1, maxSeq)},
		{"held and unsynced", v.heldUnsynced, all.countIn(anyHeld, v.watermark+1, maxSeq)},
		{"young", v.young, all.countIn(anyHeld, v.high, maxSeq)},
		{"shelved", v.shelved(), all.countIn(shelved, 0, v.watermark)},
		{"waiting but not synced", all.countIn(anyWaiting, v.watermark+1, maxSeq), 0},
		{"cooling but not synced", all.countIn(anyCooling, v.watermark+1, maxSeq), 0},
	} {
		if c.got != c.want {
			v.problem("%s: %d, want %d", c.what, c.got, c.want)
		}
	}
	if seq, ok := all.next(shelved, 0); ok && seq < v.low {
		v.problem("%d is on disk only, but nothing below %d should be", seq, v.low)
	}
}

func (v *verifier) held() {
	for _, seq := range v.all.list(anyHeld, 0, maxSeq, -1) {
		e := v.get(seq)
		if e == nil || v.all.has(setWaiting, seq) || v.all.has(setCooling, seq) || !v.all.has(setPending, seq) {
			v.problem("%d is held, but has an entry: %t, waits: %t", seq, e != nil, v.all.has(setWaiting, seq))
		}
	}
	for seq := range v.leases {
		if e := v.get(seq); e == nil || v.leasedOf[e.waybill] != seq {
			v.problem("%d is leased, but not of its waybill", seq)
		}
	}
}

func (v *verifier) chains() {
	held := 0
	for h, w := range v.waybills {
		n, ok := v.chainOf(h, &w)
		if held += n; !ok {
			continue
		}
		leased, ok := v.leasedOf[h]
		if ok != w.is(waybillLeased) || ok && v.get(leased).waybill != h {
			v.problem("waybill of %d is leased: %t, but %d is", w.head, w.is(waybillLeased), leased)
		}
		if w.is(waybillVerifying) {
			v.problem("somebody still looks for what is before %d", w.head)
		}
		if w.is(waybillReady) != v.leasable(&w) {
			v.problem("waybill of %d is ready: %t", w.head, w.is(waybillReady))
		}
	}
	if held != v.all.count[setHeld] {
		v.problem("%d in chains, %d are held", held, v.all.count[setHeld])
	}
}

// chainOf counts a waybill's held events.
func (v *verifier) chainOf(h uint64, w *waybill) (n int, whole bool) {
	last := uint64(0)
	for seq := w.head; seq != 0; seq = v.nextOf(seq) {
		if e := v.get(seq); e == nil || e.waybill != h || seq <= last || v.prevOf(seq) != last {
			v.problem("the chain of a waybill is broken at %d", seq)
			return n, false
		}
		last = seq
		n++
	}
	if last != w.tail() {
		v.problem("waybill of %d ends at %d, not at %d", w.head, last, w.tail())
	}
	return n, true
}
