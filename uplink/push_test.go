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

func TestScanToPush(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		r.out.add(event("A", 0))
		r.start()
		r.sleep(50 * time.Millisecond)
		r.wantStates(store.Pushed)
		r.wantState(syncapi.StateOK)
		if len(r.wechat.queries) != 0 {
			t.Errorf("userquery was called although the binding was known")
		}
		if asks := r.centre.that(func(q syncapi.Request) bool { return len(q.Ask) > 0 }); len(asks) != 0 {
			t.Errorf("the centre was asked again although its answer was fresh")
		}
		n := r.wechat.pushes[0]
		if n.CreateTime != 1700000000 || n.Receiver.Phone != "13800138000" {
			t.Errorf("pushed %v with create_time %d", n, n.CreateTime)
		}
		if got := r.out.get(1).Attempts; got != 1 {
			t.Errorf("%d attempts, want 1", got)
		}
	})
}

func TestNewScanIsPushedAtOnce(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		r.start()
		r.sleep(2 * time.Second)
		r.out.add(event("A", 0))
		r.sleep(20 * time.Millisecond)
		r.wantStates(store.Pushed)
	})
}

// I4: nodes of a waybill in sequence order, one at a time; I7: no more than
// concurrency in flight or answered and not committed.
func TestOrderAndConcurrency(t *testing.T) {
	inBubble(t, uplink.Notify{Concurrency: 4}, func(r *rig) {
		r.wechat.took, r.out.settleGap = 30*time.Millisecond, 20*time.Millisecond
		for i := range 60 {
			e := event(fmt.Sprintf("W%d", i%7), 0)
			e.EventID, e.ActionTime = fmt.Sprint(i), e.ActionTime+int64(i)
			r.out.add(e)
		}
		r.start()
		r.sleep(5 * time.Second)
		last := map[string]int64{}
		for _, n := range r.wechat.pushes {
			if n.Path.ActionTime < last[n.WaybillID] {
				t.Errorf("waybill %s: a node was pushed after a later one", n.WaybillID)
			}
			last[n.WaybillID] = n.Path.ActionTime
		}
		if r.wechat.most != 4 || len(r.wechat.pushes) != 60 {
			t.Errorf("%d in flight at most, %d pushed; want 4, 60", r.wechat.most, len(r.wechat.pushes))
		}
	})
}

// I7: a slot is held until Settle has returned.
func TestSlotIsHeldUntilSettled(t *testing.T) {
	inBubble(t, uplink.Notify{Concurrency: 2}, func(r *rig) {
		r.out.settleGap = time.Second
		for i := range 6 {
			r.out.add(event(fmt.Sprint("W", i), 0))
		}
		r.start()
		for i, want := range []int{2, 4, 6} {
			r.sleep(100 * time.Millisecond)
			if got := r.wechat.count(); got != want {
				t.Errorf("after %d commits %d calls were made, want %d", i, got, want)
			}
			r.sleep(900 * time.Millisecond)
		}
	})
}

// Outcomes may wait for company as long as no record waits for the place that a
// worker holds meanwhile, and no stop.
func TestOutcomesHurryForAPlace(t *testing.T) {
	inBubble(t, uplink.Notify{Concurrency: 2}, func(r *rig) {
		r.out.patient = true
		pushed := func(when string, want int) {
			t.Helper()
			if c := r.out.Counts(); c.State[store.Pushed] != uint64(want) {
				t.Errorf("%s %d outcomes are there, want %d", when, c.State[store.Pushed], want)
			}
		}
		r.out.add(event("W0", 0), event("W1", 0))
		r.start()
		r.sleep(10 * time.Second)
		pushed("while nothing waits", 0)
		r.out.add(event("W2", 0))
		r.sleep(time.Second)
		pushed("when a third came", 2)
		r.stop()
		pushed("after a stop", 3)
	})
}

func TestGateSettlesWithoutCall(t *testing.T) {
	inBubble(t, uplink.Notify{Actions: []scan.ActionType{200001}}, func(r *rig) {
		muted := event("A", 48*time.Hour) // muted comes before expired
		muted.ActionType = 300002
		r.out.add(muted, event("B", 25*time.Hour), event("C", time.Minute), event("D", 0))
		r.centre.result = func(e syncapi.Event) syncapi.Answer {
			switch e.WaybillID {
			case "C":
				return syncapi.Answer{Result: syncapi.Late}
			case "D":
				return syncapi.Answer{Result: syncapi.Duplicate}
			}
			return syncapi.Answer{Result: syncapi.Taken}
		}
		r.start()
		r.sleep(time.Second)
		r.wantStates(store.Muted, store.Expired, store.Superseded, store.Superseded)
		if r.wechat.count() != 0 {
			t.Error("WeChat was called")
		}
		if got := r.centre.requests[0].Events[0].Muted; !got {
			t.Error("the sync did not carry that the event is muted")
		}
		if len(r.ended) != 4 {
			t.Errorf("%d outcomes were told to the hook, want 4", len(r.ended))
		}
	})
}

