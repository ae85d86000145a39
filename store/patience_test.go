package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	bolt "go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/event"
	"scanrelay/store/journal"
)

// An outcome that nothing waits for shares the commit of the next scan; a hurried
// one, a scan, and a stop don't wait.
func TestOutcomesWaitForCompany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, opts := time.Now(), small(newTestClock())
		opts.batchDelay = time.Hour // so that only company ends it
		var commits []int
		opts.OnCommit = func(_ time.Duration, n int) { commits = append(commits, n) }
		o := open(t, t.TempDir(), opts)
		appendN(t, o, 4)
		syncAll(t, o)
		leased := mustLease(t, o, 4)
		patient := func(i int) chan error { return patiently(o, leased[i]) }
		a, b := patient(0), patient(1)
		waiting(t, o, 2)
		mustAppend(t, o, newEvent("other", "x", 1795000000))
		for _, done := range []chan error{a, b} {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		if n := len(commits); n != 2 || commits[1] != 3 {
			t.Errorf("commits of %v records, want one of 3 at last", commits)
		}
		settle(t, o, event.Pushed, leased[2]) // returns: it is in a hurry
		c := patient(3)
		waiting(t, o, 1)
		o.Hurry(true)
		if err := <-c; err != nil {
			t.Fatal(err)
		}
		syncAll(t, o)
		leased = mustLease(t, o, 1)
		if err := <-patient(0); err != nil { // returns: they are all in a hurry
			t.Fatal(err)
		}
		o.Hurry(false)
		appendTo(t, o, "same", 2)
		syncAll(t, o)
		leased = mustLease(t, o, 1)
		if err := <-patient(0); err != nil { // returns: the next of its waybill waits for it
			t.Fatal(err)
		}
		leased = mustLease(t, o, 1)
		c = patient(0)
		waiting(t, o, 1)
		closeChecked(t, o)
		if err := <-c; err != nil || time.Since(began) >= opts.batchDelay {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

// appendTo appends n events of one waybill.
func appendTo(t *testing.T, o *Outbox, waybill string, n int) {
	t.Helper()
	for i := range n {
		mustAppend(t, o, newEvent(waybill, fmt.Sprint("n", i), 1795000000+int64(i)))
	}
}

// patiently settles an event and waits for nothing.
func patiently(o *Outbox, r event.Record) chan error {
	done := make(chan error, 1)
	go func() {
		done <- o.Settle(context.Background(), []event.Settlement{{Seq: r.ID.Seq, Outcome: event.Pushed, NoHurry: true}})
	}()
	return done
}

// Where nobody comes an outcome waits for a second, and not at all while there is no
// room for anybody.
func TestOutcomesWaitForASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := small(newTestClock())
		opts.MaxSize = minMaxSize
		o := open(t, t.TempDir(), opts)
		appendN(t, o, 1)
		syncAll(t, o)
		began := time.Now()
		settled := func(want time.Duration) {
			t.Helper()
			if err := <-patiently(o, mustLease(t, o, 1)[0]); err != nil || time.Since(began) != want {
				t.Errorf("after %v: %v, want %v", time.Since(began), err, want)
			}
		}
		settled(time.Second)
		fillUp(t, o)
		syncAll(t, o)
		began = time.Now()
		settled(0)
	})
}

// What others ask the committer for does not wait with the outcomes.
func TestTasksDontWaitForCompany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := small(newTestClock())
		opts.batchDelay = time.Hour
		o := open(t, t.TempDir(), opts)
		appendN(t, o, 1)
		syncAll(t, o)
		settle(t, o, event.Dead, mustLease(t, o, 1)...)
		if err := o.roll(); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, o, newEvent("other", "x", 1795000000))
		syncAll(t, o)
		done := patiently(o, mustLease(t, o, 1)[0])
		waiting(t, o, 1)
		if err := o.journal.DropOldest(true); !errors.Is(err, journal.ErrNoSpace) { // in the committer's place: it waits
			t.Fatalf("the first segment is not to be carried first: %v", err)
		}
		waiting(t, o, 1)
		if n := len(o.journal.Segments()); n != 1 || o.journal.Usage().Clearing {
			t.Errorf("%d segments while an outcome waits, want the first carried and dropped", n)
		}
		o.Hurry(true)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// paced appends batches of so many scans as devices do that wait for nothing: at this
