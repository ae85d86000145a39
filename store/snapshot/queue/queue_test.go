package queue

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"scanrelay/store/snapshot"
)

// TestQueue: who waits while a group is written is in the next, as far as it is bounded;
// who gives up waiting, or whose store ends, is in none.
func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		life, end := context.WithCancelCause(t.Context())
		q := New(life, 2)
		impatient, giveUp := context.WithCancel(t.Context())
		answers := make(chan error, 5)
		call := func(ctx context.Context) {
			go func() {
				_, err := q.Merge(ctx, snapshot.Batch{Depot: "hz-01", Events: make([]snapshot.Event, 1)})
				answers <- err
			}()
			synctest.Wait()
		}
		call(impatient)
		giveUp()
		if err := <-answers; !errors.Is(err, context.Canceled) {
			t.Errorf("who gave up: %v", err)
		}
		taken, leave := context.WithCancel(t.Context())
		for range 3 {
			call(taken)
		}
		group := q.Gather(<-q.Requests)
		leave()
		synctest.Wait()
		if len(group) != 2 || len(answers) != 1 { // the third waits no longer
			t.Errorf("a group of %d, %d let go", len(group), len(answers))
		}
		<-answers
		for i, r := range group {
			if i == 0 {
				r.Err = snapshot.ErrDamaged
			}
			r.Settle()
		}
		if a, b := <-answers, <-answers; errors.Is(a, snapshot.ErrDamaged) == errors.Is(b, snapshot.ErrDamaged) {
			t.Errorf("told %v and %v", a, b)
		}
		call(t.Context())
		end(snapshot.ErrClosed)
		if err := <-answers; !errors.Is(err, snapshot.ErrClosed) {
			t.Errorf("the store ended: %v", err)
		}
		if _, err := q.Import(t.Context(), nil); !errors.Is(err, snapshot.ErrClosed) {
			t.Errorf("after its end: %v", err)
		}
	})
}
