package uplink

import (
	"errors"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/wechat"
)

// call makes one call through the valve.
func callOnce(t *testing.T, v *valve, api string, s signal) error {
	t.Helper()
	p, err := v.enter(t.Context(), api)
	if err != nil {
		return err
	}
	p.leave(s)
	return nil
}

func TestRateIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newValve()
		v.setRate(100)
		start := time.Now()
		for range 101 {
			if err := callOnce(t, v, wechat.APIPathNotify, signal{kind: signalWorks}); err != nil {
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
		v := newValve()
		v.setRate(100)
		for range 200 {
			_ = callOnce(t, v, wechat.APIPathNotify, signal{kind: signalWorks})
		}
		if err := callOnce(t, v, wechat.APIPathNotify, signal{kind: signalThrottled, pause: time.Second}); err != nil {
			t.Fatal(err)
		}
		if r := v.rate(); r < 45 || r > 55 {
			t.Errorf("after a refusal the rate is %v, want half of 100", r)
		}
		time.Sleep(16 * time.Second)
		if r := v.rate(); r < 70 || r > 80 {
			t.Errorf("15 s after the pause the rate is %v, want about 75", r)
		}
		time.Sleep(18 * time.Second)
		if r := v.rate(); r != 100 {
			t.Errorf("33 s after the pause the rate is %v, want 100", r)
		}
	})
}

// 45011: a rate that had grown back within the pause would run into the minute's
// quota again each minute. It grows from the end of the pause, over minutes.
func TestRateStaysLowAfterAMinutesPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newValve()
		v.setRate(100)
		for range 200 {
			_ = callOnce(t, v, wechat.APIPathNotify, signal{kind: signalWorks})
		}
		if err := callOnce(t, v, wechat.APIPathNotify, signal{kind: signalThrottled, pause: 50 * time.Second}); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			after    time.Duration
			low, top float64
		}{{49 * time.Second, 45, 55}, {2 * time.Second, 45, 55}, {60 * time.Second, 58, 70}, {210 * time.Second, 100, 100}} {
			time.Sleep(c.after)
			if r := v.rate(); r < c.low || r > c.top {
				t.Errorf("the rate is %v, want %v to %v", r, c.low, c.top)
			}
		}
	})
}

// Calls that were under way together lower the rate once.
func TestRefusedTogetherCountOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newValve()
		v.setRate(1000)
		var passes []*pass
		for range 20 {
			p, err := v.enter(t.Context(), wechat.APIPathNotify)
			if err != nil {
				t.Fatal(err)
			}
			passes = append(passes, p)
		}
		before := v.notify.meter.rate(time.Now())
		for _, p := range passes {
			p.leave(signal{kind: signalThrottled, pause: time.Second})
		}
		if r := v.rate(); r != before/2 {
			t.Errorf("the rate is %v after %v calls", r, before)
		}
	})
}

func TestVeryLowRateGivesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newValve()
		v.setRate(0.01)
		if err := callOnce(t, v, wechat.APIPathNotify, signal{kind: signalWorks}); err != nil {
			t.Fatal(err)
		}
		var h *held
		if err := callOnce(t, v, wechat.APIPathNotify, signal{}); !errors.As(err, &h) || !h.slow || time.Until(h.until) < 90*time.Second {
			t.Errorf("error is %v", err)
		}
		time.Sleep(103 * time.Second)
		if err := callOnce(t, v, wechat.APIPathNotify, signal{}); err != nil {
			t.Error(err)
		}
	})
}

// A pause that begins while a call waits for its place takes effect at once.
func TestPauseWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newValve()
		v.setRate(0.2)
		first, err := v.enter(t.Context(), wechat.APIPathNotify)
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan error, 1)
		go func() { got <- callOnce(t, v, wechat.APIPathNotify, signal{}) }()
		synctest.Wait()
		first.leave(signal{kind: signalBlocked, reason: "test"})
		var h *held
		if err := <-got; !errors.As(err, &h) {
			t.Errorf("the waiting call got %v", err)
		}
	})
}

// While closed nothing passes; then one probe at a time, the others wait for it.
func TestOneProbeAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newValve()
		_ = callOnce(t, v, wechat.APIPathNotify, signal{kind: signalBlocked, reason: "test"})
		if n, until := v.window(); n != 0 || time.Until(until) < 5*time.Second {
			t.Errorf("window is %d until %v", n, until)
		}
		time.Sleep(6 * time.Second)
		if n, _ := v.window(); n != 1 {
			t.Errorf("window is %d while probing", n)
		}
		probe, err := v.enter(t.Context(), wechat.APIUserQuery)
		if err != nil {
			t.Fatal(err)
		}
		var passed atomic.Int32
		for range 3 {
			go func() {
				if callOnce(t, v, wechat.APIPathNotify, signal{kind: signalWorks}) == nil {
					passed.Add(1)
				}
			}()
		}
		synctest.Wait()
		if n := passed.Load(); n != 0 {
			t.Errorf("%d calls passed beside the probe", n)
		}
		probe.leave(signal{kind: signalWorks})
		synctest.Wait()
		if n, _ := v.window(); passed.Load() != 3 || n != -1 {
			t.Errorf("%d calls passed after the probe, window %d", passed.Load(), n)
		}
	})
}

// What was under way when calls stopped neither reopens nor prolongs the stop.
func TestOldAnswersDecideNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newValve()
		var passes []*pass
		for range 3 {
			p, err := v.enter(t.Context(), wechat.APIPathNotify)
			if err != nil {
				t.Fatal(err)
			}
			passes = append(passes, p)
		}
		passes[0].leave(signal{kind: signalBlocked, reason: "first"})
		until := v.account.until
		passes[1].leave(signal{kind: signalWorks})
		passes[2].leave(signal{kind: signalBlocked, reason: "second"})
		if s, reason := v.state(); s != StateBlocked || reason != "first" || !v.account.until.Equal(until) {
			t.Errorf("state is %s (%s) until %v", s, reason, v.account.until)
		}
	})
}

// An account that blocks again right after a success goes on doubling.
func TestFlappingKeepsDoubling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newValve()
		for want := probeBase; want <= 40*time.Second; want *= 2 {
			_ = callOnce(t, v, wechat.APIPathNotify, signal{kind: signalBlocked, reason: "test"})
			_, until := v.window()
			if d := time.Until(until); d < want || d > want+want/10 {
				t.Errorf("closed for %v, want %v", d, want)
			}
			time.Sleep(time.Until(until))
			_ = callOnce(t, v, wechat.APIPathNotify, signal{kind: signalWorks})
		}
		time.Sleep(2 * time.Minute)
		_ = callOnce(t, v, wechat.APIPathNotify, signal{kind: signalBlocked, reason: "test"})
		if _, until := v.window(); time.Until(until) > 6*time.Second {
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
	v := newValve()
	v.setRate(5)
	v.setRate(0)
	if !math.IsInf(v.rate(), 1) {
		t.Errorf("the rate is %v", v.rate())
	}
	for range 1000 {
		if err := callOnce(t, v, wechat.APIPathNotify, signal{kind: signalWorks}); err != nil {
			t.Fatal(err)
		}
	}
}
