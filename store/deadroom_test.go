package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/event"
	"scanrelay/store/quarantine"
)

// pour appends events until n more are stored, and ends each at once. Full for a
// while is no fault, for good it is.
func pour(t *testing.T, o *Outbox, n, size int, outcome event.State) {
	t.Helper()
	for goal := o.Counts().Received + uint64(n); o.Counts().Received < goal; {
		b, next := scan.Batch{}, o.Counts().NextSeq
		for i := range uint64(100) {
			b.Events = append(b.Events, padded(fmt.Sprint("W", next+i), fmt.Sprint("p", next+i), 1795000000, size))
		}
		_, err := o.Append(context.Background(), b)
		if errors.Is(err, ErrFull) {
			select {
			case <-o.Room():
				continue
			case <-time.After(5 * time.Minute):
				t.Fatalf("full for good: %+v", o.Counts())
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		syncAll(t, o)
		drain(t, o, 100, func(int) event.State { return outcome })
	}
}

// Dead letters that nobody looks at: they fill a quarter of the store at most when
// room is needed, then the oldest are discarded, counted and named, and intake goes
// on; all others are there with all that is known of them, over restarts.
func TestDeadLettersLeaveRoom(t *testing.T) {
	sizes := map[string]int{"small": 300, "large": 4000}
	if testing.Short() {
		delete(sizes, "small") // which are many
	}
	for name, size := range sizes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := fastDir(t)
			opts := Options{MaxSize: 8 << 20, QuarantineSize: 1 << 20}
			o := open(t, dir, opts)
			n := 12 << 20 / (size + 1000)     // with the words of WeChat
			pour(t, o, n/6, size, event.Dead) // nothing has to make way yet
			if c := o.Counts(); !c.Crowded {
				t.Errorf("nobody is told of the dead letters: %+v", c)
			}
			pour(t, o, n-n/6, size, event.Dead)
			closeChecked(t, o)
			o = open(t, dir, opts)
			pour(t, o, n/2, size, event.Pushed) // what is dead has to be carried, again and again
			syncAll(t, o)
			drain(t, o, 100, func(int) event.State { return event.Pushed })
			c := o.Counts()
			if c.NoRoom == 0 || c.NoRoom != c.State[event.Discarded] || c.State[event.Dead]+c.NoRoom+c.State[event.Pushed] != c.Received {
				t.Errorf("%+v", c)
			}
			if c.DeadBytes > opts.MaxSize/4 || c.DeadBytes < opts.MaxSize/8 || c.Crowded != (c.DeadBytes > opts.MaxSize/7) {
				t.Errorf("dead letters take %d bytes, crowded %t", c.DeadBytes, c.Crowded)
			}
			dead := event.Dead
			left := all(t, o, Filter{State: &dead})
			if uint64(len(left)) != c.State[event.Dead] || left[0].ID.Seq < c.NoRoom*9/10 {
				t.Errorf("%d dead letters are left from %d on, %d were discarded", len(left), left[0].ID.Seq, c.NoRoom)
			}
			if !slices.ContainsFunc(left, func(r event.Record) bool { return r.Last.ErrCode == 930001 && r.Attempts == 5 }) {
				t.Errorf("it is not known why they died: %+v", left[0])
			}
		})
	}
}

// A record that cannot be read holds its segment no longer than another dead letter
// does: its empty place is carried.
func TestUnreadableIsCarried(t *testing.T) {
	dir := fastDir(t)
	opts := Options{MaxSize: 8 << 20, QuarantineSize: 1 << 20}
	o := open(t, dir, opts)
	mustAppend(t, o, newEvent("W1", "a", 1), newEvent("W2", "b", 2))
	damage(t, o, 1)
	syncAll(t, o)
	pushAll(t, o)
	pour(t, o, 15_000, 300, event.Pushed)
	c := o.Counts()
	if c.State[event.Dead] != 1 || c.Damaged == "" {
		t.Errorf("%+v", c)
	}
	if first := o.journal.Segments()[0].First; first == 1 {
		t.Error("the damaged segment is still there")
	}
	closeChecked(t, o)
	o = open(t, dir, opts)
	if c := o.Counts(); c.State[event.Dead] != 1 {
		t.Errorf("%+v", c)
	}
	if n, err := o.Discard(context.Background(), "lost", o.DeadIDs()...); n != 1 || err != nil {
		t.Error(n, err)
	}
	closeChecked(t, o)
	if r, err := Check(dir); err != nil || !r.Good() {
		t.Errorf("%+v, %v", r, err)
	}
}

// In the smallest store dead letters stop intake no more than in a large one: one
// segment is cleared at a time, however often it is found that there is no room.
func TestDeadLettersInTheSmallestStore(t *testing.T) {
	t.Parallel()
	dir := fastDir(t)
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		now := func() time.Time { return newTestClock().now.Add(time.Since(began)) }
		o := open(t, dir, Options{MaxSize: minMaxSize, Retain: time.Second, QuarantineSize: quarantine.MinSize, Now: now})
		const n = 3000
		for i := 0; i < n; i += 20 {
			b := scan.Batch{}
			for k := range 20 {
				b.Events = append(b.Events, padded(fmt.Sprint("W", i+k), fmt.Sprint("d", i+k), 1795000000, 700))
			}
			eventually(t, "intake goes on", func() bool {
				_, err := o.Append(t.Context(), b)
				if err != nil && !errors.Is(err, ErrFull) {
					t.Fatal(err)
				}
				return err == nil
			})
			syncAll(t, o)
			eventually(t, "all are dead", func() bool {
				records, err := o.Lease(20, time.Minute)
				if err != nil && !errors.Is(err, ErrFull) {
					t.Fatal(err)
				}
				settle(t, o, event.Dead, records...)
				return err == nil && len(records) == 0
			})
		}
		if c := o.Counts(); c.Received != n || c.State[event.Dead]+c.NoRoom != n || c.NoRoom < 1000 || c.DeadBytes < minMaxSize/8 {
			t.Errorf("%+v", c)
		}
	})
}
