package store

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"scanrelay/agent/scan"
	"scanrelay/store/event"
	"scanrelay/store/internal/storetest"
)

// TestRefusedKeepsOrder has a sender give many batches before the first is answered, to
// a store that is full again and again while others finish what is in it: whatever is
// refused, all is stored in the order in which it was given.
func TestRefusedKeepsOrder(t *testing.T) {
	opts := small(newTestClock())
	opts.MaxSize = minMaxSize
	o := open(t, fastDir(t), opts)
	given := storetest.Rounds(1500, 1000)
	var drained sync.WaitGroup
	var over atomic.Bool
	drained.Go(func() {
		for !over.Load() {
			syncAll(t, o)
			pushAll(t, o)
		}
	})
	var refused atomic.Bool
	refusals, stored := 0, 0
	type answer struct {
		i   int
		err error
	}
	const window = 200
	answers := make(chan answer, window)
	for next, open := 0, 0; next < given || open > 0; {
		err := error(nil)
		for err == nil && next < given && open < window && !refused.Load() {
			i := next
			b := batch(padded(fmt.Sprint("W", i), fmt.Sprint("e", i), 1795000000, 4000))
			b.Refused = &refused
			if err = o.Submit(b, func(_ scan.Stored, err error) { answers <- answer{i, err} }); err == nil {
				next, open = next+1, open+1
			}
		}
		if open == 0 { // it took none
			refused.Store(false)
			<-o.Room()
			continue
		}
		first := next
		for again := refused.Load() || err != nil; open > 0; {
			a := <-answers
			open--
			switch {
			case a.err == nil:
				if a.i != stored {
					t.Fatalf("%d is stored behind %d", a.i, stored-1)
				}
				stored++
			case errors.Is(a.err, event.ErrFull):
				refusals++
				first, again = min(first, a.i), true
			default:
				t.Fatal(a.err)
			}
			if !again { // until all are answered only where one was refused
				break
			}
		}
		if next = first; open == 0 {
			refused.Store(false)
		}
	}
	over.Store(true)
	drained.Wait()
	if c := o.Counts(); c.Received != uint64(given) || refusals == 0 {
		t.Fatalf("%d of %d are stored, after %d refusals", c.Received, given, refusals)
	}
}
