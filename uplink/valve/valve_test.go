package valve_test

import (
	"context"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/store/event"
	"scanrelay/uplink/policy"
	"scanrelay/uplink/syncapi"
	"scanrelay/uplink/valve"
	"scanrelay/wechat"
)

// newReady makes a valve that has a token.
func newReady() *valve.Valve {
	v := valve.New()
	v.Offer(&syncapi.Token{Value: "token", Generation: "g", ExpiresIn: 7200})
	return v
}

// Answers of WeChat, as package policy understands them.
var (
	success   = policy.Decision{Class: wechat.Success}
	mismatch  = policy.Decision{Class: wechat.Mismatch, Reply: event.Reply{ErrCode: 932003}}
	permanent = policy.Decision{Class: wechat.Permanent, Reply: event.Reply{ErrCode: 47001}}
	unknown   = policy.Decision{Class: wechat.Unknown, Reply: event.Reply{ErrCode: 12345}}
	fault     = policy.Decision{Class: wechat.Transient}
	noLookup  = policy.Decision{Class: wechat.Transient, Reply: event.Reply{ErrCode: wechat.CodeLookupFailed}}
)

func throttled(pause time.Duration) policy.Decision {
	return policy.Decision{Class: wechat.Throttled, Pause: pause}
}

func blocked(reason string) policy.Decision {
	return policy.Decision{Class: wechat.Blocked, Reply: event.Reply{ErrCode: 50002, Reason: reason}}
}

// callOnce makes one call through the valve; false if it was held.
func callOnce(t *testing.T, v *valve.Valve, api string, d policy.Decision) bool {
	t.Helper()
	p, _ := v.Enter(t.Context(), api)
	if p != nil {
		p.Leave(d)
	}
	return p != nil
}

func TestRateIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newReady()
		v.SetRate(100)
		start := time.Now()
		for range 101 {
			if !callOnce(t, v, wechat.APIPathNotify, success) {
				t.Fatal("the call was held")
			}
		}
		perfect := float64(time.Second)
		want := time.Duration(perfect / 0.98)
		if took := time.Since(start); (took - want).Abs() > 20*time.Millisecond {
			t.Errorf("100 calls after the first took %v, want %v", took, want)
		}
	})
}

// After a refusal the rate is half of what was called, and grows back.
func TestRateGrowsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(500 * time.Millisecond)
		v := newReady()
		v.SetRate(100)
		for range 200 {
			callOnce(t, v, wechat.APIPathNotify, success)
		}
		if !callOnce(t, v, wechat.APIPathNotify, throttled(time.Second)) {
			t.Fatal("the call was held")
		}
		if r := v.Rate(); r < 45 || r > 55 {
			t.Errorf("after a refusal the rate is %v, want half of 100", r)
		}
		time.Sleep(16 * time.Second)
		if r := v.Rate(); r < 70 || r > 80 {
			t.Errorf("15 s after the pause the rate is %v, want about 75", r)
		}
		time.Sleep(18 * time.Second)
		if r := v.Rate(); r != 100 {
			t.Errorf("33 s after the pause the rate is %v, want 100", r)
		}
	})
}

// 45011: a rate that had grown back within the pause would run into the minute's
// quota again each minute. It grows from the end of the pause, over minutes.
func TestRateStaysLowAfterAMinutesPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newReady()
		v.SetRate(100)
		for range 200 {
			callOnce(t, v, wechat.APIPathNotify, success)
		}
		if !callOnce(t, v, wechat.APIPathNotify, throttled(50*time.Second)) {
			t.Fatal("the call was held")
		}
		for _, c := range []struct {
			after    time.Duration
			low, top float64
		}{{49 * time.Second, 45, 55}, {2 * time.Second, 45, 55}, {60 * time.Second, 58, 70}, {210 * time.Second, 100, 100}} {
			time.Sleep(c.after)
			if r := v.Rate(); r < c.low || r > c.top {
				t.Errorf("the rate is %v, want %v to %v", r, c.low, c.top)
			}
		}
	})
}

// Calls that were under way together lower the rate once.
func TestRefusedTogetherCountOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newReady()
		v.SetRate(1000)
		var permits []*valve.Permit
		for range 20 {
			permits = append(permits, enter(t, v))
		}
		for _, p := range permits {
			p.Leave(throttled(time.Second))
		}
		if r := v.Rate(); r != 10 {
			t.Errorf("the rate is %v after 20 calls, want 10", r)
		}
	})
}

func TestVeryLowRateGivesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newReady()
		v.SetRate(0.01)
		if !callOnce(t, v, wechat.APIPathNotify, success) {
			t.Fatal("the call was held")
		}
		if p, after := v.Enter(t.Context(), wechat.APIPathNotify); p != nil || after < 90*time.Second {
			t.Errorf("held for %v, want 100 s", after)
		}
		time.Sleep(103 * time.Second)
		if !callOnce(t, v, wechat.APIPathNotify, success) {
			t.Error("the call was held")
		}
	})
}

// A pause that begins while a call waits for its place takes effect at once.
func TestPauseWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newReady()
		v.SetRate(0.2)
		first := enter(t, v)
		passed := make(chan bool, 1)
		go func() { passed <- callOnce(t, v, wechat.APIPathNotify, success) }()
		synctest.Wait()
		first.Leave(blocked("test"))
		if <-passed {
			t.Error("the waiting call was made")
		}
	})
}

// While a breaker is open nothing permits; then one probe at a time, the others wait for it.
func TestOneProbeAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newReady()
		callOnce(t, v, wechat.APIPathNotify, blocked("test"))
		if n, until := v.Window(); n != 0 || time.Until(until) < 5*time.Second {
			t.Errorf("window is %d until %v", n, until)
		}
		time.Sleep(6 * time.Second)
		if n, _ := v.Window(); n != 1 {
			t.Errorf("window is %d while probing", n)
		}
		probe, _ := v.Enter(t.Context(), wechat.APIUserQuery)
		var passed atomic.Int32
		for range 3 {
			go func() {
				if callOnce(t, v, wechat.APIPathNotify, success) {
					passed.Add(1)
				}
			}()
		}
		synctest.Wait()
		if n := passed.Load(); n != 0 {
			t.Errorf("%d calls passed beside the probe", n)
		}
		probe.Leave(success)
		synctest.Wait()
		if n, _ := v.Window(); passed.Load() != 3 || n != -1 {
			t.Errorf("%d calls passed after the probe, window %d", passed.Load(), n)
		}
	})
}

// What was under way when calls stopped neither reopens nor prolongs the stop.
func TestOldAnswersDecideNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newReady()
		var permits []*valve.Permit
		for range 3 {
			permits = append(permits, enter(t, v))
		}
		permits[0].Leave(blocked("first"))
		_, until := v.Window()
		permits[1].Leave(success)
		permits[2].Leave(blocked("second"))
		_, still := v.Window()
		if s, reason := v.State(); s != syncapi.StateBlocked || reason != "first" || !still.Equal(until) {
			t.Errorf("state is %s (%s) until %v, want %v", s, reason, still, until)
		}
	})
}

// An account that blocks again right after a success goes on doubling.
func TestFlappingKeepsDoubling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newReady()
		for want := 5 * time.Second; want <= 40*time.Second; want *= 2 {
			callOnce(t, v, wechat.APIPathNotify, blocked("test"))
			_, until := v.Window()
			if d := time.Until(until); d < want || d > want+want/10 {
				t.Errorf("open for %v, want %v", d, want)
			}
			time.Sleep(time.Until(until))
			callOnce(t, v, wechat.APIPathNotify, success)
		}
		time.Sleep(2 * time.Minute)
		callOnce(t, v, wechat.APIPathNotify, blocked("test"))
		if _, until := v.Window(); time.Until(until) > 6*time.Second {
			t.Errorf("after two good minutes it is open until %v", time.Until(until))
		}
	})
}

