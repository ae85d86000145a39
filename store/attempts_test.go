package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"scanrelay/store/codec"
	"scanrelay/store/event"
)

// A long wait and its attempts are on disk soon, a short one at a stop only; and
// what was due meanwhile does not come all at once.
func TestAttemptsSurvive(t *testing.T) {
	dir, clock := t.TempDir(), newTestClock()
	o := open(t, dir, small(clock))
	appendN(t, o, 3)
	syncAll(t, o)
	now := clock.Now()
	leased := mustLease(t, o, 3)
	retry := func(seq uint64, after time.Duration, attempts int) {
		t.Helper()
		if err := o.Release(event.Retry{Seq: seq, At: now.Add(after), Attempts: attempts, Last: event.Reply{Reason: "said of somebody", ErrCode: -1, RID: "r"}}); err != nil {
			t.Fatal(err)
		}
	}
	if len(leased) != 3 {
		t.Fatalf("leased %v", seqsOf(leased))
	}
	retry(1, 4*time.Minute, 9)
	retry(2, 2*time.Second, 2)
	mustAppend(t, o, newEvent("other", "x", 1795000000)) // its commit takes the attempts along

	crashed := open(t, copied(t, dir), small(clock))
	wantAttempts(t, crashed, map[uint64]int{1: 9, 2: 0, 3: 0})
	rest := mustLease(t, crashed, 9)
	if got := seqsOf(rest); fmt.Sprint(got) != "[3 2]" && fmt.Sprint(got) != "[2 3]" {
		t.Errorf("leased %v right after the crash", got)
	}
	settle(t, crashed, event.Pushed, rest...)
	clock.advance(5 * time.Minute)
	if got := mustLease(t, crashed, 9); len(got) != 1 || got[0].ID.Seq != 1 || got[0].Attempts != 9 || got[0].Last != (event.Reply{Reason: "said of somebody", ErrCode: -1, RID: "r"}) {
		t.Errorf("leased %+v when it was due", got)
	}
	closeChecked(t, crashed)

	closeChecked(t, o)
	if found := onDisk(t, dir, []string{"said of somebody"}); len(found) > 0 {
		t.Errorf("in clear: %v", found)
	}
	clock.advance(time.Hour)
	late := clock.Now()
	o = open(t, dir, small(clock))
	wantAttempts(t, o, map[uint64]int{1: 9, 2: 2, 3: 0})
	n, _ := o.index.Attempt(1)
	if at := n.At.Add(n.Delay); at.Before(late) || at.After(late.Add(4*time.Minute)) {
		t.Errorf("due %v after a start at %v", at, late)
	}
}

// An event that is tried for days costs a few notes, not one for each try.
func TestAttemptsAreWrittenSeldom(t *testing.T) {
	clock := newTestClock()
	o := open(t, fastDir(t), small(clock))
	appendN(t, o, 1)
	syncAll(t, o)
	before := newest(o).Notes
	for n := 1; n <= 500; n++ {
		if got := mustLease(t, o, 1); len(got) != 1 {
			t.Fatalf("not leased for try %d", n)
		}
		if err := o.Release(event.Retry{Seq: 1, At: clock.Now().Add(time.Minute), Attempts: n}); err != nil {
			t.Fatal(err)
		}
		if err := o.change(t.Context(), &changeOp{set: func(*group) {}}); err != nil {
			t.Fatal(err)
		}
		clock.advance(time.Hour)
	}
	if n := newest(o).Notes - before; n != 9 {
		t.Errorf("%d notes for 500 tries, want 9", n)
	}
}

// A clock that was set back does not make an event wait for years.
func TestAttemptsAndAClockSetBack(t *testing.T) {
	dir, clock := t.TempDir(), newTestClock()
	o := open(t, dir, small(clock))
	appendN(t, o, 1)
	syncAll(t, o)
	mustLease(t, o, 1)
	if err := o.Release(event.Retry{Seq: 1, At: clock.Now().Add(time.Minute), Attempts: 7}); err != nil {
		t.Fatal(err)
	}
	closeChecked(t, o)
	clock.set(time.Unix(86400, 0))
	o = open(t, dir, small(clock))
	wantAttempts(t, o, map[uint64]int{1: 7})
	clock.advance(time.Minute)
	if got := mustLease(t, o, 1); len(got) != 1 {
		t.Error("not due after as long as it was to wait")
	}
}

