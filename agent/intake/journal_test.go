package intake

import (
	"errors"
	"sync"
	"testing"
	"time"

	"scanrelay/agent/scan"
)

var errTestFull = errors.New("full")

// fakeJournal commits in groups, as the outbox does: one goroutine takes what
// waits, sleeps for the time of a sync and calls done in order.
type fakeJournal struct {
	sync time.Duration
	fail func(scan.Batch) error // nil: no commit fails

	mu      sync.Mutex
	waiting []submission
	stored  []scan.Batch
	room    chan struct{} // closed: there is room

	wake, over chan struct{}
}

type submission struct {
	batch scan.Batch
	done  func(scan.Stored, error)
}

func newFakeJournal(t testing.TB, sync time.Duration) *fakeJournal {
	j := &fakeJournal{sync: sync, room: make(chan struct{}), wake: make(chan struct{}, 1), over: make(chan struct{})}
	close(j.room)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		j.commit()
	}()
	t.Cleanup(func() {
		close(j.over)
		<-ended
	})
	return j
}

func (j *fakeJournal) Submit(b scan.Batch, done func(scan.Stored, error)) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	select {
	case <-j.room:
	default:
		return errTestFull
	}
	j.waiting = append(j.waiting, submission{b, done})
	signal(j.wake)
	return nil
}

func (j *fakeJournal) Room() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.room
}

// setFull makes the journal full, or gives it room.
func (j *fakeJournal) setFull(full bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	select {
	case <-j.room:
		if full {
			j.room = make(chan struct{})
		}
	default:
		if !full {
			close(j.room)
		}
	}
}

func (j *fakeJournal) commit() {
	for {
		select {
		case <-j.wake:
		case <-j.over:
			return
		}
		j.mu.Lock()
		group := j.waiting
		j.waiting = nil
		j.mu.Unlock()
		if j.sync > 0 {
			time.Sleep(j.sync)
		}
		for _, s := range group {
			var err error
			if j.fail != nil {
				err = j.fail(s.batch)
			}
			if err == nil {
				j.mu.Lock()
				j.stored = append(j.stored, s.batch)
				j.mu.Unlock()
			}
			s.done(scan.Stored{Events: len(s.batch.Events)}, err)
		}
	}
}

// waybills lists the numbers stored, in order.
func (j *fakeJournal) waybills() (list []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, b := range j.stored {
		for _, e := range b.Events {
			list = append(list, string(e.Waybill))
		}
	}
	return list
}

// totals sums up what was stored.
func (j *fakeJournal) totals() (events, rejects, ignored int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, b := range j.stored {
		events += len(b.Events)
		rejects += len(b.Rejects)
		ignored += b.Ignored
	}
	return events, rejects, ignored
}

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("never came true: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