// pace, for so long.
// It returns the longest that one waited, and how many commits there were for each, once
// the first second is over.
func paced(t *testing.T, perSecond, each int, last time.Duration) (longest time.Duration, commits float64) {
	opts, n := small(newTestClock()), 0
	opts.OnCommit = func(time.Duration, int) { n++ }
	o := open(t, t.TempDir(), opts)
	gap, all := time.Second/time.Duration(perSecond), int(last.Seconds()*float64(perSecond))
	var took []time.Duration // the committer's
	for i := range all {
		if i == perSecond {
			synctest.Wait()
			n = 0
		}
		began := time.Now()
		var events []scan.Event
		for j := range each {
			events = append(events, newEvent("W", fmt.Sprint(i, "-", j), 1795000000))
		}
		err := o.Submit(batch(events...), func(_ scan.Stored, err error) {
			if took = append(took, time.Since(began)); err != nil {
				t.Error(err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(gap)
	}
	closeChecked(t, o)
	return slices.Max(took[perSecond:]), float64(n) / float64(all-perSecond)
}

// Scans wait for each other only while they come at a pace at which others come soon.
func TestScansWaitForEachOther(t *testing.T) {
	for _, c := range []struct {
		perSecond, each int // batches, and scans in each
		waits           time.Duration
		commits         float64 // of a batch, at most
	}{
		{1, 1, 0, 1}, {10, 1, 0, 1}, {30, 1, linger, 0.75}, {100, 1, linger, 0.3}, {400, 1, linger, 0.1}, {2000, 1, companyWait, 1},
		{100, 10, companyWait, 1}, // a thousand scans
	} {
		t.Run(fmt.Sprint(c.perSecond, "x", c.each), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				waited, commits := paced(t, c.perSecond, c.each, 3*time.Second)
				t.Logf("%v, %.2f", waited, commits)
				if waited > c.waits || commits > c.commits {
					t.Errorf("waited %v, %.2f commits a batch; want %v, %v at most", waited, commits, c.waits, c.commits)
				}
			})
		})
	}
}

// Who sends the next scan only after the acknowledgement of the last is hardly held
// up: nobody else comes.
func TestScansDontWaitForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := small(newTestClock())
		opts.commit = func(tx *bolt.Tx) error { time.Sleep(10 * time.Millisecond); return tx.Commit() }
		o := open(t, t.TempDir(), opts)
		began, n := time.Now(), 500
		for i := range n {
			mustAppend(t, o, newEvent("W", fmt.Sprint(i), 1795000000))
		}
		took := time.Since(began)
		t.Logf("%v", took)
		if want := time.Duration(n) * 10 * time.Millisecond; took > want*6/5 {
			t.Errorf("took %v, where the disk takes %v", took, want)
		}
	})
}

// waiting holds that so many ops wait once everybody waits.
func waiting(t *testing.T, o *Outbox, n int) {
	t.Helper()
	synctest.Wait()
	if got := o.queue.len(); got != n {
		t.Fatalf("%d wait, want %d", got, n)
	}
}

// A message without a waybill number is no commit of its own: it shares that of the
// next scan, and is acknowledged with it. What else is rejected does not wait, nor
// does a stop.
func TestHeartbeatsWaitForCompany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, opts := time.Now(), small(newTestClock())
		opts.idleDelay = time.Hour // so that only company ends it
		o := open(t, t.TempDir(), opts)
		reject := func(code string) chan error {
			done := make(chan error, 1)
			b := scan.Batch{Rejects: []scan.Reject{{Topic: "t", Code: code, ReceivedAt: time.Unix(1, 0)}}}
			if err := o.Submit(b, func(_ scan.Stored, err error) { done <- err }); err != nil {
				t.Fatal(err)
			}
			return done
		}
		heartbeats := []chan error{reject(scan.NoWaybill), reject(scan.NoWaybill)}
		waiting(t, o, 2)
		mustAppend(t, o, newEvent("YT1", "x", 1795000000))
		for _, done := range append(heartbeats, reject("not_json")) {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		last := reject(scan.NoWaybill)
		closeChecked(t, o)
		if err := <-last; err != nil || time.Since(began) >= opts.idleDelay {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if c := o.Counts(); c.Rejected != 4 {
			t.Errorf("%+v", c)
		}
	})
}
