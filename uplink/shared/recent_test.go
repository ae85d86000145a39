package shared

import (
	"fmt"
	"testing"

	"scanrelay/agent/scan"
	"scanrelay/store/event"
)

func (r *recent[K, V]) len() int { return len(r.now) + len(r.old) }

func TestRecentIsBounded(t *testing.T) {
	r := newRecent[int, int](10)
	for i := range 1000 {
		r.put(i, i)
		if _, ok := r.get(0); !ok {
			t.Fatalf("what is used all the time was dropped after %d", i)
		}
		if r.len() > 20 {
			t.Fatalf("%d entries", r.len())
		}
	}
	for i := 991; i < 1000; i++ {
		if v, ok := r.get(i); !ok || v != i {
			t.Errorf("%d was dropped although it is among the last ten", i)
		}
	}
	r.drop(999)
	if _, ok := r.get(999); ok {
		t.Error("dropped and still there")
	}
}

func TestAnswersAreBounded(t *testing.T) {
	a := NewAnswers()
	for i := range 5 * maxKnown {
		id := scan.WaybillID(fmt.Sprint("W", i))
		a.Tell(id, scan.Waybill{CreateTime: 1})
		a.Taken(id, uint64(i))
		a.Mismatched(id, uint64(i))
	}
	if a.known.len() > 2*maxKnown || a.taken.len() > 2*maxTaken || a.mismatched.len() > 2*maxMismatched {
		t.Errorf("%d waybills, %d events and %d counts of mismatches are kept", a.known.len(), a.taken.len(), a.mismatched.len())
	}
	if _, advice := a.About(event.Record{ID: event.ID{Seq: 1}, Event: scan.Event{Waybill: "W1"}}); advice != Ask {
		t.Error("a forgotten answer is not asked again")
	}
}
