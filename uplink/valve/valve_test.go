package valve

import (
	"errors"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/uplink/policy"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat"
)

// newOpen makes a valve that has a token.
func newOpen() *Valve {
	v := New()
	v.Offer(&syncapi.Token{Value: "token", Generation: "g", ExpiresIn: 7200})
	return v
}

// callOnce makes one call through the valve.
func callOnce(t *testing.T, v *Valve, api string, s policy.Signal) error {
	t.Helper()
	p, err := v.Enter(t.Context(), api)
	if err != nil {
		return err
	}
	p.Leave(s)
	return nil
}

func TestRateIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newOpen()
		v.SetRate(100)
		start := time.Now()
		for range 101 {
			if err := callOnce(t, v, wechat.APIPathNotify, policy.Signal{Kind: policy.Works}); err != nil {
				t.Fatal(err)
			}
		}
		perfect := float64(time.Second)
		want := time.Duration(perfect / headroom)
		if took := time.Since(start); (took - want).Abs() > 20*time.Millisecond {
			t.Errorf("100 calls after the first took %v, want %v", took, want)
		}
	})
}

// After a refusal the rate is half of what was called, and grows back.
func TestRateGrowsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(500 * time.Millisecond)
		v := newOpen()
		v.SetRate(100)
		for range 200 {
			_ = callOnce(t, v, wechat.APIPathNotify, policy.Signal{Kind: policy.Works})
		}
		if err := callOnce(t, v, wechat.APIPathNotify, policy.Signal{Kind: policy.Throttled, Pause: time.Second}); err != nil {
			t.Fatal(err)
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
		v := newOpen()
		v.SetRate(100)
		for range 200 {
			_ = callOnce(t, v, wechat.APIPathNotify, policy.Signal{Kind: policy.Works})
		}
		if err := callOnce(t, v, wechat.APIPathNotify, policy.Signal{Kind: policy.Throttled, Pause: 50 * time.Second}); err != nil {
			t.Fatal(err)
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
		v := newOpen()
		v.SetRate(1000)
		var permits []*Permit
		for range 20 {
			permits = append(permits, enter(t, v))
		}
		before := v.notify.meter.Rate(time.Now())
		for _, p := range permits {
			p.Leave(policy.Signal{Kind: policy.Throttled, Pause: time.Second})
		}
		if r := v.Rate(); r != before/2 {
			t.Errorf("the rate is %v after %v calls", r, before)
		}
	})
}

func TestVeryLowRateGivesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newOpen()
		v.SetRate(0.01)
		if err := callOnce(t, v, wechat.APIPathNotify, policy.Signal{Kind: policy.Works}); err != nil {
			t.Fatal(err)
		}
		var h *Held
		if err := callOnce(t, v, wechat.APIPathNotify, policy.Signal{}); !errors.As(err, &h) || h.After < 90*time.Second {
			t.Errorf("error is %v", err)
		}
		time.Sleep(103 * time.Second)
		if err := callOnce(t, v, wechat.APIPathNotify, policy.Signal{}); err != nil {
			t.Error(err)
		}
	})
}

// A pause that begins while a call waits for its place takes effect at once.
func TestPauseWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newOpen()
		v.SetRate(0.2)
		first := enter(t, v)
		got := make(chan error, 1)
		go func() { got <- callOnce(t, v, wechat.APIPathNotify, policy.Signal{}) }()
		synctest.Wait()
		first.Leave(policy.Signal{Kind: policy.Blocked, Reason: "test"})
		var h *Held
		if err := <-got; !errors.As(err, &h) {
			t.Errorf("the waiting call got %v", err)
		}
	})
}

// While closed nothing permits; then one probe at a time, the others wait for it.
func TestOneProbeAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newOpen()
		_ = callOnce(t, v, wechat.APIPathNotify, policy.Signal{Kind: policy.Blocked, Reason: "test"})
		if n, until := v.Window(); n != 0 || time.Until(until) < 5*time.Second {
			t.Errorf("window is %d until %v", n, until)
		}
		time.Sleep(6 * time.Second)
		if n, _ := v.Window(); n != 1 {
			t.Errorf("window is %d while probing", n)
		}
		probe, err := v.Enter(t.Context(), wechat.APIUserQuery)
		if err != nil {
			t.Fatal(err)
		}
		var passed atomic.Int32
		for range 3 {
			go func() {
				if callOnce(t, v, wechat.APIPathNotify, policy.Signal{Kind: policy.Works}) == nil {
					passed.Add(1)
				}
			}()
		}
		synctest.Wait()
		if n := passed.Load(); n != 0 {
			t.Errorf("%d calls passed beside the probe", n)
		}
		probe.Leave(policy.Signal{Kind: policy.Works})
		synctest.Wait()
		if n, _ := v.Window(); passed.Load() != 3 || n != -1 {
			t.Errorf("%d calls passed after the probe, window %d", passed.Load(), n)
		}
	})
}

