package uplink_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store"
	"scanrelay/uplink"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat"
)

func hasEvents(q syncapi.Request) bool { return len(q.Events) > 0 }

func TestBatchesInSequence(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		for i := range 2500 {
			r.out.add(event(fmt.Sprint("W", i), 0))
		}
		r.start()
		r.sleep(3 * time.Second)
		if len(r.centre.events) != 2500 || !slices.IsSorted(r.centre.events) {
			t.Errorf("%d events came, sorted: %v", len(r.centre.events), slices.IsSorted(r.centre.events))
		}
		for i, q := range r.centre.that(hasEvents) {
			if q.From != uint64(i*1000+1) || q.Epoch != "00000000000000e1" || q.NextSeq != 2501 {
				t.Errorf("request %d: from %d, epoch %s, next_seq %d", i, q.From, q.Epoch, q.NextSeq)
			}
		}
	})
}

func TestIdleSyncs(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		r.start()
		r.sleep(time.Minute + time.Second)
		if n := len(r.centre.requests); n < 12 || n > 15 {
			t.Errorf("%d syncs in a minute, want one each 5 s", n)
		}
	})
}

func TestRefusedEventIsDead(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		r.out.add(event("A", 0), event("B", 0))
		r.centre.result = func(e syncapi.Event) syncapi.Answer {
			if e.WaybillID == "A" {
				return syncapi.Answer{Result: syncapi.Refused, Reason: "action_time is missing"}
			}
			return syncapi.Answer{Result: syncapi.Taken}
		}
		r.start()
		r.sleep(time.Second)
		r.wantStates(store.Dead, store.Pushed)
		if got := r.out.get(1).Last.Reason; !strings.Contains(got, "action_time is missing") {
			t.Errorf("the reason is %q", got)
		}
	})
}

func TestWaybillDataComesLater(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		r.centre.data = func(scan.WaybillID) *syncapi.Waybill { return nil }
		r.out.add(event("A", time.Minute), event("A", 0))
		r.start()
		r.sleep(3 * time.Second)
		r.wantStates(store.AwaitingWaybill, store.AwaitingWaybill)
		declared := func() int {
			return len(r.centre.that(func(q syncapi.Request) bool { return slices.Contains(q.Waiting, "A") }))
		}
		n := declared()
		if n == 0 {
			t.Fatal("the waybill was not declared")
		}
		r.sleep(time.Minute)
		if declared() != n {
			t.Error("the waybill was declared again although the centre is the same")
		}
		r.centre.set(func(c *centre) { c.resp.Process = "p2" })
		r.sleep(7 * time.Second)
		if declared() == n {
			t.Error("the waybill was not declared to the centre's new process")
		}
		r.centre.set(func(c *centre) {
			c.data = func(scan.WaybillID) *syncapi.Waybill { w := waybillOf("13800138000"); return &w }
			c.resp.Ready = []scan.WaybillID{"A"}
		})
		r.sleep(6 * time.Second)
		r.wantStates(store.Pushed, store.Pushed)
	})
}

func TestWaitingEventsExpire(t *testing.T) {
	inBubble(t, uplink.Notify{MaxAge: time.Hour}, func(r *rig) {
		r.centre.data = func(scan.WaybillID) *syncapi.Waybill { return nil }
		r.out.add(event("A", 0), event("B", 30*time.Minute))
		r.start()
		r.sleep(32 * time.Minute)
		r.wantStates(store.AwaitingWaybill, store.Expired)
		r.sleep(31 * time.Minute)
		r.wantStates(store.Expired, store.Expired)
		if asks := r.centre.that(func(q syncapi.Request) bool { return len(q.Ask) > 0 }); len(asks) != 0 {
			t.Errorf("%d asks although only the age had to be judged", len(asks))
		}
	})
}

func TestRewind(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		for i := range 10 {
			r.out.add(event(fmt.Sprint("W", i), 0))
		}
		r.start()
		r.sleep(time.Second)
		r.centre.set(func(c *centre) { c.have, c.events = 4, nil }) // back from a backup
		r.sleep(6 * time.Second)
		if !slices.Equal(r.out.rewinds, []uint64{4}) {
			t.Errorf("rewound to %v, want 4 once", r.out.rewinds)
		}
		if !slices.Equal(r.centre.events, []uint64{5, 6, 7, 8, 9, 10}) {
			t.Errorf("sent again were %v", r.centre.events)
		}
		if r.wechat.count() != 10 {
			t.Errorf("%d pushes: what is finished must not be pushed again", r.wechat.count())
		}
	})
}

