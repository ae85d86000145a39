package index

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/codec"
	"scanrelay/store/event"
)

// fakeDisk has event i+1 of waybill fakeDisk[i], stored in the second i.
type fakeDisk []scan.WaybillID

func (d fakeDisk) head(seq uint64) *codec.Head {
	at := 1795000000 + int64(seq)
	return &codec.Head{Waybill: []byte(d[seq-1]), Time: at, Received: time.Unix(at, 0)}
}

func (d fakeDisk) add(x *Index, seq uint64) {
	h := d.head(seq)
	x.Add([]Added{{Seq: seq, Event: &scan.Event{Waybill: d[seq-1], ActionTime: h.Time, ReceivedAt: h.Received}}})
}

func (d fakeDisk) Heads(seqs []uint64, fn func(uint64, *codec.Head) error) (bad []uint64, err error) {
	for _, seq := range seqs {
		if err := fn(seq, d.head(seq)); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (d fakeDisk) Begun(uint64) time.Time { return time.Time{} }

func (d fakeDisk) Find(ids []scan.WaybillID, from, to uint64, holds func(first, last uint64) bool) (seqs []uint64, err error) {
	if !holds(from, to) {
		return nil, nil
	}
	for i, id := range d {
		if seq := uint64(i + 1); seq >= from && seq <= to && slices.Contains(ids, id) {
			seqs = append(seqs, seq)
		}
	}
	return seqs, nil
}

// newIndex is one that holds all that is on the disk, synced.
func newIndex(d fakeDisk) *Index {
	x := New(d, 16, time.Now)
	for i := range d {
		d.add(x, uint64(i+1))
	}
	x.Rise(uint64(len(d)), nil)
	return x
}

// While somebody looks for what comes before a waybill's head, the centre may end
// that head. What was found then says nothing about the next one.
func TestPagedHeadEndsMeanwhile(t *testing.T) {
	d := fakeDisk{"X", "W", "W", "W"}
	x := New(d, 16, time.Now)
	d.add(x, 1)
	x.locked(func(m *memory) { // as if the window were full
		m.shelve(1)
		m.low = 1
	})
	for seq := uint64(2); seq <= 4; seq++ {
		d.add(x, seq)
	}
	x.Rise(4, nil)
	var heads []unverified
	x.locked(func(m *memory) { _, heads = m.lease(1, time.Minute, &ends{}) })
	if len(heads) != 1 || heads[0].head != 2 {
		t.Fatalf("unverified %v", heads)
	}
	x.Fall(1)
	if taken := x.Reserve([]event.Settlement{{Seq: 2, Outcome: event.Superseded}}); len(taken) != 1 {
		t.Fatalf("reserved %v", taken)
	}
	x.End([]event.Settlement{{Seq: 2, Outcome: event.Superseded}}, nil)
	x.Rise(4, map[uint64]bool{3: true})
	if err := x.verify(heads); err != nil {
		t.Fatal(err)
	}
	claims, err := x.Lease(5, time.Minute)
	held := func(seq uint64) bool {
		return slices.ContainsFunc(claims, func(c Claim) bool { return c.Seq == seq })
	}
	if err != nil || held(4) || !held(3) {
		t.Errorf("leased %v, %v: 3 comes before 4", claims, err)
	}
	if err := x.Verify(); err != nil {
		t.Error(err)
	}
}

// What is on its way to an outcome without a lease is nobody's to lease, nor is what
// comes after it for its waybill: each event has one outcome, in its turn.
func TestReservedIsNotLeased(t *testing.T) {
	d := fakeDisk{"W", "W", "X"}
	x := newIndex(d)
	first := []event.Settlement{{Seq: 1, Outcome: event.Dead}}
	lease := func() (seqs []uint64) {
		claims, err := x.Lease(5, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range claims {
			seqs = append(seqs, c.Seq)
		}
		return seqs
	}
	x.Fall(0)
	if taken := x.Reserve(first); len(taken) != 1 {
		t.Fatalf("reserved %v", taken)
	}
	x.Rise(3, nil)
	if got := lease(); !slices.Equal(got, []uint64{3}) {
		t.Errorf("leased %v, want X alone", got)
	}
	x.AbortSettling(first)
	if _, ok := x.Due(); !ok {
		t.Error("nobody is told that it may be leased again")
	}
	if got := lease(); !slices.Equal(got, []uint64{1}) {
		t.Errorf("leased %v, want what could not be ended", got)
	}
	x.End(first, nil)
	if taken := x.Reserve([]event.Settlement{{Seq: 2, Outcome: event.Dead}}); len(taken) != 1 {
		t.Errorf("reserved %v", taken)
	}
	if got := lease(); len(got) != 0 {
		t.Errorf("leased %v", got)
	}
	x.End([]event.Settlement{{Seq: 2, Outcome: event.Dead}, {Seq: 3, Outcome: event.Pushed}}, nil)
	if err := x.Verify(); err != nil {
		t.Error(err)
	}
}

// Whether an event is on disk only or in memory, and moves from one to the other
// just now, Newer knows it.
func TestPagedNewerWhileItMoves(t *testing.T) {
	d := fakeDisk{"W", "W", "X", "Y"}
	x := newIndex(d)
	var moving entry
	x.locked(func(m *memory) {
		m.shelve(3) // something is on disk only all the while
		moving = *m.get(2)
	})
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for out := true; ; out = !out {
			select {
			case <-stop:
				return
			default:
			}
			x.locked(func(m *memory) {
				if out {
					m.shelve(2)
				} else {
					m.hold(2, moving, 0)
				}
			})
		}
	}()
	for range 20000 {
		if at, err := x.Newer("W", 1); at.Action != d.head(2).Time || !at.Known || err != nil {
			t.Errorf("newer: %+v %v", at, err)
			break
		}
	}
	close(stop)
	<-stopped
}

// Only where there is something of what is looked for the disk is read: that
// something comes later is no reason.
func TestFindLooksOnlyWhereSomethingIs(t *testing.T) {
	d := fakeDisk{"A", "B", "A", "B"}
	x := newIndex(d)
	x.locked(func(m *memory) { m.shelve(3) })
	for to, want := range []string{"[]", "[]", "[]", "[1 3]", "[1 3]"} {
		if seqs, err := x.find([]scan.WaybillID{"A"}, 0, uint64(to), absent); err != nil || fmt.Sprint(seqs) != want {
			t.Errorf("up to %d: %v %v, want %s", to, seqs, err, want)
		}
	}
}

// Who gives back what it could not read in time does not end the lease that
// somebody else has by then.
func TestUnleaseAfterTheLeaseRanOut(t *testing.T) {
	now := time.Now()
	d := fakeDisk{"A"}
	x := New(d, 16, func() time.Time { return now })
	d.add(x, 1)
	x.Rise(1, nil)
	late, err := x.Lease(1, time.Second)
	now = now.Add(2 * time.Second)
	held, err2 := x.Lease(1, time.Minute)
	if err != nil || err2 != nil || len(late) != 1 || len(held) != 1 {
		t.Fatal(late, err, held, err2)
	}
	x.Unlease(late)
	if again, err := x.Lease(1, time.Minute); err != nil || len(again) > 0 {
		t.Errorf("leased twice: %v %v", again, err)
	}
	x.Unlease(held)
	if again, err := x.Lease(1, time.Minute); err != nil || len(again) != 1 {
		t.Errorf("not given back: %v %v", again, err)
	}
}

// Who was slow to get the lock does not bring an earlier moment with it: by that
// the clock would seem to have been set back, which ends cooling.
func TestTheClockIsReadUnderTheLock(t *testing.T) {
	var ticks, slow atomic.Int64
	reading, released := make(chan struct{}), make(chan struct{})
	d := fakeDisk{"A", "B"}
	x := New(d, 2, func() time.Time {
		at := time.Unix(1795000000, ticks.Add(1))
		if slow.CompareAndSwap(1, 0) {
			close(reading)
			select {
			case <-released:
			case <-time.After(20 * time.Millisecond): // it waits for us
			}
		}
		return at
	})
	d.add(x, 1)
	d.add(x, 2)
	x.Rise(2, nil)
	claims, err := x.Lease(2, time.Minute)
	if err != nil || len(claims) != 2 {
		t.Fatal(claims, err)
	}
	fail := func(c Claim) {
		if missing := x.Release([]event.Retry{{Seq: c.Seq, Lease: c.Lease, At: time.Unix(1795000060, 0), Attempts: 1}}); len(missing) > 0 {
			t.Errorf("%v was not leased", missing)
		}
	}
	fail(claims[0])
	slow.Store(1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		x.Due()
	}()
	<-reading
	fail(claims[1])
	close(released)
	<-done
	if n := x.Counts().Cooling; n != 1 {
		t.Errorf("%d cool, want 1", n)
	}
}

// What waits for data wakes by its waybill, wherever it is.
func TestWakeByWaybill(t *testing.T) {
	d := fakeDisk{"A", "B", "A"}
	x := newIndex(d)
	claims, err := x.Lease(1, time.Minute)
	if err != nil || len(claims) != 1 {
		t.Fatal(claims, err)
	}
	record := event.Record{ID: event.ID{Seq: claims[0].Seq}, Lease: claims[0].Lease}
	record.Event.Waybill = d[claims[0].Seq-1]
	if missing, err := x.Park([]event.Record{record}); err != nil || len(missing) > 0 {
		t.Fatal(missing, err)
	}
	parked := x.Waiting(9, 0)
	if err := x.Wake("none"); err != nil || fmt.Sprint(x.Waiting(9, 0)) != fmt.Sprint(parked) {
		t.Errorf("%v wait, want %v: %v", x.Waiting(9, 0), parked, err)
	}
	if err := x.Wake(record.Event.Waybill); err != nil || len(x.Waiting(9, 0)) > 0 {
		t.Errorf("%v still wait: %v", x.Waiting(9, 0), err)
	}
}
