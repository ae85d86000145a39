package index

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"scanrelay/store/event"
	"scanrelay/store/internal/storetest"
)

// indexRun drives an index over a disk of which reads fail now and then, with
// other operations between the steps of a lease.
type indexRun struct {
	*testing.T
	x    *memory
	rnd  *rand.Rand
	disk []entry // of number i+1
	done map[uint64]bool
}

// Whatever fails between the steps of a lease, or comes in between, the counts
// agree, each waybill goes in order, and in the end everything was leased.
func TestIndexAtRandom(t *testing.T) {
	for seed := range uint64(storetest.Rounds(150, 20)) {
		r := &indexRun{T: t, x: newMemory(2 + int(seed%20)), rnd: rand.New(rand.NewPCG(seed, 7)), done: map[uint64]bool{}}
		r.x.now = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
		for range 600 {
			r.step()
			if verify(t, r.x); t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
		r.drain()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func (r *indexRun) step() {
	x := r.x
	x.now = x.now.Add(time.Second)
	switch n := r.rnd.IntN(20); {
	case n < 5:
		for range 1 + r.rnd.IntN(6) {
			e := entry{waybill: uint64(r.rnd.IntN(15)), action: int64(len(r.disk))}
			r.disk = append(r.disk, e)
			x.add(uint64(len(r.disk)), e)
		}
	case n < 8:
		r.answered()
	case n == 8:
		x.fall(uint64(r.rnd.IntN(int(x.watermark) + 1)))
	case n < 11:
		if seq, ok := x.all.next(anyWaiting, uint64(r.rnd.IntN(len(r.disk)+1))); ok {
			x.wake(seq)
		}
	case n < 17:
		r.lease(1+r.rnd.IntN(5), true)
	default:
		r.settleSome()
	}
}

// answered is what Synced does.
func (r *indexRun) answered() {
	x := r.x
	upTo := x.watermark + uint64(r.rnd.IntN(1+len(r.disk)-int(x.watermark)))
	waits := map[uint64]bool{}
	for seq := x.watermark + 1; seq <= upTo; seq++ {
		switch r.rnd.IntN(8) {
		case 0:
			waits[seq] = true
		case 1:
			if _, leased := x.leases[seq]; !leased {
				r.end(seq)
			}
		}
	}
	x.rise(upTo, waits)
}

func (r *indexRun) end(seq uint64) {
	r.done[seq] = true
	r.x.remove(seq)
}

// put back what was finished, as a dead letter is.
func (r *indexRun) requeue() {
	for seq := range r.done {
		delete(r.done, seq)
		r.x.add(seq, r.disk[seq-1])
		r.x.learn(seq, func(a *attempt) { a.retriedAt = r.x.now })
		return
	}
}

func (r *indexRun) settleSome() {
	x := r.x
	leased := []uint64{}
	for seq := range x.leases {
		leased = append(leased, seq)
	}
	slices.Sort(leased)
	for _, seq := range leased {
		switch r.rnd.IntN(5) {
		case 0:
			x.retry(event.Retry{Seq: seq, At: x.now.Add(time.Duration(r.rnd.IntN(20)) * time.Second), Attempts: 1})
		case 1:
			x.park(seq)
		case 2, 3:
			r.end(seq)
		}
	}
	if r.rnd.IntN(3) == 0 {
		r.requeue()
	}
}

// lease does what Index.Lease does.
func (r *indexRun) lease(most int, harm bool) (n int) {
	x := r.x
	for n < most {
		x.expire()
		if want := x.wanted(); len(want) > 0 {
			if harm && r.rnd.IntN(4) == 0 {
				x.unwanted(want)
				return n
			}
			r.between(harm)
			var list []found
			for _, seq := range want {
				if x.all.has(setPending, seq) && !x.all.has(setWaiting, seq) {
					list = append(list, found{seq, r.disk[seq-1]})
				}
			}
			x.holdAll(list)
			continue
		}
		got, heads := x.lease(most-n, time.Minute, &ends{})
		n += len(got)
		for _, c := range got {
			r.inOrder(c.Seq)
		}
		if len(heads) == 0 {
			return n
		}
		r.settle(heads, harm)
	}
	return n
}

// between is what somebody else may do while a lease reads.
func (r *indexRun) between(harm bool) {
	if harm && r.rnd.IntN(3) == 0 {
		n := r.rnd.IntN(3)
		for range n {
			switch r.rnd.IntN(4) {
			case 0:
				r.x.fall(uint64(r.rnd.IntN(int(r.x.watermark) + 1)))
				r.answered()
			case 1:
				r.answered()
			case 2:
				r.settleSome()
			default:
				e := entry{waybill: uint64(r.rnd.IntN(15))}
				r.disk = append(r.disk, e)
				r.x.add(uint64(len(r.disk)), e)
			}
		}
	}
}

func (r *indexRun) settle(heads []unverified, harm bool) {
	x := r.x
	var list []found
	for _, u := range heads {
		for seq, ok := x.all.nextIn(absent, 0, u.head-1); ok; seq, ok = x.all.nextIn(absent, seq+1, u.head-1) {
			if r.disk[seq-1].waybill == u.waybill {
				list = append(list, found{seq, r.disk[seq-1]})
			}
		}
	}
	r.between(harm)
	sure := !harm || r.rnd.IntN(4) > 0
	heads = slices.DeleteFunc(heads, func(u unverified) bool { return !x.isUnverified(u) })
	if sure {
		slices.SortFunc(list, func(a, b found) int { return int(a.seq) - int(b.seq) })
		x.holdAll(slices.DeleteFunc(list, func(f found) bool { return !x.all.has(setPending, f.seq) }))
	}
	for _, u := range heads {
		x.verified(u.waybill, sure)
	}
}

// inOrder holds that nothing of a leased event's waybill is pending before it.
func (r *indexRun) inOrder(seq uint64) {
	r.Helper()
	for s := range seq - 1 {
		if r.disk[s].waybill == r.disk[seq-1].waybill && !r.done[s+1] {
			r.Errorf("%d leased before %d", seq, s+1)
		}
	}
}

// drain lets everything be leased and end.
func (r *indexRun) drain() {
	x := r.x
	x.rise(uint64(len(r.disk)), nil)
	for seq, ok := x.all.next(anyWaiting, 0); ok; seq, ok = x.all.next(anyWaiting, seq+1) {
		x.wake(seq)
	}
	for x.all.count[setPending] > 0 {
		x.now = x.now.Add(time.Hour)
		n := r.lease(7, false)
		for seq := range x.leases {
			r.end(seq)
		}
		if verify(r.T, x); n == 0 || r.Failed() {
			r.Errorf("%d are pending and not leased", x.all.count[setPending])
			return
		}
	}
}

func verify(t testing.TB, m *memory) {
	t.Helper()
	x := Index{memory: m, now: func() time.Time { return m.now }, pushable: make(chan struct{}, 1)}
	if err := x.Verify(); err != nil {
		t.Error(err)
	}
}
