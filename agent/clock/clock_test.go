package clock

import (
	"sync"
	"testing"
	"time"
)

// bench is a machine whose clocks the test sets.
type bench struct {
	mu     sync.Mutex
	wall   time.Time
	up     time.Duration
	synced bool // the kernel says that somebody keeps the wall clock right
}

func (b *bench) now() time.Time { b.mu.Lock(); defer b.mu.Unlock(); return b.wall }

func (b *bench) boot() (string, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return "boot", b.up
}

func (b *bench) isSynced() bool   { b.mu.Lock(); defer b.mu.Unlock(); return b.synced }
func (b *bench) setSynced(y bool) { b.mu.Lock(); b.synced = y; b.mu.Unlock() }

// pass lets time go by; step sets the wall clock alone.
func (b *bench) pass(d time.Duration) {
	b.mu.Lock()
	b.wall, b.up = b.wall.Add(d), b.up+d
	b.mu.Unlock()
}
func (b *bench) step(d time.Duration) { b.mu.Lock(); b.wall = b.wall.Add(d); b.mu.Unlock() }

var today = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

func setup(wall time.Time) (*bench, *Clock) {
	b := &bench{wall: wall, up: time.Minute}
	return b, New(Options{Built: today.Add(-24 * time.Hour), Now: b.now, Boot: b.boot, Synced: b.isSynced})
}

func TestBelievable(t *testing.T) {
	for _, row := range []struct {
		name   string
		wall   time.Time
		newest time.Time
		centre time.Time
		synced bool
		want   bool
	}{
		{"today, and nobody confirms it", today, time.Time{}, time.Time{}, false, false},
		{"nor does the store", today, today.Add(-time.Second), time.Time{}, false, false},
		{"the kernel confirms it", today, time.Time{}, time.Time{}, true, true},
		{"1970", time.Unix(100, 0), time.Time{}, time.Time{}, true, false},
		{"before the build date", today.Add(-25 * time.Hour), time.Time{}, time.Time{}, true, false},
		{"before the newest time in the store", today, today.Add(time.Second), time.Time{}, true, false},
		{"after the newest time in the store", today, today.Add(-time.Second), time.Time{}, true, true},
		{"the centre agrees", today, time.Time{}, today.Add(5 * time.Minute), false, true},
		{"the centre is five minutes off", today, time.Time{}, today.Add(5*time.Minute + time.Second), false, false},
		{"the centre outweighs the kernel", today, time.Time{}, today.Add(-6 * time.Minute), true, false},
		{"the centre outweighs the store", today, today.Add(time.Hour), today, false, true},
		{"the centre does not outweigh the build date", today.Add(-25 * time.Hour), time.Time{}, today.Add(-25 * time.Hour), false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			b, c := setup(row.wall)
			b.setSynced(row.synced)
			if !row.newest.IsZero() {
				c.SetNewest(func() time.Time { return row.newest })
			}
			c.Heard(row.centre, 0)
			if got := c.Believable(); got != row.want {
				t.Errorf("Believable() = %v, want %v", got, row.want)
			}
		})
	}
}

func TestTheCentresWordLastsWhileTimePasses(t *testing.T) {
	b, c := setup(today)
	c.Heard(today, 0)
	b.pass(100 * time.Hour)
	if !c.Believable() {
		t.Error("the clock ran on for 100 hours and is not believed any more")
	}
	b.step(-time.Hour)
	if c.Believable() {
		t.Error("the wall clock stepped back an hour and is still believed")
	}
	if off, ok := c.Offset(); !ok || off != -time.Hour {
		t.Errorf("Offset() = %v, %v", off, ok)
	}
	b.step(time.Hour)
	if !c.Believable() {
		t.Error("the wall clock was put right and is not believed")
	}
}

// What the kernel confirmed holds on without it, until the clock is set otherwise.
func TestTheKernelsWordLastsWhileTimePasses(t *testing.T) {
	b, c := setup(today.Add(-time.Hour))
	if c.Believable() {
		t.Error("nobody confirmed the clock and it is believed")
	}
	b.step(time.Hour) // an NTP client found it
	b.setSynced(true)
	if !c.Believable() {
		t.Error("the kernel confirms the clock and it is not believed")
	}
	b.setSynced(false) // offline for long
	b.pass(100 * time.Hour)
	if !c.Believable() {
		t.Error("the clock ran on for 100 hours and is not believed any more")
	}
	if b.step(-time.Hour); c.Believable() {
		t.Error("the wall clock stepped back an hour and is still believed")
	}
}

func TestSlackWidensTheTolerance(t *testing.T) {
	_, c := setup(today)
	c.Heard(today.Add(-Tolerance-time.Second), time.Second)
	if !c.Believable() {
		t.Error("an offset within tolerance and slack is not believed")
	}
}

func TestBootZero(t *testing.T) {
	b, c := setup(time.Unix(60, 0))
	if _, zero := c.BootZero(); !zero.Equal(time.Unix(0, 0)) {
		t.Errorf("zero = %v", zero)
	}
	b.step(today.Sub(time.Unix(60, 0)))
	if id, zero := c.BootZero(); id != "boot" || !zero.Equal(today.Add(-time.Minute)) {
		t.Errorf("after the jump: %s %v", id, zero)
	}
}

func TestTheMachinesOwnClocks(t *testing.T) {
	c := New(Options{})
	id, since := c.Boot()
	if id == "" || since <= 0 {
		t.Errorf("Boot() = %q, %v", id, since)
	}
	if again, later := c.Boot(); again != id || later < since {
		t.Errorf("Boot() again = %q, %v after %v", again, later, since)
	}
}
