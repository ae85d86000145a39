package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/event"
	"scanrelay/store/internal/storetest"
)

// When Append has returned, another process finds the event on disk.
func TestAppendedIsOnDisk(t *testing.T) {
	dir := t.TempDir()
	c := newTestClock()
	o := open(t, dir, small(c))
	want := storetest.FullEvent()
	want.Clockless, want.Weak = nil, scan.WeakKey{}
	mustAppend(t, o, want)
	if err := o.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	r, err := OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := all(t, r, Filter{})
	if len(got) != 1 || got[0].Event.EventID != want.EventID || got[0].Event.Data.Receiver != want.Data.Receiver {
		t.Errorf("got %+v", got)
	}
}

func TestSameIdentityIsStoredOnce(t *testing.T) {
	dir := fastDir(t)
	c := newTestClock()
	o := open(t, dir, small(c))
	ctx := context.Background()
	e := newEvent("W1", "e1", 1795000000)
	for i, want := range []scan.Stored{{Events: 1}, {Duplicate: 1}} {
		if got, err := o.Append(ctx, batch(e)); err != nil || got != want {
			t.Errorf("time %d: %+v, %v", i, got, err)
		}
	}
	// Within one batch, and with the same id on another waybill.
	if got, err := o.Append(ctx, batch(newEvent("W2", "e1", 1), newEvent("W2", "e1", 1))); err != nil || got.Events != 1 || got.Duplicate != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	closeChecked(t, o)
	o = open(t, dir, small(c))
	if got, err := o.Append(ctx, batch(e)); err != nil || got.Duplicate != 1 {
		t.Errorf("after a restart: %+v, %v", got, err)
	}
	if c := o.Counts(); c.Received != 2 || c.Duplicate != 3 {
		t.Errorf("%+v", c)
	}
}

