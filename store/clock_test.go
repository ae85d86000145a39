package store

import (
	"fmt"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/event"
)

// clockless makes an event of a boot, since after its beginning.
func clockless(id, boot string, since time.Duration, marks scan.Marks, action int64) scan.Event {
	e := newEvent("W-"+id, id, action)
	e.Clockless = &scan.BootTime{Boot: boot, Since: since}
	e.ReceivedAt = time.Unix(0, 0).Add(since).UTC() // what a clock without battery says
	e.Marks = marks
	return e
}

// A clock that starts in 1970: events are stored, not synced, and get their
// times once it is known.
func TestResolveClock(t *testing.T) {
	dir := t.TempDir()
	c := newTestClock()
	o := open(t, dir, small(c))
	now := c.Now()
	good := now.Add(-time.Minute).Unix()
	mustAppend(t, o,
		newEvent("W", "before", now.Unix()),
		clockless("arrival", "boot-2", 10*time.Second, scan.MarkClock, 10),
		clockless("device", "boot-2", 20*time.Second, 0, good),
		clockless("bad-device", "boot-2", 30*time.Second, 0, 12345),
		clockless("elder", "boot-1", time.Hour, scan.MarkClock, 3600),
	)
	closeChecked(t, o)
	o = open(t, dir, small(c)) // it must be known again after a restart
	if u, err := o.Unsynced(10, 1<<20); err != nil || len(u) != 1 || u[0].Event.EventID != "before" {
		t.Fatalf("unsynced %+v, %v", u, err)
	}
	if got := o.NewestTime(); !got.Equal(now.Add(time.Second)) {
		t.Errorf("newest time %v: the clockless do not count", got)
	}
	zero := now.Add(-30 * time.Second)
	if err := o.ResolveClock("boot-2", zero); err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		u, err := o.Unsynced(10, 1<<20)
		if err != nil || len(u) != 5 {
			t.Fatalf("%s: %d unsynced, %v", when, len(u), err)
		}
		for i, want := range []struct {
			received time.Time
			action   int64
			marks    scan.Marks
		}{
			{now.Add(time.Second), now.Unix(), 0},
			{zero.Add(10 * time.Second), zero.Add(10 * time.Second).Unix(), scan.MarkClock},
			{zero.Add(20 * time.Second), good, 0},
			{zero.Add(30 * time.Second), zero.Add(30 * time.Second).Unix(), scan.MarkClock},
			{now, now.Unix(), scan.MarkClock},
		} {
			e := u[i].Event
			if !e.ReceivedAt.Equal(want.received) || e.ActionTime != want.action || e.Marks != want.marks || e.Clockless != nil {
				t.Errorf("%s: %s is %+v, want %+v", when, e.EventID, e, want)
			}
		}
	}
	check("resolved")
	closeChecked(t, o)
	o = open(t, dir, small(c))
	check("after a restart")
	if got, ok, err := o.Newer("W-arrival", 0); err != nil || !ok || got != zero.Add(10*time.Second).Unix() {
		t.Errorf("newer: %d %t", got, ok)
	}
}

// An event stamped before its reader heard of the clock, and stored after, is
// resolved by what is known of its boot: nothing would ask again.
func TestClocklessStraggler(t *testing.T) {
	c := newTestClock()
	o := open(t, t.TempDir(), small(c))
	zero := c.Now().Add(-time.Minute)
	if err := o.ResolveClock("boot", zero); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, o, clockless("late", "boot", time.Second, scan.MarkClock, 1))
	u, err := o.Unsynced(10, 1<<20)
	if err != nil || len(u) != 1 || !u[0].Event.ReceivedAt.Equal(zero.Add(time.Second)) {
		t.Errorf("%+v, %v", u, err)
	}
}

// The clock starts in 1970, jumps to today, steps back an hour: leases, due
// times and retention hold on.
func TestClockJumps(t *testing.T) {
	dir := t.TempDir()
	c := newTestClock()
	today := c.Now()
	c.set(time.Unix(30, 0))
	o := open(t, dir, small(c))
	appendN(t, o, 3)
	syncAll(t, o)
	r := mustLease(t, o, 2)
	settle(t, o, event.Pushed, r[0])
	c.set(today)
	if got := mustLease(t, o, 5); len(got) != 2 {
		t.Errorf("%d leased after the jump: the lease of 1970 is over", len(got))
	}
	c.set(today.Add(-time.Hour))
	if got := mustLease(t, o, 5); len(got) != 0 {
		t.Errorf("%d leased twice", len(got))
	}
	finished := newest(o).Finished
	if finished.Year() >= 2025 {
		t.Fatalf("finished at %v", finished)
	}
	roll(t, o)
	settle(t, o, event.Pushed, mustLeaseAfter(t, o, c, 2)...)
	c.advance(time.Hour)
	if err := o.dropOldest(false); err == nil {
		t.Error("what was finished in 1970 seems 56 years old, and was dropped")
	}
}

func mustLeaseAfter(t *testing.T, o *Outbox, c *testClock, n int) []event.Record {
	t.Helper()
	c.advance(2 * time.Hour)
	r := mustLease(t, o, n)
	if len(r) != n {
		t.Fatalf("%d leased", len(r))
	}
	return r
}

// The oldest event may be on disk only when its clock becomes known.
func TestOldestIsClockless(t *testing.T) {
	c := newTestClock()
	o := open(t, t.TempDir(), paged(c, 4))
	for i := range 20 {
		mustAppend(t, o, clockless(fmt.Sprint("e", i), "boot", time.Duration(i)*time.Second, scan.MarkClock, 1))
	}
	zero := c.Now().Add(-time.Hour)
	if got := o.Counts().Oldest; !got.Before(zero) {
		t.Fatalf("oldest is of %v before the clock is known", got)
	}
	if err := o.ResolveClock("boot", zero); err != nil {
		t.Fatal(err)
	}
	if got := o.Counts().Oldest; !got.Equal(zero) {
		t.Errorf("oldest is of %v, want %v", got, zero)
	}
}
