package uplink_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store"
	"scanrelay/uplink"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat"
)

// Of many calls that fail with a bad token at once one report is made, and all
// of them go on with the fresh token; none of it counts as an attempt.
func TestBadTokenIsReportedOnce(t *testing.T) {
	inBubble(t, uplink.Notify{Concurrency: 100}, func(r *rig) {
		r.wechat.took = 50 * time.Millisecond
		r.wechat.notify = func(token string, _ wechat.Notification) (bool, error) {
			if token == "token-1" {
				return false, code("pathnotify", 40001)
			}
			return true, nil
		}
		r.centre.delay = 20 * time.Millisecond
		r.centre.adjust = func(q *syncapi.Request, resp *syncapi.Response) {
			if q.BadToken == "g1" {
				r.centre.resp.Token = &syncapi.Token{Value: "token-2", Generation: "g2", ExpiresIn: 7200}
				resp.Token = r.centre.resp.Token
			}
		}
		for i := range 100 {
			r.out.add(event(fmt.Sprint("W", i), 0))
		}
		r.start()
		r.sleep(3 * time.Second)
		reports := r.centre.that(func(q syncapi.Request) bool { return q.BadToken != "" })
		if len(reports) != 1 {
			t.Errorf("%d reports of the bad token, want 1", len(reports))
		}
		for seq := range uint64(100) {
			if got := r.out.get(seq + 1); got.State != store.Pushed || got.Attempts != 1 {
				t.Fatalf("event %d is %v after %d attempts", seq+1, got.State, got.Attempts)
			}
		}
		if n := r.wechat.count(); n != 200 {
			t.Errorf("%d calls, want each event twice", n)
		}
		r.wantState(syncapi.StateOK)
	})
}

// A second refusal with a fresh token is blocked, no loop; when a token works
// again all flows without a restart.
func TestFreshTokenRefusedBlocks(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		r.wechat.notify = func(string, wechat.Notification) (bool, error) { return false, code("pathnotify", 40001) }
		generation := 1
		r.centre.adjust = func(q *syncapi.Request, resp *syncapi.Response) {
			if q.BadToken == fmt.Sprint("g", generation) {
				generation++
			}
			resp.Token = &syncapi.Token{Value: "t", Generation: fmt.Sprint("g", generation), ExpiresIn: 7200}
		}
		for i := range 20 {
			r.out.add(event(fmt.Sprint("W", i), 0))
		}
		r.start()
		r.sleep(4 * time.Second)
		r.wantState(syncapi.StateBlocked)
		if st := r.up.Status(); !strings.Contains(st.WeChatReason, "someone else") {
			t.Errorf("the reason is %q", st.WeChatReason)
		}
		if n := r.wechat.count(); n > 16 {
			t.Errorf("%d calls before it was blocked", n)
		}
		r.sleep(time.Hour)
		if n := r.wechat.count(); n > 16+30 {
			t.Errorf("%d calls within an hour of being blocked", n)
		}
		r.wechat.set(func(f *fakeWeChat) { f.notify = nil })
		r.sleep(10 * time.Minute)
		r.wantState(syncapi.StateOK)
		for i, s := range r.out.states() {
			if s != store.Pushed {
				t.Fatalf("event %d is %v", i+1, s)
			}
		}
	})
}

// The same text again is tried once more, if the centre says that it asked.
func TestSameTokenAgain(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		calls := 0
		r.wechat.notify = func(string, wechat.Notification) (bool, error) {
			if calls++; calls == 1 {
				return false, code("pathnotify", 42001)
			}
			return true, nil
		}
		r.centre.adjust = func(q *syncapi.Request, resp *syncapi.Response) {
			if q.BadToken != "" {
				resp.Token = &syncapi.Token{Value: "token-1", Generation: "g1", ExpiresIn: 7200, Retried: true}
			}
		}
		r.out.add(event("A", 0))
		r.start()
		r.sleep(time.Second)
		r.wantStates(store.Pushed)
		r.wantState(syncapi.StateOK)
	})
}

func TestNoToken(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		r.centre.resp.Token = nil
		r.centre.resp.WeChat = syncapi.WeChatView{State: "no_token", Reason: "stable_token: no answer"}
		r.out.add(event("A", 0))
		r.start()
		r.sleep(20 * time.Second)
		r.wantState(syncapi.StateNoToken)
		r.wantStates(store.ToPush)
		r.centre.set(func(c *centre) {
			c.resp.Token = &syncapi.Token{Value: "t", Generation: "g", ExpiresIn: 7200}
			c.resp.WeChat = syncapi.WeChatView{State: "ok"}
		})
		r.sleep(6 * time.Second)
		r.wantStates(store.Pushed)
		r.wantState(syncapi.StateOK)
	})
}

