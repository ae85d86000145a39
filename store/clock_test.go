package store

import (
	"fmt"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/crypt"
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
	if err := o.ResolveClock("boot-2", zero, false); err != nil {
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

// However many events of a boot without a clock there are, nothing passes them on
// the way to the centre, at any size of what is asked for.
func TestClocklessAreNotPassed(t *testing.T) {
	for _, max := range []int{1, 7, 50, 100, 500} {
		c := newTestClock()
		o := open(t, fastDir(t), small(c))
		mustAppend(t, o, newEvent("W", "before", c.Now().Unix()))
		for i := range 100 {
			mustAppend(t, o, clockless(fmt.Sprint("c", i), "boot-1", time.Duration(i)*time.Second, scan.MarkClock, 10))
		}
		for i := range 100 {
			mustAppend(t, o, newEvent(fmt.Sprint("W", i), fmt.Sprint("n", i), c.Now().Unix()))
		}
		for want := range 2 { // the one before them, then none
			r, err := o.Unsynced(max, 1<<20)
			if err != nil || len(r) != 1-want {
				t.Fatalf("at most %d: %d records, %v", max, len(r), err)
			}
			if len(r) > 0 {
				if err := o.Synced(r[0].ID.Seq, nil, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := o.ResolveClock("boot-1", c.Now().Add(-time.Hour), false); err != nil {
			t.Fatal(err)
		}
		if r, err := o.Unsynced(max, 1<<20); err != nil || len(r) == 0 || r[0].ID.Seq != 2 {
			t.Errorf("at most %d: %d records, %v", max, len(r), err)
		}
	}
}

// A clock that turns out to keep time by itself was right in an earlier boot too,
// in which nobody could confirm it; what it cannot have told is not believed.
func TestResolveClockOfAnEarlierBootThatKeptTime(t *testing.T) {
	dir := t.TempDir()
	c := newTestClock()
	o := open(t, dir, small(c))
	told := c.Now().Add(-20 * time.Hour)
	right := clockless("right", "boot-1", time.Hour, scan.MarkClock, told.Unix())
	right.ReceivedAt = told
	wrong := clockless("wrong", "boot-0", time.Hour, scan.MarkClock, 3600)
	mustAppend(t, o, right, wrong)
	closeChecked(t, o)
	o = open(t, dir, small(c))
	now := c.Now()
	if err := o.ResolveClock("boot-2", now.Add(-time.Minute), true); err != nil {
		t.Fatal(err)
	}
	closeChecked(t, o)
	u, err := open(t, dir, small(c)).Unsynced(10, 1<<20)
	if err != nil || len(u) != 2 {
		t.Fatalf("%d unsynced, %v", len(u), err)
	}
	if e := u[0].Event; e.ActionTime != told.Unix() || !e.ReceivedAt.Equal(told) || e.Clockless != nil {
		t.Errorf("what came at %v is %+v", told, e)
	}
	if e := u[1].Event; e.ActionTime < now.Unix() || e.Clockless != nil {
		t.Errorf("what came in 1970 is %+v", e)
	}
}

// An event stamped before its reader heard of the clock, and stored after, is
// resolved by what is known of its boot: nothing would ask again.
func TestClocklessStraggler(t *testing.T) {
	c := newTestClock()
	o := open(t, t.TempDir(), small(c))
	zero := c.Now().Add(-time.Minute)
	if err := o.ResolveClock("boot", zero, false); err != nil {
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

// A clock that was years ahead, or in 1970, while a segment began or its events
// ended, keeps nothing for years: it ages from when it was looked at first, also
// where the agent restarts every day.
func TestWrongClockKeepsNothingForYears(t *testing.T) {
	for _, wrong := range []time.Time{time.Date(2038, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(30, 0)} {
		for _, restarts := range []bool{false, true} {
			c := newTestClock()
			right := c.Now()
			c.set(wrong)
			dir := fastDir(t)
			var o *Outbox
			start := func() {
				o = open(t, dir, small(c))
				// The committer's own first look comes before.
				if err := o.change(t.Context(), &changeOp{set: func(*group) {}}); err != nil {
					t.Fatal(err)
				}
			}
			start()
			day := func() {
				c.advance(24 * time.Hour)
				o.retire()
				if restarts {
					closeChecked(t, o)
					start()
				}
			}
			appendN(t, o, 3)
			syncAll(t, o)
			pushAll(t, o)
			c.set(right)
			o.retire()
			for range 4 { // it is sealed after half of retain, and kept for all of it
				day()
				if o.journal.Segments()[0].Number != 1 {
					t.Fatalf("%v, restarts %t: gone after less than retain", wrong, restarts)
				}
			}
			mustAppend(t, o, newEvent("W", "more", 1))
			syncAll(t, o)
			pushAll(t, o)
			for range 30 {
				day()
			}
			if n := o.journal.Segments()[0].Number; n == 1 {
				t.Errorf("%v, restarts %t: a month later what was finished is there still", wrong, restarts)
			}
			if r, err := crypt.Open(dir, true, false); err != nil || r.Cipher(1) != nil {
				t.Errorf("%v, restarts %t: its key is there: %v", wrong, restarts, err)
			}
		}
	}
}

// A clock that is wrong for a while only, and says so, has nothing forgotten early.
func TestClockThatIsWrongForAWhile(t *testing.T) {
	c := newTestClock()
	o := open(t, fastDir(t), small(c))
	appendN(t, o, 3)
	syncAll(t, o)
	pushAll(t, o)
	roll(t, o)
	right := c.Now()
	c.set(time.Unix(30, 0))
	o.retire()
	c.set(right.Add(time.Hour))
	o.retire()
	c.advance(160 * time.Hour)
	if o.retire(); o.journal.Segments()[0].Number != 1 {
		t.Error("it is gone before retain is over")
	}
	c.advance(10 * time.Hour)
	if o.retire(); o.journal.Segments()[0].Number == 1 {
		t.Error("it is there though retain is over")
	}
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
	if err := o.ResolveClock("boot", zero, false); err != nil {
		t.Fatal(err)
	}
	if got := o.Counts().Oldest; !got.Equal(zero) {
		t.Errorf("oldest is of %v, want %v", got, zero)
	}
}

// What ended while the clock was behind ended when it was right again, at the
// earliest: it is kept for all of retain from then.
func TestEndedUnderAClockThatIsBehind(t *testing.T) {
	for _, behind := range []time.Time{time.Unix(30, 0), time.Date(2025, 11, 1, 0, 0, 0, 0, time.UTC)} {
		for i := range 8 {
			before, sealed, restart := i&1 != 0, i&2 != 0, i&4 != 0
			c := newTestClock()
			dir := fastDir(t)
			o := open(t, dir, small(c))
			appendN(t, o, 6)
			syncAll(t, o)
			if before {
				settle(t, o, event.Pushed, mustLease(t, o, 1)...)
			}
			right := c.Now().Add(30 * 24 * time.Hour)
			c.set(behind)
			pushAll(t, o)
			if sealed {
				roll(t, o)
			}
			if restart {
				closeChecked(t, o)
				c.set(right)
				o = open(t, dir, small(c))
			}
			c.set(right)
			o.retire()
			c.advance(160 * time.Hour)
			if o.retire(); o.journal.Segments()[0].Number != 1 {
				t.Errorf("%v, one before %t, sealed %t, restart %t: gone before retain is over", behind, before, sealed, restart)
			}
			c.advance(200 * time.Hour)
			o.retire()
			if o.retire(); o.journal.Segments()[0].Number == 1 {
				t.Errorf("%v, one before %t, sealed %t, restart %t: still there", behind, before, sealed, restart)
			}
		}
	}
}
