package store

import (
	"testing"
	"time"

	"scanrelay/store/event"
)

// While everything fails, memory stays bounded, nothing is tried again before its
// time, and all of it is tried again then.
func TestFailingIsBounded(t *testing.T) {
	const n, size = 2000, 16
	clock := newTestClock()
	o := open(t, fastDir(t), paged(clock, size))
	appendN(t, o, n)
	syncAll(t, o)
	fail := func() (tried int) {
		for {
			recs := mustLease(t, o, 8)
			if len(recs) == 0 {
				return tried
			}
			tried += len(recs)
			for _, r := range recs {
				if err := o.Release(event.Retry{Seq: r.ID.Seq, At: clock.Now().Add(time.Minute), Attempts: r.Attempts + 1}); err != nil {
					t.Fatal(err)
				}
			}
			if c := o.index.Counts(); c.Held > 4*size || c.Tried > size/2 {
				t.Fatalf("%d are held, %d were tried, with windows of %d", c.Held, c.Tried, size)
			}
		}
	}
	if tried := fail(); tried != n {
		t.Fatalf("%d of %d tried", tried, n)
	}
	checkIndex(t, o)
	if c := o.Counts(); c.State[event.ToPush] != n {
		t.Errorf("%v", c.State)
	}
	clock.advance(59 * time.Second)
	if tried := fail(); tried != 0 {
		t.Errorf("%d tried again before their time", tried)
	}
	at, ok := o.Due()
	if !ok || at.After(clock.Now().Add(time.Minute)) {
		t.Errorf("due %v %t", at, ok)
	}
	clock.advance(coolFor)
	if tried := fail(); tried != n {
		t.Errorf("%d of %d tried again", tried, n)
	}
	clock.advance(-time.Hour) // a clock that is set back does not make them wait longer
	if pushed := pushAll(t, o); pushed != n-o.index.Counts().Tried {
		t.Errorf("%d pushed, %d have times of their own", pushed, o.index.Counts().Tried)
	}
}

// However many fail, what may be tried only so often comes to its end.
func TestFailingComesToItsEnd(t *testing.T) {
	const n, size, most = 300, 16, 5
	clock := newTestClock()
	o := open(t, fastDir(t), paged(clock, size))
	appendN(t, o, n)
	syncAll(t, o)
	tried := map[uint64]int{}
	for range 4 * most { // those that keep their own times come between
		for recs := mustLease(t, o, 8); len(recs) > 0; recs = mustLease(t, o, 8) {
			for _, r := range recs {
				if tried[r.ID.Seq]++; r.Attempts+1 >= most {
					settle(t, o, event.Dead, r)
				} else if err := o.Release(event.Retry{Seq: r.ID.Seq, At: clock.Now().Add(20 * time.Second), Attempts: r.Attempts + 1}); err != nil {
					t.Fatal(err)
				}
			}
		}
		clock.advance(coolFor)
	}
	checkIndex(t, o)
	if c := o.Counts(); c.State[event.Dead] != n {
		t.Errorf("%d of %d are dead letters", c.State[event.Dead], n)
	}
	for seq, times := range tried {
		if times != most {
			t.Fatalf("%d was tried %d times", seq, times)
		}
	}
}

// A waybill cools as a whole: a later event of it is not tried before its time.
func TestWaybillCoolsAsAWhole(t *testing.T) {
	clock := newTestClock()
	o := open(t, fastDir(t), paged(clock, 2))
	for _, id := range []string{"a", "b", "c", "d", "e", "f"} {
		mustAppend(t, o, newEvent("W"+id, id+"1", 1795000000), newEvent("W"+id, id+"2", 1795000001))
	}
	syncAll(t, o)
	for recs := mustLease(t, o, 1); len(recs) > 0; recs = mustLease(t, o, 1) {
		if recs[0].Event.EventID[1] != '1' {
			t.Fatalf("%s is tried although the one before it failed", recs[0].Event.EventID)
		}
		if err := o.Release(event.Retry{Seq: recs[0].ID.Seq, At: clock.Now().Add(time.Minute), Attempts: 1}); err != nil {
			t.Fatal(err)
		}
	}
	clock.advance(coolFor)
	if n := pushAll(t, o); n != 12 {
		t.Errorf("%d pushed", n)
	}
}
