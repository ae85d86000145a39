package quiet

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/store/durable"
)

// start is a Monday, 00:00 in China.
var start = time.Date(2026, 11, 29, 16, 0, 0, 0, time.UTC)

// depot is one whose scanners send as scansAt says.
type depot struct {
	*Watch
	now      time.Time
	received uint64
}

func newDepot(t *testing.T, dir string) *depot {
	t.Helper()
	d := &depot{now: start}
	d.Watch = New(dir, slog.New(slog.DiscardHandler), func() uint64 { return d.received }, func() (time.Time, bool) { return d.now, true })
	return d
}

// live lets hours pass, in each of which as many scans come in as perHour says.
func (d *depot) live(hours int, perHour func(day, hour int) int) {
	for range hours * 60 {
		sinceStart := d.now.Sub(start)
		if d.now.Minute() == 30 {
			d.received += uint64(perHour(int(sinceStart.Hours())/24, int(sinceStart.Hours())%24))
		}
		d.look(d.now, d.received)
		d.now = d.now.Add(time.Minute)
	}
}

// byDay is a depot that works from 8 to 20.
func byDay(_, hour int) int {
	if hour >= 8 && hour < 20 {
		return 40
	}
	return 0
}

func none(int, int) int { return 0 }

func TestQuiet(t *testing.T) {
	for name, c := range map[string]struct {
		before int // hours as usual
		usual  func(day, hour int) int
		quiet  int // hours without a scan
		want   int // hours ago; 0: no alarm
	}{
		"the first days":                       {2*24 + 12, byDay, 6, 0},
		"three days are known":                 {3*24 + 12, byDay, 2, 1},
		"an hour is not over":                  {3*24 + 12, byDay, 0, 0},
		"it stays":                             {4*24 + 12, byDay, 5, 4},
		"a night":                              {4*24 + 20, byDay, 11, 0},
		"a morning on which nobody scans":      {4 * 24, byDay, 11, 10}, // since when it is dark
		"a depot with next to nothing":         {5*24 + 12, func(int, int) int { return 3 }, 4, 0},
		"rest on each seventh day, the second": {13*24 + 12, sundays, 4, 0},
		"a Monday after such a day":            {14*24 + 12, sundays, 3, 2},
	} {
		d := newDepot(t, t.TempDir())
		d.live(c.before, c.usual)
		if !d.Since().IsZero() {
			t.Errorf("%s: an alarm on a usual day", name)
		}
		d.live(c.quiet, none)
		d.look(d.now, d.received)
		want := time.Time{}
		if c.want > 0 {
			want = d.now.Add(-time.Duration(c.want) * time.Hour).Truncate(time.Hour)
		}
		if got := d.Since(); c.want == 0 && !got.IsZero() || c.want > 0 && (got.IsZero() || got.After(want)) {
			t.Errorf("%s: quiet since %v, want %v", name, got, want)
		}
		if d.received++; c.want > 0 {
			if d.look(d.now, d.received); !d.Since().IsZero() {
				t.Errorf("%s: a scan does not end it", name)
			}
		}
	}
}

// sundays has a day of rest.
func sundays(day, hour int) int {
	if day%7 == 6 {
		return 0
	}
	return byDay(day, hour)
}

// TestQuietRemembers: what is usual is known over a restart, and a short one does not
// hide that an hour was quiet. One of an hour does.
func TestQuietRemembers(t *testing.T) {
	for name, c := range map[string]struct {
		off  time.Duration
		want bool
	}{"seconds": {time.Minute, true}, "longer": {10 * time.Minute, false}} {
		dir := t.TempDir()
		d := newDepot(t, dir)
		d.live(3*24+12, byDay)
		d.live(1, none)
		d.save()
		again := newDepot(t, dir)
		again.now, again.received = d.now.Add(c.off), 5
		again.last = 5
		again.live(1, none)
		again.look(again.now, 5)
		if got := !again.Since().IsZero(); got != c.want {
			t.Errorf("off for %s: quiet %v", name, got)
		}
	}
}

// TestQuietClock: a clock that jumps makes no alarm, whichever way, and leaves the file bounded.
func TestQuietClock(t *testing.T) {
	for _, jump := range []time.Duration{-400 * 24 * time.Hour, -time.Hour, time.Hour, 5 * time.Hour, 24 * time.Hour, 400 * 24 * time.Hour} {
		d := newDepot(t, t.TempDir())
		d.live(9*24+12, byDay)
		d.now = d.now.Add(jump)
		d.look(d.now, d.received)
		d.now = d.now.Add(time.Minute)
		d.look(d.now, d.received)
		if !d.Since().IsZero() || len(d.m.Hours) > kept {
			t.Errorf("%v: quiet since %v, %d hours", jump, d.Since(), len(d.m.Hours))
		}
	}
}

// TestRun: the file is written each hour and at the end; none and one of garbage are as
// good as nothing known.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	if err := os.WriteFile(path, make([]byte, 300), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := New(dir, slog.New(slog.DiscardHandler), func() uint64 { return 7 }, func() (time.Time, bool) { return time.Now(), true })
		if _, err := os.Stat(path + durable.Unreadable); err != nil || len(w.m.Hours) > 0 {
			t.Errorf("garbage: %v, %v", w.m.Hours, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		time.Sleep(61 * time.Minute)
		synctest.Wait()
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	if w := New(dir, slog.New(slog.DiscardHandler), func() uint64 { return 7 }, nil); len(w.m.Hours) != 2 {
		t.Errorf("remembered %v", w.m.Hours)
	}
}
