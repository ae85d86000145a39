package store

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/event"
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
		patient := func(i int) chan error {
			done := make(chan error, 1)
			go func() {
				done <- o.Settle(context.Background(), []event.Settlement{{Seq: leased[i].ID.Seq, Outcome: event.Pushed, NoHurry: true}})
			}()
			return done
		}
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
		closeChecked(t, o)
		if err := <-c; err != nil || time.Since(began) >= opts.batchDelay {
			t.Errorf("after %v: %v", time.Since(began), err)
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
