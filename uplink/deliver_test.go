package uplink_test

import (
	"fmt"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store"
	"scanrelay/uplink"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat"
)

// -1 for a single event is its own matter: the others go on.
func TestTransientHoldsNoOther(t *testing.T) {
	inBubble(t, uplink.Notify{Concurrency: 1}, func(r *rig) {
		r.wechat.notify = func(_ string, n wechat.Notification) (bool, error) {
			if n.WaybillID == "W3" {
				return false, code("pathnotify", -1)
			}
			return true, nil
		}
		for i := range 10 {
			r.out.add(event(fmt.Sprint("W", i), 0))
		}
		r.out.add(event("W3", 0))
		r.start()
		r.sleep(time.Second)
		if c := r.out.Counts(); c.State[store.Pushed] != 9 || c.State[store.ToPush] != 2 {
			t.Errorf("states are %v", r.out.states())
		}
		r.sleep(25 * time.Hour)
		if got := r.out.get(4); got.State != store.Expired || got.Attempts < 100 || got.Last.ErrCode != -1 {
			t.Errorf("the stuck event is %v after %d attempts, last %+v", got.State, got.Attempts, got.Last)
		}
	})
}

// A dead letter does not hold the later nodes of its own waybill.
func TestPermanentIsDeadAtOnce(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		calls := 0
		r.wechat.notify = func(string, wechat.Notification) (bool, error) {
			if calls++; calls == 1 {
				return false, code("pathnotify", 40097)
			}
			return true, nil
		}
		r.out.add(event("A", time.Minute), event("A", 0))
		r.start()
		r.sleep(time.Second)
		r.wantStates(store.Dead, store.Pushed)
		got := r.out.get(1)
		if got.Last.ErrCode != 40097 || got.Last.RID != "rid-1" || got.Attempts != 1 {
			t.Errorf("the dead letter has %+v after %d attempts", got.Last, got.Attempts)
		}
	})
}

// 932003: the waybill's nodes are sent again and acknowledged before each of at
// most five tries; then it is a dead letter.
func TestMismatchResyncs(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		r.wechat.notify = func(_ string, n wechat.Notification) (bool, error) {
			if n.WaybillID == "A" && n.Path.ActionType == 300002 {
				return false, code("pathnotify", 932003)
			}
			return true, nil
		}
		bad := event("A", 0)
		bad.ActionType = 300002
		r.out.add(event("A", time.Minute), bad, event("A", 0), event("B", 0))
		r.start()
		r.sleep(2 * time.Minute)
		r.wantStates(store.Pushed, store.Dead, store.Pushed, store.Pushed)
		if got := r.out.get(2); got.Attempts != 5 || got.Last.ErrCode != 932003 {
			t.Errorf("dead after %d attempts with %+v", got.Attempts, got.Last)
		}
		resyncs := r.centre.that(func(q syncapi.Request) bool { return len(q.Events) == 3 && q.From == 1 && len(q.Waiting) == 0 })
		if len(resyncs) < 4 {
			t.Errorf("%d re-syncs of the waybill, want one before each of 4 retries", len(resyncs))
		}
	})
}

// An event that the centre refuses its batch for holds up no re-sync of the others
// of its waybill, nor of other waybills.
func TestResyncBesideARefusedBatch(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		tried := map[scan.WaybillID]int{}
		r.wechat.notify = func(_ string, n wechat.Notification) (bool, error) {
			if tried[scan.WaybillID(n.WaybillID)]++; tried[scan.WaybillID(n.WaybillID)] < 3 {
				return false, code("pathnotify", 932003)
			}
			return true, nil
		}
		r.centre.fault = func(q *syncapi.Request) error {
			for _, e := range q.Events {
				if e.ActionType == 300002 {
					return &syncapi.Error{Status: 400}
				}
			}
			return nil
		}
		odd := event("A", time.Minute)
		odd.ActionType = 300002
		r.out.add(odd, event("A", 0), event("B", 0))
		r.start()
		r.sleep(10 * time.Minute)
		r.wantStates(store.Dead, store.Pushed, store.Pushed)
		if n := len(r.centre.that(func(syncapi.Request) bool { return true })); n > 300 {
			t.Errorf("%d requests in 10 min", n)
		}
	})
}

// Without an acknowledged re-sync there is no retry.
func TestMismatchWaitsForResync(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		calls := 0
		r.wechat.notify = func(string, wechat.Notification) (bool, error) {
			if calls++; calls == 1 {
				r.centre.set(func(c *centre) {
					c.fault = func(*syncapi.Request) error { return &syncapi.Error{Status: 503} }
				})
				return false, code("pathnotify", 932002)
			}
			return true, nil
		}
		r.out.add(event("A", 0))
		r.start()
		r.sleep(5 * time.Minute)
		if r.wechat.count() != 1 {
			t.Errorf("%d calls without the centre", r.wechat.count())
		}
		r.wantStates(store.ToPush)
		r.centre.set(func(c *centre) { c.fault = nil })
		r.sleep(time.Minute)
		r.wantStates(store.Pushed)
	})
}

// A stop waits for calls in flight, settles what they answered and begins none.
func TestStopFinishesWhatIsInFlight(t *testing.T) {
	inBubble(t, uplink.Notify{Concurrency: 3}, func(r *rig) {
		r.wechat.took = 5 * time.Second
		for i := range 10 {
			r.out.add(event(fmt.Sprint("W", i), 0))
		}
		r.start()
		r.sleep(time.Second)
		r.stop()
		c := r.out.Counts()
		if c.State[store.Pushed] != 3 || r.wechat.count() != 3 {
			t.Errorf("%d pushed with %d calls, want the 3 in flight", c.State[store.Pushed], r.wechat.count())
		}
		for _, rec := range r.out.recs {
			if rec.leased.After(time.Now()) {
				t.Errorf("event %d is still leased", rec.ID.Seq)
			}
		}
	})
}

// Calls that WeChat does not answer within 8 s of a stop are abandoned.
func TestStopAbandonsSlowCalls(t *testing.T) {
	inBubble(t, uplink.Notify{Concurrency: 3}, func(r *rig) {
		r.wechat.took = 24 * time.Second
		for i := range 5 {
			r.out.add(event(fmt.Sprint("W", i), 0))
		}
		r.start()
		r.sleep(time.Second)
		began := time.Now()
		r.stop()
		if took := time.Since(began); took < 8*time.Second || took > 9*time.Second {
			t.Errorf("the stop took %v, want 8 s", took)
		}
		if got := r.out.get(1); got.State != store.ToPush || got.Attempts != 1 {
			t.Errorf("the abandoned event is %v after %d attempts", got.State, got.Attempts)
		}
	})
}

// A commit that fails is tried again with the slot held.
func TestSettleIsTriedAgain(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		r.out.failNext = errConnect
		r.out.add(event("A", 0))
		r.start()
		r.sleep(6 * time.Second)
		r.wantStates(store.Pushed)
		if r.wechat.count() != 1 {
			t.Errorf("pushed %d times", r.wechat.count())
		}
	})
}