// An event with neither id nor time is the same one only if it was redelivered
// within ten minutes.
func TestWeakKey(t *testing.T) {
	dir := t.TempDir()
	c := newTestClock()
	o := open(t, dir, small(c))
	n := 0
	weak := func(dup bool) scan.Stored {
		n++
		e := newEvent("W1", fmt.Sprint("made-up-", n), 1795000000)
		e.Weak, e.ReceivedAt = scan.WeakKey{7}, c.Now()
		got, err := o.Append(context.Background(), scan.Batch{Events: []scan.Event{e}, Redelivered: dup})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if weak(true).Events != 1 {
		t.Error("a redelivery of what was never stored is stored")
	}
	if weak(false).Events != 1 {
		t.Error("without DUP an equal read is another read")
	}
	if weak(true).Duplicate != 1 {
		t.Error("with DUP it is the same")
	}
	closeChecked(t, o)
	o = open(t, dir, small(c))
	if weak(true).Duplicate != 1 {
		t.Error("with DUP it is the same after a restart")
	}
	c.advance(weakWindow + time.Second)
	if weak(true).Events != 1 {
		t.Error("after ten minutes it is another read")
	}
}

// Answers come in order of submission, each once.
func TestSubmitAnswersInOrder(t *testing.T) {
	o := open(t, t.TempDir(), small(newTestClock()))
	var got []int
	var wg sync.WaitGroup
	for i := range 500 {
		wg.Add(1)
		err := o.Submit(batch(newEvent("W", fmt.Sprint(i), int64(i))), func(s scan.Stored, err error) {
			if err != nil || s.Events != 1 {
				t.Errorf("%d: %+v %v", i, s, err)
			}
			got = append(got, i) // only the committer's goroutine does this
			wg.Done()
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	for i := range got {
		if got[i] != i {
			t.Fatalf("answer %d is of batch %d", i, got[i])
		}
	}
}

// Many producers share commits, and a lone one does not wait for company.
func TestGroupCommit(t *testing.T) {
	var mu sync.Mutex
	commits, records := 0, 0
	opts := small(newTestClock())
	opts.OnCommit = func(_ time.Duration, n int) {
		mu.Lock()
		defer mu.Unlock()
		commits++
		records += n
	}
	o := open(t, t.TempDir(), opts)
	var wg sync.WaitGroup
	for p := range 50 {
		wg.Go(func() {
			for i := range 20 {
				mustAppend(t, o, newEvent("W", fmt.Sprint(p, "-", i), 1))
			}
		})
	}
	wg.Wait()
	mu.Lock()
	defer mu.Unlock()
	if records != 1000 || commits > 500 {
		t.Errorf("%d records in %d commits", records, commits)
	}
}

// A batch that is larger than a commit is stored in parts and answered once.
func TestLargeBatch(t *testing.T) {
	o := open(t, fastDir(t), small(newTestClock()))
	var events []scan.Event
	for i := range 300 {
		events = append(events, padded("W", fmt.Sprint(i), 1, 20_000))
	}
	got, err := o.Append(context.Background(), batch(events...))
	if err != nil || got.Events != 300 {
		t.Fatalf("%+v, %v", got, err)
	}
	if got := all(t, o, Filter{}); len(got) != 300 || got[299].Event.EventID != "299" {
		t.Errorf("%d records", len(got))
	}
}

func TestEventTooLargeIsRefusedWhole(t *testing.T) {
	o := open(t, t.TempDir(), small(newTestClock()))
	_, err := o.Append(context.Background(), batch(newEvent("W", "a", 1), padded("W", "b", 1, maxEventSize+1)))
	if !errors.Is(err, errTooLarge) {
		t.Errorf("got %v", err)
	}
	if c := o.Counts(); c.Received != 0 {
		t.Errorf("%+v", c)
	}
	mustAppend(t, o, newEvent("W", "a", 1)) // was not remembered as stored
	if c := o.Counts(); c.Received != 1 {
		t.Errorf("%+v", c)
	}
}

// What was taken is committed, what was not is refused: whenever Close comes.
func TestCloseLosesNothing(t *testing.T) {
	for after := range 20 {
		dir := fastDir(t)
		o := open(t, dir, small(newTestClock()))
		ledger := newLedger(after * 7)
		var wg sync.WaitGroup
		for p := range 4 {
			wg.Go(func() { appendUntilClosed(t, o, p, ledger) })
		}
		<-ledger.enough
		if err := o.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		r, err := OpenReadOnly(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range all(t, r, Filter{}) {
			delete(ledger.ids, rec.Event.EventID)
		}
		if len(ledger.ids) > 0 {
			t.Errorf("acknowledged and gone: %v", ledger.ids)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// ledger is what was acknowledged, kept outside of the outbox.
type ledger struct {
	mu     sync.Mutex
	ids    map[string]bool
	wait   int
	enough chan struct{} // closed once more than wait were acknowledged
}

func newLedger(wait int) *ledger {
	return &ledger{ids: map[string]bool{}, wait: wait, enough: make(chan struct{})}
}

func (l *ledger) add(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ids[id] = true
	if len(l.ids) == l.wait+1 {
		close(l.enough)
	}
}

func appendUntilClosed(t *testing.T, o *Outbox, producer int, l *ledger) {
	for i := 0; ; i++ {
		id := fmt.Sprint(producer, "-", i)
		_, err := o.Append(context.Background(), batch(newEvent("W", id, 1)))
		if errors.Is(err, event.ErrClosed) {
			return
		}
		if err != nil {
			t.Error(err)
			return
		}
		l.add(id)
	}
}

func TestCountersOfWhatIsNotStored(t *testing.T) {
	dir := t.TempDir()
	c := newTestClock()
	o := open(t, dir, small(c))
	got, err := o.Append(context.Background(), scan.Batch{Ignored: 3})
	if err != nil || got != (scan.Stored{}) {
		t.Fatalf("%+v, %v", got, err)
	}
	closeChecked(t, o)
	o = open(t, dir, small(c))
	if c := o.Counts(); c.Ignored != 3 {
		t.Errorf("%+v", c)
	}
}