// What the probe of a blocked account is answered tells whether it works again.
func TestProbesOfABlockedAccount(t *testing.T) {
	for name, c := range map[string]struct {
		answer policy.Decision
		state  string
	}{
		"success":                           {success, syncapi.StateOK},
		"it looked the waybill up":          {mismatch, syncapi.StateOK},
		"it tried to look the waybill up":   {noLookup, syncapi.StateOK},
		"one event refused":                 {permanent, syncapi.StateBlocked},
		"one event refused, code unknown":   {unknown, syncapi.StateBlocked},
		"no answer":                         {fault, syncapi.StateBlocked},
		"blocked":                           {blocked("again"), syncapi.StateBlocked},
		"throttled, which is another pause": {throttled(time.Minute), syncapi.StateBlocked},
	} {
		synctest.Test(t, func(t *testing.T) {
			v := newReady()
			callOnce(t, v, wechat.APIPathNotify, blocked("test"))
			time.Sleep(6 * time.Second)
			callOnce(t, v, wechat.APIPathNotify, c.answer)
			if s, reason := v.State(); s != c.state {
				t.Errorf("%s: WeChat is %s (%s), want %s", name, s, reason, c.state)
			}
		})
	}
}

// Faults in a row trip the account, failed lookups when they are many.
func TestFaultsInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newReady()
		for _, answer := range []policy.Decision{fault, fault, fault, fault, unknown, fault, fault, fault, fault} {
			callOnce(t, v, wechat.APIPathNotify, answer)
		}
		if s, _ := v.State(); s != syncapi.StateOK {
			t.Errorf("after four in a row WeChat is %s", s)
		}
		callOnce(t, v, wechat.APIPathNotify, fault)
		if s, _ := v.State(); s != syncapi.StateUnreachable {
			t.Errorf("after five in a row WeChat is %s", s)
		}
		w := newReady()
		for i := range 19 {
			if s, _ := w.State(); s != syncapi.StateOK {
				t.Fatalf("after %d calls WeChat is %s", i, s)
			}
			callOnce(t, w, wechat.APIPathNotify, []policy.Decision{noLookup, success}[i%2])
		}
		if s, reason := w.State(); s != syncapi.StateUnreachable || !strings.Contains(reason, "reverse lookup fails") {
			t.Errorf("after ten failed lookups of twenty WeChat is %s: %s", s, reason)
		}
	})
}

func TestUnlimited(t *testing.T) {
	v := newReady()
	v.SetRate(5)
	v.SetRate(0)
	if !math.IsInf(v.Rate(), 1) {
		t.Errorf("the rate is %v", v.Rate())
	}
	for range 1000 {
		if !callOnce(t, v, wechat.APIPathNotify, success) {
			t.Fatal("the call was held")
		}
	}
}

func TestTokenOffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := valve.New()
		offer := func(gen string, seconds int64, retried bool) {
			v.Offer(&syncapi.Token{Value: "v-" + gen, Generation: gen, ExpiresIn: seconds, Retried: retried})
		}
		usable := func() bool { s, _ := v.State(); return s != syncapi.StateNoToken }
		v.Offer(nil)
		offer("a", 100, false)
		time.Sleep(99 * time.Second)
		if !usable() {
			t.Error("expired early")
		}
		time.Sleep(time.Second)
		if usable() {
			t.Error("used past its end")
		}
		offer("a", 300, false) // the same, longer
		first, straggler := enter(t, v), enter(t, v)
		if again, _ := first.Refused("test"); !again || v.BadToken() != "a" {
			t.Error("the first refusal is not reported")
		}
		offer("a", 300, false) // an answer that crossed the report
		if usable() {
			t.Error("the refused token is used again")
		}
		if again, _ := straggler.Refused("test"); !again {
			t.Error("a straggler's refusal counted as the second")
		}
		offer("b", 300, false)
		second := enter(t, v)
		if v.BadToken() != "" {
			t.Error("reported on although another came")
		}
		if again, _ := second.Refused("test"); again {
			t.Error("the second refusal running was not told")
		}
		if s, reason := v.State(); s != syncapi.StateBlocked || !strings.Contains(reason, "someone else") {
			t.Errorf("after it WeChat is %s: %s", s, reason)
		}
		offer("c", 300, false)
		time.Sleep(6 * time.Second)
		enter(t, v).Leave(success)
		third := enter(t, v)
		if again, _ := third.Refused("test"); !again {
			t.Error("after a success a refusal counts as the first again")
		}
	})
}