func TestStaleNodeIsSuperseded(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		r.out.add(event("A", 40*time.Minute), event("A", time.Minute), event("B", 40*time.Minute))
		r.start()
		r.sleep(time.Second)
		r.wantStates(store.Superseded, store.Pushed, store.Pushed)
	})
}

// A muted node supersedes nothing: the receiver would hear of neither.
func TestMutedNodeSupersedesNothing(t *testing.T) {
	inBubble(t, uplink.Notify{Actions: []scan.ActionType{200001}}, func(r *rig) {
		muted := event("A", time.Minute)
		muted.ActionType = 500001
		r.out.add(event("A", 40*time.Minute), muted)
		r.start()
		r.sleep(time.Second)
		r.wantStates(store.Pushed, store.Muted)
	})
}

func TestUnboundPhone(t *testing.T) {
	inBubble(t, uplink.Notify{Concurrency: 8}, func(r *rig) {
		r.centre.binding = func(scan.WaybillID) *syncapi.Binding { return nil }
		r.wechat.query = func(string, string) (bool, error) { return false, nil }
		r.wechat.took = 100 * time.Millisecond
		for i := range 20 { // one receiver, twenty parcels
			r.out.add(event(fmt.Sprint("W", i), 0))
		}
		r.start()
		r.sleep(10 * time.Second)
		for seq := range uint64(20) {
			if got := r.out.get(seq + 1).State; got != store.NotBound {
				t.Fatalf("event %d is %v, want not_bound", seq+1, got)
			}
		}
		if len(r.wechat.queries) != 1 {
			t.Errorf("userquery was called %d times for one phone", len(r.wechat.queries))
		}
		news := r.centre.that(func(q syncapi.Request) bool { return len(q.Bindings) > 0 })
		if len(news) != 1 || news[0].Bindings[0].Exist {
			t.Errorf("the centre heard %d reports, want one", len(news))
		}
	})
}

func TestBindingFromCentreSparesUserquery(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		r.centre.binding = func(scan.WaybillID) *syncapi.Binding { return &syncapi.Binding{Exist: true, Age: 600} }
		r.out.add(event("A", 0))
		r.start()
		r.sleep(time.Second)
		r.wantStates(store.Pushed)
		if len(r.wechat.queries) != 0 {
			t.Error("userquery was called")
		}
		// Past binding_ttl.bound it is asked anew, were it not for the push, which tells as well.
		r.centre.set(func(c *centre) {
			c.binding = func(scan.WaybillID) *syncapi.Binding { return &syncapi.Binding{Exist: true, Age: 24*3600 + 1} }
		})
		r.sleep(25 * time.Hour)
		r.out.add(event("B", 0))
		r.sleep(time.Second)
		if len(r.wechat.queries) != 1 {
			t.Errorf("userquery was called %d times, want once", len(r.wechat.queries))
		}
	})
}

// Another depot's word that a phone is not bound ends no event: WeChat is asked.
func TestUnboundFromCentreIsConfirmed(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		r.centre.binding = func(scan.WaybillID) *syncapi.Binding { return &syncapi.Binding{Exist: false, Age: 1} }
		r.out.add(event("A", 0))
		r.start()
		r.sleep(time.Second)
		r.wantStates(store.Pushed)
		if len(r.wechat.queries) != 1 {
			t.Errorf("userquery was called %d times, want once", len(r.wechat.queries))
		}
	})
}

// An answer older than 60 s is asked again, in one call for many events.
func TestOldAnswersAreAskedAgain(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		r.wechat.notify = func(string, wechat.Notification) (bool, error) { return false, code("pathnotify", 48001) }
		for i := range 30 {
			r.out.add(event(fmt.Sprint("W", i), 0))
		}
		r.start()
		r.sleep(2 * time.Minute)
		r.wantState(syncapi.StateBlocked)
		r.wechat.set(func(f *fakeWeChat) { f.notify = nil })
		r.centre.set(func(c *centre) {
			c.asked = func(a syncapi.Ask) syncapi.Answer {
				if a.WaybillID == "W7" {
					return syncapi.Answer{Result: syncapi.Late}
				}
				return syncapi.Answer{Result: syncapi.Taken}
			}
		})
		r.sleep(6 * time.Minute)
		r.wantState(syncapi.StateOK)
		for i, s := range r.out.states() {
			want := store.Pushed
			if i == 7 {
				want = store.Superseded
			}
			if s != want {
				t.Errorf("event %d is %v, want %v", i+1, s, want)
			}
		}
	})
}
