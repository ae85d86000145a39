package store

import (
	"context"
	"testing"
	"time"

	"scanrelay/store/event"
)

// An outcome that nothing waits for shares the commit of the next scan; a hurried
// one, a scan, and a stop don't wait.
func TestOutcomesWaitForCompany(t *testing.T) {
	opts := small(newTestClock())
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
	queued := func(n int) {
		t.Helper()
		for end := time.Now().Add(5 * time.Minute); o.queue.len() < n; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("an outcome did not wait")
			}
		}
	}
	a, b := patient(0), patient(1)
	queued(2)
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
	queued(1)
	closeChecked(t, o)
	if err := <-c; err != nil {
		t.Error(err)
	}
}