// 150004: calls stop; one probe after 5 s, doubling, at most every 5 minutes.
func TestBlockedIsProbed(t *testing.T) {
	inBubble(t, uplink.Notify{Concurrency: 4}, func(r *rig) {
		r.wechat.notify = func(string, wechat.Notification) (bool, error) { return false, code("pathnotify", 150004) }
		for i := range 50 {
			r.out.add(event(fmt.Sprint("W", i), 0))
		}
		r.start()
		r.sleep(time.Second)
		first := r.wechat.count()
		if first > 4 {
			t.Errorf("%d calls before it was blocked", first)
		}
		r.wantState(syncapi.StateBlocked)
		if st := r.up.Status(); !strings.Contains(st.WeChatReason, "150004") {
			t.Errorf("the reason is %q", st.WeChatReason)
		}
		r.sleep(2 * time.Hour)
		var gaps []time.Duration
		for i := first; i < len(r.wechat.times); i++ {
			gaps = append(gaps, r.wechat.times[i].Sub(r.wechat.times[i-1]))
		}
		want := 5 * time.Second
		for i, g := range gaps {
			if g < want || g > want+want/10+time.Second {
				t.Fatalf("gap %d between probes is %v, want about %v (all: %v)", i, g, want, gaps)
			}
			want = min(2*want, 5*time.Minute)
		}
		for i, s := range r.out.states() {
			if s != store.ToPush {
				t.Fatalf("event %d is %v", i+1, s)
			}
		}
		if got := r.out.get(1).Attempts; got != 0 {
			t.Errorf("being blocked counted %d attempts", got)
		}
	})
}

// What passed max_age while calls were blocked ends expired, not pushed.
func TestBlockedThenExpired(t *testing.T) {
	inBubble(t, uplink.Notify{MaxAge: time.Hour}, func(r *rig) {
		r.wechat.notify = func(string, wechat.Notification) (bool, error) { return false, code("pathnotify", 50002) }
		r.out.add(event("A", 0), event("B", 0))
		r.start()
		r.sleep(2 * time.Hour)
		r.out.add(event("C", 0))
		r.wechat.set(func(f *fakeWeChat) { f.notify = nil })
		r.sleep(6 * time.Minute)
		r.wantStates(store.Expired, store.Expired, store.Pushed)
	})
}

func TestThrottledDaily(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) { // the bubble begins at 08:00 in Beijing
		r.wechat.notify = func(string, wechat.Notification) (bool, error) { return false, code("pathnotify", 45009) }
		for i := range 30 {
			r.out.add(event(fmt.Sprint("W", i), 0))
		}
		r.start()
		r.sleep(time.Minute)
		r.wantState(syncapi.StateThrottled)
		calls := r.wechat.count()
		if calls > 8 {
			t.Errorf("%d calls before the pause", calls)
		}
		r.sleep(15*time.Hour + 58*time.Minute)
		if got := r.wechat.count(); got != calls {
			t.Errorf("%d calls within the pause", got-calls)
		}
		r.wechat.set(func(f *fakeWeChat) { f.notify = nil })
		r.sleep(5 * time.Minute)
		for i, s := range r.out.states() {
			if s != store.Pushed {
				t.Fatalf("event %d is %v", i+1, s)
			}
		}
		r.wantState(syncapi.StateOK)
	})
}

// userquery alone is throttled: what needs no userquery goes on.
func TestThrottledUserquery(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		r.centre.binding = func(id scan.WaybillID) *syncapi.Binding {
			if id == "KNOWN" {
				return &syncapi.Binding{Exist: true}
			}
			return nil
		}
		r.centre.data = func(id scan.WaybillID) *syncapi.Waybill {
			w := waybillOf(map[bool]string{true: "13800000001", false: "13800000002"}[id == "KNOWN"])
			return &w
		}
		r.wechat.query = func(string, string) (bool, error) { return false, code("userquery", 45011) }
		r.out.add(event("NEW", 0))
		r.start()
		r.sleep(time.Second)
		r.out.add(event("KNOWN", 0))
		r.sleep(time.Second)
		r.wantStates(store.ToPush, store.Pushed)
		r.wechat.set(func(f *fakeWeChat) { f.query = nil })
		r.sleep(65 * time.Second)
		r.wantStates(store.Pushed, store.Pushed)
	})
}

