package lately

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store"
)

func TestLastScans(t *testing.T) {
	l := New(store.Counts{})
	event := func(i int) scan.Event {
		return scan.Event{Waybill: scan.WaybillID(fmt.Sprintf("YT%d", i)), EventID: fmt.Sprint(i), DeviceID: "of 13800138000", ReceivedAt: time.Unix(int64(i), 0)}
	}
	for i := range 3 {
		l.Stored(scan.Batch{Events: []scan.Event{event(i)}}, scan.Stored{Events: 1})
	}
	if s := l.Scans(); len(s) != 3 || s[0].Waybill != "YT2" || s[2].Waybill != "YT0" || s[0].Device != "of 138******00" {
		t.Errorf("%+v", s)
	}
	for i := 3; i < 250; i++ {
		l.Stored(scan.Batch{Events: []scan.Event{event(i)}}, scan.Stored{Events: 1})
	}
	l.Ended(store.Record{Event: event(248), State: store.Pushed})
	l.Ended(store.Record{Event: event(1), State: store.Dead}) // forgotten long ago
	if s := l.Scans(); len(s) != maxScans || s[0].Waybill != "YT249" || s[1].State != "pushed" || s[0].State != "" || s[99].Waybill != "YT150" {
		t.Errorf("%d: %+v", len(s), s[:2])
	}
}

// TestKnownScansAreNoneMore: a message that came twice is one scan, which has its outcome.
func TestKnownScansAreNoneMore(t *testing.T) {
	l := New(store.Counts{})
	first, second := scan.Event{Waybill: "YT1", EventID: "a"}, scan.Event{Waybill: "YT1", EventID: "b"}
	l.Stored(scan.Batch{Events: []scan.Event{first}}, scan.Stored{Events: 1})
	l.Ended(store.Record{Event: first, State: store.Pushed})
	l.Stored(scan.Batch{Events: []scan.Event{first}}, scan.Stored{Duplicate: 1})
	l.Stored(scan.Batch{Events: []scan.Event{first, second}}, scan.Stored{Events: 1, Duplicate: 1})
	if s := l.Scans(); len(s) != 2 || s[0].eventID != "b" || s[0].State != "" || s[1].State != "pushed" {
		t.Errorf("%+v", s)
	}
}

// TestSmallWhateverMessagesAre: what is kept of a scan does not hold the message that it is
// a part of.
func TestSmallWhateverMessagesAre(t *testing.T) {
	l := New(store.Counts{})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range maxScans {
		message := strings.Repeat("x", 1<<20)
		l.Stored(scan.Batch{Events: []scan.Event{{Waybill: scan.WaybillID(message[:10]), EventID: message[10:20], DeviceID: message[20:30]}}}, scan.Stored{Events: 1})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 10<<20 || len(l.Scans()) != maxScans {
		t.Errorf("%d bytes are kept of %d scans", grown, len(l.Scans()))
	}
}

// TestHistory: each minute has what happened in it, a day has quarters of an hour, and
// no more than an hour and a day are remembered.
func TestHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c store.Counts
		c.Received = 1000
		l := New(c)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- l.Run(ctx, func() store.Counts {
				c.Received += 7
				c.Settled[store.Pushed] += 5
				c.State[store.ToPush]++
				return c
			})
		}()
		at := time.Now()
		for range 98 {
			l.Ended(store.Record{State: store.Pushed, Event: scan.Event{ReceivedAt: at}, FinishedAt: at.Add(90 * time.Millisecond)})
		}
		for range 2 {
			l.Ended(store.Record{State: store.Pushed, Event: scan.Event{ReceivedAt: at}, FinishedAt: at.Add(3 * time.Second)})
		}
		l.Ended(store.Record{State: store.Dead, Event: scan.Event{ReceivedAt: at}, FinishedAt: at.Add(time.Hour)})
		time.Sleep(time.Minute + time.Second)
		h := l.History()
		if len(h.Minutes) != 1 || h.Minutes[0] != (Span{7, 5, 1, 0.091, 4.096}) {
			t.Errorf("the first minute is %+v", h.Minutes)
		}
		time.Sleep(14 * time.Minute)
		if h = l.History(); len(h.Quarters) != 1 || h.Quarters[0] != (Span{105, 75, 15, 0.091, 4.096}) || h.Minutes[14].P99 != 0 {
			t.Errorf("the first quarter is %+v", h.Quarters)
		}
		time.Sleep(26 * time.Hour)
		if h = l.History(); len(h.Minutes) != minutes || len(h.Quarters) != quarters || h.Quarters[95].Received != 105 {
			t.Errorf("%d minutes, %d quarters", len(h.Minutes), len(h.Quarters))
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestBuckets(t *testing.T) {
	for d, want := range map[time.Duration]float64{-time.Hour: 0.001, 0: 0.001, time.Millisecond: 0.001, time.Second: 1.024, 1000 * time.Hour: 2965.821} {
		var counts [waitBuckets]uint64
		counts[bucketOf(d)]++
		if got := quantile(&counts, 0.99); got != want {
			t.Errorf("%s: %v, want %v", d, got, want)
		}
	}
	if got := quantile(new([waitBuckets]uint64), 0.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}