// A restored copy of the outbox: the centre has more than we ever gave numbers.
func TestCentreIsAhead(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		r.out.add(event("A", 0))
		r.centre.adjust = func(q *syncapi.Request, resp *syncapi.Response) {
			if q.Epoch == "00000000000000e1" {
				resp.Have = 500
			}
		}
		r.start()
		r.sleep(time.Second)
		if len(r.out.epochs) != 1 {
			t.Fatalf("%d new epochs, want 1", len(r.out.epochs))
		}
		if last := r.centre.that(hasEvents); last[len(last)-1].Epoch != "00000000000000e2" {
			t.Error("the event was not sent under the new epoch")
		}
		r.wantStates(store.Pushed)
	})
}

func TestConflict(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		r.out.add(event("A", 0), event("B", 0), event("C", 0))
		r.centre.adjust = func(q *syncapi.Request, resp *syncapi.Response) {
			if q.Epoch != "00000000000000e1" {
				return
			}
			for i := range resp.Answers {
				if resp.Answers[i].Seq >= 2 {
					resp.Answers[i].Result = syncapi.Conflict
				}
			}
		}
		r.start()
		r.sleep(time.Second)
		if len(r.out.epochs) != 1 {
			t.Fatalf("%d new epochs, want 1", len(r.out.epochs))
		}
		r.wantStates(store.Pushed, store.Pushed, store.Pushed)
		if got := r.out.get(1).ID.Epoch; got != 0xe1 {
			t.Error("what was answered before the conflict lost its epoch")
		}
	})
}

func TestUnauthorizedKeepsEverything(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		r.out.add(event("A", 0))
		r.centre.fault = func(*syncapi.Request) error { return &syncapi.Error{Status: 401, Message: "unknown token"} }
		r.start()
		r.sleep(time.Hour)
		r.wantStates(store.Unsynced)
		if n := len(r.centre.requests); n < 60 || n > 200 {
			t.Errorf("%d calls in an hour of being refused", n)
		}
		st := r.up.Status()
		if st.Central.Connected || !strings.Contains(st.Central.Reason, "credential") || st.Central.Lag < 50*time.Minute {
			t.Errorf("status is %+v", st)
		}
		r.centre.set(func(c *centre) { c.fault = nil })
		r.sleep(66 * time.Second)
		r.wantStates(store.Pushed)
		if lag := r.up.Status().Central.Lag; lag != 0 {
			t.Errorf("the lag is %v with nothing unsynced", lag)
		}
	})
}

// A refused batch is halved down to the culprit, which becomes a dead letter.
func TestRefusedBatch(t *testing.T) {
	for _, status := range []int{400, 413} {
		inBubble(t, uplink.Notify{}, func(r *rig) {
			for i := range 100 {
				r.out.add(event(fmt.Sprint("W", i), 0))
			}
			r.centre.fault = func(q *syncapi.Request) error {
				for _, e := range q.Events {
					if e.WaybillID == "W37" {
						return &syncapi.Error{Status: status, Message: "odd"}
					}
				}
				return nil
			}
			r.start()
			r.sleep(3 * time.Second)
			for i, s := range r.out.states() {
				want := store.Pushed
				if i == 37 {
					want = store.Dead
				}
				if s != want {
					t.Errorf("event %d is %v, want %v", i+1, s, want)
				}
			}
			if n := len(r.centre.requests); n > 40 {
				t.Errorf("%d requests to find the culprit", n)
			}
			if !slices.IsSorted(r.centre.events) {
				t.Error("events came out of sequence")
			}
		})
	}
}

// What is left out while the culprit of a refused batch is looked for goes out
// again once the events are through: nobody waits for many more events to come,
// nor is the centre called all the while.
func TestQuestionsAfterARefusedBatch(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		r.centre.delay = 10 * time.Millisecond
		r.centre.fault = func(q *syncapi.Request) error {
			if len(q.Events) > 0 && q.Events[len(q.Events)-1].WaybillID == "odd" {
				return &syncapi.Error{Status: 400}
			}
			return nil
		}
		r.wechat.notify = func(string, wechat.Notification) (bool, error) {
			return false, &wechat.Error{API: wechat.APIPathNotify, Status: 503, Sent: true}
		}
		had := uint64(0) // as a centre does that wants no gap
		r.centre.adjust = func(q *syncapi.Request, resp *syncapi.Response) {
			if len(q.Events) > 0 && q.From > had+1 {
				resp.Rewind, resp.Answers, r.centre.have = true, nil, had
			}
			had, resp.Have = r.centre.have, r.centre.have
		}
		r.out.add(event("W", 0), event("odd", 0))
		r.start()
		r.sleep(2 * time.Minute)
		r.wechat.set(func(f *fakeWeChat) { f.notify = nil })
		r.sleep(10 * time.Minute) // the centre's answer of then is too old
		r.wantStates(store.Pushed, store.Dead)
		r.out.add(event("W", 0))
		r.sleep(10 * time.Second)
		r.wantStates(store.Pushed, store.Dead, store.Pushed)
		if n := len(r.centre.that(func(syncapi.Request) bool { return true })); n > 400 {
			t.Errorf("%d requests in 12 min", n)
		}
	})
}