// TestAVoidedTokenCostsOneCallEach: a token is voided while calls are under way, and
// answers of before come in between the refusals. Each lets one more call try the
// token, not all that wait for one.
func TestAVoidedTokenCostsOneCallEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := valve.New()
		v.Offer(&syncapi.Token{Value: "v", Generation: "a", ExpiresIn: 7200})
		const under = 8
		var permits []*valve.Permit
		for range under {
			permits = append(permits, enter(t, v))
		}
		time.Sleep(time.Second)
		refused := 0
		again := func(p *valve.Permit) {
			p.Refused("test")
			refused++
		}
		for i := range under {
			if i%2 == 0 {
				again(permits[i])
				continue
			}
			permits[i].Leave(success)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			first, _ := v.Enter(ctx, wechat.APIPathNotify)
			if second, _ := v.Enter(ctx, wechat.APIPathNotify); first == nil || second != nil {
				t.Fatalf("trying a token that is in doubt: %v, and at the same time %v", first, second)
			}
			cancel()
			again(first)
		}
		if refused != under {
			t.Errorf("%d calls were refused of %d under way", refused, under)
		}
		// One that taught nothing lets the next one try; one that was taken, all.
		v.Offer(&syncapi.Token{Value: "w", Generation: "b", ExpiresIn: 7200})
		one, other := enter(t, v), enter(t, v)
		one.Refused("test")
		other.Leave(success)
		enter(t, v).Release()
		enter(t, v).Leave(success)
		one, other = enter(t, v), enter(t, v)
		one.Release()
		other.Release()
	})
}

// TestATokenThatOthersSucceedWith: WeChat's own copies of a token lag now and then.
// One refusal amid successes neither drops the token nor blocks the account.
func TestATokenThatOthersSucceedWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := valve.New()
		v.Offer(&syncapi.Token{Value: "v", Generation: "a", ExpiresIn: 7200})
		fine := func(why string) {
			t.Helper()
			if s, reason := v.State(); s != syncapi.StateOK || v.BadToken() != "" {
				t.Errorf("%s: WeChat is %s: %s, reported %q", why, s, reason, v.BadToken())
			}
		}
		refused, other := enter(t, v), enter(t, v)
		time.Sleep(time.Second)
		other.Leave(success)
		if again, after := refused.Refused("test"); again || after <= 0 {
			t.Errorf("a refusal amid successes: again %v, after %v", again, after)
		}
		fine("after a refusal amid successes")
		if g, age := v.Accepted(); g != "a" || age != 0 {
			t.Errorf("accepted %q %v ago", g, age)
		}
		// The refusal comes first, the success of another call after it.
		refused, other = enter(t, v), enter(t, v)
		time.Sleep(time.Second)
		refused.Refused("test")
		other.Leave(success)
		fine("after a success that was under way")
		// The same with a token that is on trial.
		enter(t, v).Refused("test")
		v.Offer(&syncapi.Token{Value: "v", Generation: "a", ExpiresIn: 7200, Retried: true})
		time.Sleep(time.Second)
		refused, other = enter(t, v), enter(t, v)
		time.Sleep(time.Second)
		refused.Refused("test")
		if s, _ := v.State(); s != syncapi.StateBlocked {
			t.Errorf("refused twice running and nobody succeeded: %s", s)
		}
		other.Leave(success)
		fine("after a success with the token on trial")
		// Refused for good, all the same.
		enter(t, v).Refused("test")
		if v.BadToken() != "a" {
			t.Error("a refusal without a success is not reported")
		}
	})
}

// TestProbesThatMeetFaults: a probe of a blocked account that gets no answer says
// nothing about the account, and does not put the next one off.
func TestProbesThatMeetFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newReady()
		enter(t, v).Leave(policy.Decision{Class: wechat.Blocked, Reply: event.Reply{ErrCode: 48001, Reason: "r"}})
		for range 6 {
			time.Sleep(6 * time.Second)
			enter(t, v).Leave(policy.Decision{Class: wechat.Transient, Next: policy.Retry})
		}
		time.Sleep(6 * time.Second)
		enter(t, v).Leave(success)
		if s, reason := v.State(); s != syncapi.StateOK {
			t.Errorf("WeChat is %s: %s", s, reason)
		}
	})
}

// enter takes a permit for pathnotify.
func enter(t *testing.T, v *valve.Valve) *valve.Permit {
	t.Helper()
	p, after := v.Enter(t.Context(), wechat.APIPathNotify)
	if p == nil {
		t.Fatalf("the call is held for %v", after)
	}
	return p
}
