package intaketest

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"scanrelay/agent/scan"
)

// ErrFull is what a full Outbox answers.
var ErrFull = errors.New("full")

// Outbox commits in groups, as the outbox does: one goroutine takes what
// waits, sleeps for the time of a sync and calls done in order.
type Outbox struct {
	sync time.Duration
	// Fail says which commits fail; nil: none. It is set before anything is submitted.
	Fail func(scan.Batch) error

	mu      sync.Mutex
	waiting []Submission
	stored  []scan.Batch
	room    chan struct{} // closed: there is room

	wake, over chan struct{}
}

// Submission is a batch that was submitted.
type Submission struct {
	Batch scan.Batch
	Done  func(scan.Stored, error)
}

// NewOutbox returns an Outbox whose sync takes so long; it ends with the test.
func NewOutbox(t testing.TB, sync time.Duration) *Outbox {
	o := &Outbox{sync: sync, room: make(chan struct{}), wake: make(chan struct{}, 1), over: make(chan struct{})}
	close(o.room)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		o.commit()
	}()
	t.Cleanup(func() {
		close(o.over)
		<-ended
	})
	return o
}

// Submit implements intake.Outbox.
func (o *Outbox) Submit(b scan.Batch, done func(scan.Stored, error)) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case <-o.room:
	default:
		return ErrFull
	}
	o.waiting = append(o.waiting, Submission{b, done})
	select {
	case o.wake <- struct{}{}:
	default:
	}
	return nil
}

func refused(b scan.Batch) bool { return b.Refused != nil && b.Refused.Load() }

// Room implements intake.Outbox.
func (o *Outbox) Room() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.room
}

// SetFull makes the outbox full, or gives it room.
func (o *Outbox) SetFull(full bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case <-o.room:
		if full {
			o.room = make(chan struct{})
		}
	default:
		if !full {
			close(o.room)
		}
	}
}

func (o *Outbox) commit() {
	for {
		select {
		case <-o.wake:
		case <-o.over:
			return
		}
		o.mu.Lock()
		group := o.waiting
		o.waiting = nil
		o.mu.Unlock()
		if o.sync > 0 {
			time.Sleep(o.sync)
		}
		for _, s := range group {
			var err error
			if refused(s.Batch) {
				err = ErrFull
			} else if o.Fail != nil {
				if err = o.Fail(s.Batch); errors.Is(err, ErrFull) && s.Batch.Refused != nil {
					s.Batch.Refused.Store(true)
				}
			}
			if err == nil {
				o.mu.Lock()
				o.stored = append(o.stored, s.Batch)
				o.mu.Unlock()
			}
			s.Done(scan.Stored{Events: len(s.Batch.Events)}, err)
		}
	}
}

// Stored returns the batches that are committed, in order.
func (o *Outbox) Stored() []scan.Batch {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.stored)
}

// Waybills lists the numbers stored, in order.
func (o *Outbox) Waybills() (list []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, b := range o.stored {
		for _, e := range b.Events {
			list = append(list, string(e.Waybill))
		}
	}
	return list
}

// Totals sums up what was stored.
func (o *Outbox) Totals() (events, rejects, ignored int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, b := range o.stored {
		events += len(b.Events)
		rejects += len(b.Rejects)
		ignored += b.Ignored
	}
	return events, rejects, ignored
}

// Patience bounds every wait of a test: what must happen may take as long on a slow
// machine.
const Patience = 2 * time.Minute

// Eventually waits until cond holds.
func Eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(Patience)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("never came true: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Manual is an outbox that commits when the test says so. It has room always.
type Manual struct {
	Refuse bool

	mu        sync.Mutex
	submitted []Submission // and not committed; guarded by mu
}

// Submit implements intake.Outbox.
func (m *Manual) Submit(b scan.Batch, done func(scan.Stored, error)) error {
	if m.Refuse {
		return ErrFull
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.submitted = append(m.submitted, Submission{b, done})
	return nil
}

// Taken is what was submitted and not committed.
func (m *Manual) Taken() []Submission {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.submitted)
}

// Room implements intake.Outbox.
func (m *Manual) Room() <-chan struct{} {
	room := make(chan struct{})
	close(room)
	return room
}

// Commit ends the commits of the first n, with an error or without.
func (m *Manual) Commit(n int, err error) {
	m.mu.Lock()
	list := slices.Clone(m.submitted[:n])
	m.submitted = m.submitted[n:]
	m.mu.Unlock()
	for _, s := range list {
		s.Done(scan.Stored{}, err)
	}
}

// Unique keeps the first of each.
func Unique(list []string) (out []string) {
	seen := make(map[string]bool)
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}