// A centre that refuses everything must not turn the outbox into dead letters.
func TestCentreRefusesEverything(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		for i := range 10 {
			r.out.add(event(fmt.Sprint("W", i), 0))
		}
		r.centre.fault = func(*syncapi.Request) error { return &syncapi.Error{Status: 400} }
		r.start()
		r.sleep(10 * time.Minute)
		for i, s := range r.out.states() {
			if s != store.Unsynced {
				t.Errorf("event %d is %v", i+1, s)
			}
		}
		if n := len(r.centre.requests); n > 400 {
			t.Errorf("%d requests in 10 min", n)
		}
		r.centre.set(func(c *centre) { c.fault = nil })
		r.sleep(time.Minute)
		if n := r.out.Counts().State[store.Pushed]; n != 10 {
			t.Errorf("%d pushed", n)
		}
	})
}

// What is refused may be the extras: events go on without them.
func TestRefusedExtras(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		r.centre.data = func(id scan.WaybillID) *syncapi.Waybill {
			if id == "A" {
				return nil
			}
			w := waybillOf("13800138000")
			return &w
		}
		r.centre.fault = func(q *syncapi.Request) error {
			if len(q.Waiting) > 0 {
				return &syncapi.Error{Status: 400}
			}
			return nil
		}
		r.out.add(event("A", 0))
		r.start()
		r.sleep(time.Second)
		for i := range 5 {
			r.out.add(event(fmt.Sprint("W", i), 0))
			r.sleep(40 * time.Second)
		}
		if n := r.out.Counts().State[store.Pushed]; n != 5 {
			t.Errorf("%d pushed, want 5", n)
		}
	})
}

// A batch that a slow line cannot carry in time is sent in smaller ones.
func TestSlowLine(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		for i := range 100 {
			r.out.add(event(fmt.Sprint("W", i), 0))
		}
		r.centre.fault = func(q *syncapi.Request) error {
			if len(q.Events) > 20 {
				return &syncapi.Error{Err: context.DeadlineExceeded}
			}
			return nil
		}
		r.start()
		r.sleep(time.Minute)
		if n := r.out.Counts().State[store.Pushed]; n != 100 {
			t.Errorf("%d pushed", n)
		}
	})
}

func TestCentreAway(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		r.centre.fault = func(*syncapi.Request) error { return &syncapi.Error{Err: errors.New("connection refused")} }
		for i := range 300 {
			r.out.add(event(fmt.Sprint("W", i), 0))
		}
		r.start()
		r.sleep(time.Hour)
		if n := len(r.centre.requests); n < 120 || n > 500 {
			t.Errorf("%d tries in an hour", n)
		}
		r.wantState(syncapi.StateNoToken)
		r.centre.set(func(c *centre) { c.fault = nil })
		r.sleep(35 * time.Second)
		if n := r.out.Counts().State[store.Pushed]; n != 300 {
			t.Errorf("%d pushed", n)
		}
	})
}

// Old answers cannot be used while the centre is away: events wait for it.
func TestCentreAwayHoldsOldAnswers(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		r.wechat.notify = func(string, wechat.Notification) (bool, error) { return false, code("pathnotify", 48004) }
		r.out.add(event("A", 0), event("B", 0))
		r.start()
		r.sleep(time.Minute)
		calls := r.wechat.count()
		r.wechat.set(func(f *fakeWeChat) { f.notify = nil })
		r.centre.set(func(c *centre) { c.fault = func(*syncapi.Request) error { return errors.New("no route") } })
		r.sleep(time.Hour)
		if got := r.wechat.count(); got > calls+2 {
			t.Errorf("%d calls on old answers", got-calls)
		}
		r.centre.set(func(c *centre) { c.fault = nil })
		r.sleep(time.Minute)
		r.wantStates(store.Pushed, store.Pushed)
	})
}

func TestClockUnknownHoldsEverything(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		r.clock.set(true)
		r.out.add(event("A", 0))
		r.start()
		r.sleep(time.Minute)
		r.wantStates(store.Unsynced)
		if n := len(r.centre.requests); n < 10 || n > 20 {
			t.Errorf("%d syncs: the centre's clock is what helps", n)
		}
		r.clock.set(false)
		r.sleep(6 * time.Second)
		r.wantStates(store.Pushed)
	})
}