// An API that allows 200 a second with 429, rate 200.
func TestRateUnderQuota(t *testing.T) {
	inBubble(t, uplink.Notify{Concurrency: 8, Rate: 200}, func(r *rig) {
		quota := windowQuota{limit: 200}
		r.wechat.took = 5 * time.Millisecond
		r.wechat.notify = quota.notify
		for i := range 2000 {
			r.out.add(event(fmt.Sprint("W", i), 0))
		}
		r.start()
		r.sleep(11 * time.Second)
		if n := r.out.Counts().State[store.Pushed]; n != 2000 || quota.refused >= 5 {
			t.Errorf("%d pushed in 11 s, %d refused; want 2000 and fewer than 5", n, quota.refused)
		}
		if n := r.wechat.count() - quota.refused; n != 2000 {
			t.Errorf("%d calls were accepted for 2000 events", n)
		}
	})
}

// Called too often the relay slows down and still delivers everything once.
func TestRateAboveQuota(t *testing.T) {
	inBubble(t, uplink.Notify{Concurrency: 8, Rate: 1000}, func(r *rig) {
		quota := windowQuota{limit: 200}
		r.wechat.took = 5 * time.Millisecond
		r.wechat.notify = quota.notify
		for i := range 2000 {
			r.out.add(event(fmt.Sprint("W", i), 0))
		}
		r.start()
		r.sleep(2 * time.Minute)
		if n := r.out.Counts().State[store.Pushed]; n != 2000 {
			t.Errorf("%d pushed", n)
		}
		if quota.refused == 0 || quota.refused > 60 {
			t.Errorf("%d calls were refused", quota.refused)
		}
		t.Logf("%d calls refused", quota.refused)
	})
}

// windowQuota counts calls in fixed seconds, as WeChat and the fake do.
type windowQuota struct {
	limit, used, refused int
	second               int64
}

func (q *windowQuota) notify(string, wechat.Notification) (bool, error) {
	if s := time.Now().Unix(); s != q.second {
		q.second, q.used = s, 0
	}
	if q.used >= q.limit {
		q.refused++
		return false, &wechat.Error{API: "pathnotify", Status: 429, Sent: true, RetryAfter: time.Second}
	}
	q.used++
	return true, nil
}

// When WeChat cannot reach the centre, calls rest for 30 s.
func TestLookupBreaker(t *testing.T) {
	inBubble(t, uplink.Notify{Concurrency: 2}, func(r *rig) {
		r.wechat.took = 10 * time.Millisecond
		r.wechat.notify = func(string, wechat.Notification) (bool, error) { return false, code("pathnotify", 932001) }
		for i := range 100 {
			r.out.add(event(fmt.Sprint("W", i), 0))
		}
		r.start()
		r.sleep(time.Second)
		r.wantState(syncapi.StateUnreachable)
		if st := r.up.Status(); !strings.Contains(st.WeChatReason, "reverse lookup fails") {
			t.Errorf("the reason is %q", st.WeChatReason)
		}
		calls := r.wechat.count()
		if calls < 10 || calls > 12 {
			t.Errorf("%d calls before the pause, want about 10", calls)
		}
		r.sleep(28 * time.Second)
		if got := r.wechat.count(); got != calls {
			t.Errorf("%d calls within the pause", got-calls)
		}
		r.sleep(5 * time.Minute) // one probe each 30 s
		if got := r.wechat.count() - calls; got < 9 || got > 12 {
			t.Errorf("%d probes in 5 min, want one each 30 s", got)
		}
		r.wechat.set(func(f *fakeWeChat) { f.notify = nil })
		r.sleep(6 * time.Minute)
		r.wantState(syncapi.StateOK)
		if n := r.out.Counts().State[store.Pushed]; n != 100 {
			t.Errorf("%d pushed", n)
		}
	})
}

// WeChat out of reach: few calls fail, nothing is lost, all flows soon after.
func TestUnreachable(t *testing.T) {
	inBubble(t, uplink.Notify{}, func(r *rig) {
		r.wechat.notify = func(string, wechat.Notification) (bool, error) { return false, errConnect }
		for i := range 1000 {
			r.out.add(event(fmt.Sprint("W", i), 0))
		}
		r.start()
		r.sleep(10 * time.Minute)
		r.wantState(syncapi.StateUnreachable)
		if n := r.wechat.count(); n > 100 {
			t.Errorf("%d calls in ten minutes of WeChat being away", n)
		}
		r.wechat.set(func(f *fakeWeChat) { f.notify = nil })
		r.sleep(5*time.Minute + 61*time.Second)
		if n := r.out.Counts().State[store.Pushed]; n != 1000 {
			t.Errorf("%d pushed", n)
		}
		r.wantState(syncapi.StateOK)
	})
}