// What was under way when calls stopped neither reopens nor prolongs the stop.
func TestOldAnswersDecideNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newOpen()
		var permits []*Permit
		for range 3 {
			permits = append(permits, enter(t, v))
		}
		permits[0].Leave(policy.Signal{Kind: policy.Blocked, Reason: "first"})
		until := v.account.until
		permits[1].Leave(policy.Signal{Kind: policy.Works})
		permits[2].Leave(policy.Signal{Kind: policy.Blocked, Reason: "second"})
		if s, reason := v.State(); s != StateBlocked || reason != "first" || !v.account.until.Equal(until) {
			t.Errorf("state is %s (%s) until %v", s, reason, v.account.until)
		}
	})
}

// An account that blocks again right after a success goes on doubling.
func TestFlappingKeepsDoubling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newOpen()
		for want := probeBase; want <= 40*time.Second; want *= 2 {
			_ = callOnce(t, v, wechat.APIPathNotify, policy.Signal{Kind: policy.Blocked, Reason: "test"})
			_, until := v.Window()
			if d := time.Until(until); d < want || d > want+want/10 {
				t.Errorf("closed for %v, want %v", d, want)
			}
			time.Sleep(time.Until(until))
			_ = callOnce(t, v, wechat.APIPathNotify, policy.Signal{Kind: policy.Works})
		}
		time.Sleep(2 * time.Minute)
		_ = callOnce(t, v, wechat.APIPathNotify, policy.Signal{Kind: policy.Blocked, Reason: "test"})
		if _, until := v.Window(); time.Until(until) > 6*time.Second {
			t.Errorf("after two good minutes it is closed until %v", time.Until(until))
		}
	})
}

func TestLookupsWindow(t *testing.T) {
	var r lookups
	for i := range 100 {
		r.add(i%2 == 0)
	}
	if r.count != 10 {
		t.Errorf("%d of the last 20 failed, want 10", r.count)
	}
	for range 20 {
		r.add(false)
	}
	if r.count != 0 {
		t.Errorf("%d of the last 20 failed, want 0", r.count)
	}
}

func TestUnlimited(t *testing.T) {
	v := newOpen()
	v.SetRate(5)
	v.SetRate(0)
	if !math.IsInf(v.Rate(), 1) {
		t.Errorf("the rate is %v", v.Rate())
	}
	for range 1000 {
		if err := callOnce(t, v, wechat.APIPathNotify, policy.Signal{Kind: policy.Works}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTokenOffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := New()
		offer := func(gen string, seconds int64, retried bool) {
			v.Offer(&syncapi.Token{Value: "v-" + gen, Generation: gen, ExpiresIn: seconds, Retried: retried})
		}
		usable := func() bool { s, _ := v.State(); return s != StateNoToken }
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
		if again := first.Refused("test"); !again || v.BadToken() != "a" {
			t.Error("the first refusal is not reported")
		}
		offer("a", 300, false) // an answer that crossed the report
		if usable() {
			t.Error("the refused token is used again")
		}
		if again := straggler.Refused("test"); !again {
			t.Error("a straggler's refusal counted as the second")
		}
		offer("b", 300, false)
		second := enter(t, v)
		if v.BadToken() != "" {
			t.Error("reported on although another came")
		}
		if again := second.Refused("test"); again {
			t.Error("the second refusal running was not told")
		}
		if s, reason := v.State(); s != StateBlocked || !strings.Contains(reason, "someone else") {
			t.Errorf("after it WeChat is %s: %s", s, reason)
		}
		offer("c", 300, false)
		time.Sleep(6 * time.Second)
		third := enter(t, v)
		third.Accepted()
		if again := third.Refused("test"); !again {
			t.Error("after a success a refusal counts as the first again")
		}
	})
}

// enter takes a permit for pathnotify.
func enter(t *testing.T, v *Valve) *Permit {
	t.Helper()
	p, err := v.Enter(t.Context(), wechat.APIPathNotify)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