// A clock that jumps while an answer of the centre is on its way makes nothing old: the
// answer to a batch, nor to a question.
func TestClockJumpsBesideACall(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		jumps := 0
		jump := func() syncapi.Answer {
			jumps++
			r.clock.jump(90 * 24 * time.Hour)
			return syncapi.Answer{Result: syncapi.Taken}
		}
		r.centre.result = func(syncapi.Event) syncapi.Answer { return jump() }
		r.centre.asked = func(syncapi.Ask) syncapi.Answer { return jump() }
		r.out.add(event("A", 0))
		r.start()
		r.sleep(2 * time.Minute) // so that the answer is asked for again
		r.wantStates(store.ToPush)
		r.clock.jump(0)
		r.sleep(10 * time.Second)
		if r.wantStates(store.ToPush); jumps != 2 {
			t.Errorf("%d answers, want those to a batch and to a question", jumps)
		}
	})
}

func TestRateIsTheSmaller(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		r.centre.resp.Rate = 10
		for i := range 100 {
			r.out.add(event(fmt.Sprint("W", i), 0))
		}
		r.start()
		r.sleep(5 * time.Second)
		if n := r.wechat.count(); n < 45 || n > 51 {
			t.Errorf("%d calls in 5 s at 10 a second", n)
		}
		held := 0
		for _, rec := range r.out.recs {
			if rec.leased.After(time.Now()) {
				held++
			}
		}
		if held > 28 { // two seconds' worth, and what the workers have
			t.Errorf("%d records leased ahead: new scans would wait for them", held)
		}
	})
}

func TestMetrics(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		calls := 0
		r.wechat.notify = func(string, wechat.Notification) (bool, error) {
			if calls++; calls == 1 {
				return false, code("pathnotify", -1)
			}
			return true, nil
		}
		r.out.add(event("A", 0))
		r.start()
		r.sleep(3 * time.Second)
		var b strings.Builder
		r.set.WritePrometheus(&b)
		for _, want := range []string{
			`scanrelay_wechat_requests_total{api="pathnotify",errcode="0"} 1`,
			`scanrelay_wechat_requests_total{api="pathnotify",errcode="-1"} 1`,
			`scanrelay_wechat_request_seconds_count{api="pathnotify"} 2`,
			`scanrelay_push_retries_total{class="transient"} 1`,
			`scanrelay_sync_lag_seconds 0`,
			`scanrelay_sync_requests_total{result="failed"} 0`,
		} {
			if !strings.Contains(b.String(), want+"\n") {
				t.Errorf("no line %q in\n%s", want, b.String())
			}
		}
	})
}

// The nodes of an older epoch, sent again after a rewind, go in a request of
// their own.
func TestOneEpochPerRequest(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		r.out.add(event("A", 0))
		_ = r.out.NewEpoch("test") // relabels A
		r.out.recs[0].ID.Epoch = 0xe1
		r.out.add(event("B", 0))
		r.start()
		r.sleep(time.Second)
		got := r.centre.that(hasEvents)
		if len(got) != 2 || got[0].Epoch == got[1].Epoch || len(got[0].Events) != 1 {
			t.Errorf("%d requests", len(got))
		}
		r.wantStates(store.Pushed, store.Pushed)
	})
}

// A centre whose answers are of no use is asked ever more rarely and told of rarely,
// also where it takes a batch in between.
func TestACentreThatNeverSettles(t *testing.T) {
	for name, c := range map[string]struct {
		most   int // calls in an hour
		adjust func(call int, resp *syncapi.Response)
	}{
		"rewind":             {100, func(_ int, resp *syncapi.Response) { resp.Rewind, resp.Have = true, 0 }},
		"rewind by turns":    {1300, func(call int, resp *syncapi.Response) { resp.Rewind = call%2 == 0 }},
		"it has more":        {100, func(_ int, resp *syncapi.Response) { resp.Have = 1 << 40 }},
		"it answers nothing": {400, func(_ int, resp *syncapi.Response) { resp.Answers = nil }},
		"conflict": {100, func(_ int, resp *syncapi.Response) {
			for i := range resp.Answers {
				resp.Answers[i].Result = syncapi.Conflict
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, uplink.Notify{}, func(r *rig) {
				calls := 0
				r.centre.adjust = func(_ *syncapi.Request, resp *syncapi.Response) { calls++; c.adjust(calls, resp) }
				r.out.add(event("A", 0))
				r.start()
				r.sleep(time.Hour)
				if n := r.lines.Load(); n > 12 {
					t.Errorf("%d lines in the log", n)
				}
				if calls > c.most {
					t.Errorf("%d calls in an hour", calls)
				}
				if r.up.Status().Central.Connected {
					t.Error("the centre counts as reached")
				}
				r.centre.set(func(c *centre) { c.adjust = nil })
				r.sleep(20 * time.Minute)
				if !r.up.Status().Central.Connected {
					t.Error("the centre does not count as reached")
				}
				r.wantStates(store.Pushed)
			})
		})
	}
}
