package limit

import (
	"fmt"
	"testing"
	"time"
)

func TestLimiter(t *testing.T) {
	const most = 1000
	l := New(2.0/60, 2, most)
	now := time.Unix(1e9, 0)
	allow := func(key string, want bool) {
		t.Helper()
		if got, wait := l.Allow(key, now); got != want || !got && (wait <= 0 || wait > time.Minute) {
			t.Fatalf("%s: %v, wait %s", key, got, wait)
		}
	}
	allow("a", true)
	allow("a", true)
	allow("a", false)
	allow("b", true)
	now = now.Add(30 * time.Second)
	allow("a", true)
	allow("a", false)
	now = now.Add(time.Hour)
	allow("a", true)
	allow("a", true)
	allow("a", false)
	now = now.Add(-time.Hour) // a clock set back gives nothing away
	allow("a", false)
	for i := range most + 10 {
		l.Allow(fmt.Sprint(i), now)
	}
	if len(l.each) != most || l.order.Len() != most {
		t.Errorf("%d buckets", len(l.each))
	}
	if ok, wait := New(0, 0, most).Allow("a", now); ok || wait != time.Minute {
		t.Error("no limit allows nothing")
	}
}

func TestLimitersAreBounded(t *testing.T) {
	const most = 4096
	l := New(1, 5, most)
	first := l.Of("x")
	if l.Of("x") != first || !first.AllowN(time.Now(), 5) || first.Allow() {
		t.Error("one has not one limiter")
	}
	for i := range 3 * most {
		l.Of(fmt.Sprint(i))
		l.Of("x")
	}
	if len(l.each) > most || l.order.Len() != len(l.each) {
		t.Errorf("%d are known", len(l.each))
	}
	if l.Of("x") != first {
		t.Error("the one in use was forgotten")
	}
}

// TestNoKeys: who counts its keys may have counted none.
func TestNoKeys(t *testing.T) {
	for _, most := range []int{0, -1} {
		l := New(1, 1, most)
		for _, key := range []string{"a", "b"} {
			if ok, _ := l.Allow(key, time.Unix(1e9, 0)); !ok || len(l.each) != 1 {
				t.Errorf("most %d: %s is allowed: %v, %d buckets", most, key, ok, len(l.each))
			}
		}
	}
}