// A long wait goes along with an event that is carried, over a kill, too.
func TestWaitsAreCarried(t *testing.T) {
	dir, clock := fastDir(t), newTestClock()
	o := open(t, dir, small(clock))
	appendN(t, o, 2)
	syncAll(t, o)
	mustLease(t, o, 2)
	err := o.Release(event.Retry{Seq: 1, At: clock.Now().Add(2 * time.Minute), Attempts: 3}, event.Retry{Seq: 2, At: clock.Now().Add(time.Minute)})
	if err == nil {
		err = errors.Join(o.change(t.Context(), &changeOp{set: func(*group) {}}), o.roll(), o.dropOldest(true))
	}
	if err != nil || newest(o).Number != 2 || len(o.journal.Segments()) != 1 {
		t.Fatal(err, o.journal.Segments())
	}
	crashed := open(t, copied(t, dir), small(clock))
	wantAttempts(t, crashed, map[uint64]int{1: 3, 2: 0})
	for i, seq := range []uint64{2, 1} {
		if got := mustLease(t, crashed, 9); len(got) > 0 {
			t.Fatalf("minute %d: leased %+v before it is due", i, got)
		}
		clock.advance(time.Minute)
		got := mustLease(t, crashed, 9)
		if len(got) != 1 || got[0].ID.Seq != seq {
			t.Fatalf("minute %d: leased %+v, want %d", i, got, seq)
		}
		settle(t, crashed, event.Pushed, got...)
	}
}

func wantAttempts(t *testing.T, o *Outbox, want map[uint64]int) {
	t.Helper()
	for _, r := range all(t, o, Filter{}) {
		if n, ok := want[r.ID.Seq]; ok && r.Attempts != n {
			t.Errorf("%d attempts of %d, want %d", r.Attempts, r.ID.Seq, n)
		}
	}
}

// An event that is given back untried costs as few.
func TestHoldsAreWrittenSeldom(t *testing.T) {
	clock := newTestClock()
	o := open(t, fastDir(t), small(clock))
	appendN(t, o, 1)
	syncAll(t, o)
	before := newest(o).Notes
	for range 100 {
		mustLease(t, o, 1)
		if err := o.Release(event.Retry{Seq: 1, At: clock.Now().Add(time.Minute)}); err != nil {
			t.Fatal(err)
		}
		if err := o.change(t.Context(), &changeOp{set: func(*group) {}}); err != nil {
			t.Fatal(err)
		}
		clock.advance(time.Hour)
	}
	if n := newest(o).Notes - before; n != 1 {
		t.Errorf("%d notes for 100 holds, want 1", n)
	}
}

// More attempts than one commit takes are written by further ones, and what WeChat
// said of them may be long: a commit fits into the smallest segment all the same.
func TestManyAttemptsAreWritten(t *testing.T) {
	const n = 2500
	clock := newTestClock()
	o := open(t, fastDir(t), small(clock))
	appendN(t, o, n)
	syncAll(t, o)
	said := event.Reply{Reason: strings.Repeat("x", codec.MaxReason), RID: "r"}
	for _, r := range mustLease(t, o, n) {
		if err := o.Release(event.Retry{Seq: r.ID.Seq, At: clock.Now().Add(time.Minute), Attempts: 3, Last: said}); err != nil {
			t.Fatal(err)
		}
	}
	for left := n; left > 0; {
		if o.flushBy().IsZero() {
			t.Fatalf("%d attempts are not going to be written", left)
		}
		e := padded("W", fmt.Sprint("e", left), 1795000000, 100_000)
		if _, err := o.Append(t.Context(), batch(e, padded("W", fmt.Sprint("f", left), 1795000000, 100_000))); err != nil {
			t.Fatal(err)
		}
		left = o.index.Counts().Unsaved
	}
	if o.Counts().Full {
		t.Error("full")
	}
}
