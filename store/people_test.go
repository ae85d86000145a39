package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/event"
	"scanrelay/store/quarantine"
)

// dieOne makes the event with number 1 a dead letter.
func dieOne(t *testing.T, o *Outbox) {
	t.Helper()
	syncAll(t, o)
	for _, r := range mustLease(t, o, 100) {
		if r.ID.Seq == 1 {
			err := o.Settle(context.Background(), []event.Settlement{{Seq: 1, Outcome: event.Dead, Attempts: 5, Last: event.Reply{Reason: "refused data", ErrCode: 932003, RID: "rid-1"}}})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestRequeue(t *testing.T) {
	dir := t.TempDir()
	c := newTestClock()
	o := open(t, dir, small(c))
	mustAppend(t, o, newEvent("A", "a1", 100), newEvent("A", "a2", 200))
	dieOne(t, o)
	pushAll(t, o) // a2 was pushed meanwhile
	ids := o.DeadIDs()
	if len(ids) != 1 || ids[0].Seq != 1 {
		t.Fatalf("dead: %v", ids)
	}
	n, err := o.Requeue(context.Background(), ids[0], event.ID{Epoch: ids[0].Epoch, Seq: 2}, event.ID{Epoch: 1, Seq: 1}, event.ID{Epoch: ids[0].Epoch, Seq: 99})
	if n != 1 || !errors.Is(err, event.ErrNotDead) || !errors.Is(err, event.ErrUnknownID) {
		t.Errorf("%d, %v", n, err)
	}
	check := func() {
		t.Helper()
		if newest, ok, err := o.Newer("A", 1); err != nil || !ok || newest != 200 {
			t.Errorf("newer: %d %t, though a2 was pushed", newest, ok)
		}
		r := mustLease(t, o, 1)
		if len(r) != 1 || r[0].Attempts != 0 || !r[0].RetriedAt.Equal(c.Now()) || r[0].State != event.ToPush {
			t.Fatalf("leased %+v", r)
		}
	}
	check()
	closeChecked(t, o)
	o = open(t, dir, small(c))
	check()
	settle(t, o, event.Dead, event.Record{ID: event.ID{Seq: 1}})
	if got := o.Counts(); got.Requeued != 1 || got.Settled[event.Dead] != 2 || got.State[event.Dead] != 1 || got.State[event.Pushed] != 1 {
		t.Errorf("%+v", got)
	}
}

// Dead letters that are put back together appear at once, in whatever order they
// are named: else a later one of a waybill could be leased before the first.
func TestRequeueKeepsOrder(t *testing.T) {
	const n = 500
	o := open(t, fastDir(t), small(newTestClock()))
	var events []scan.Event
	var ended []event.Settlement
	for i := range n {
		events = append(events, newEvent("A", fmt.Sprint(i), int64(100+i)))
		ended = append(ended, event.Settlement{Seq: uint64(i + 1), Outcome: event.Dead})
	}
	mustAppend(t, o, events...)
	if err := o.Synced(n, ended, nil); err != nil {
		t.Fatal(err)
	}
	first := make(chan uint64)
	go func() {
		defer close(first)
		for {
			r, err := o.Lease(1, time.Minute)
			if err != nil {
				t.Error(err)
				return
			}
			if len(r) > 0 {
				first <- r[0].ID.Seq
				return
			}
		}
	}()
	ids := o.DeadIDs()
	slices.Reverse(ids)
	if got, err := o.Requeue(context.Background(), ids...); got != n || err != nil {
		t.Fatal(got, err)
	}
	if seq := <-first; seq != 1 {
		t.Errorf("%d is leased first", seq)
	}
}

func TestDiscard(t *testing.T) {
	dir := t.TempDir()
	c := newTestClock()
	o := open(t, dir, small(c))
	appendN(t, o, 2)
	dieOne(t, o)
	ids := o.DeadIDs()
	if n, err := o.Discard(context.Background(), "label of another carrier", ids...); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := o.Discard(context.Background(), "again", ids...); n != 0 || !errors.Is(err, event.ErrNotDead) {
		t.Error(n, err)
	}
	closeChecked(t, o)
	o = open(t, dir, small(c))
	discarded := event.Discarded
	got := all(t, o, Filter{State: &discarded})
	if len(got) != 1 || got[0].Last.Reason != "label of another carrier" || got[0].FinishedAt.IsZero() {
		t.Errorf("%+v", got)
	}
}

func TestScanFilters(t *testing.T) {
	dir := t.TempDir()
	c := newTestClock()
	o := open(t, dir, small(c))
	mustAppend(t, o, newEvent("A", "a1", 1), newEvent("B", "b1", 2), newEvent("A", "a2", 3), newEvent("C", "c1", 4))
	if err := o.Synced(3, nil, []uint64{2}); err != nil {
		t.Fatal(err)
	}
	err := o.Settle(context.Background(), []event.Settlement{{Seq: mustLease(t, o, 1)[0].ID.Seq, Outcome: event.NotBound, Attempts: 1, Last: event.Reply{ErrCode: 0, RID: "x"}}})
	if err != nil {
		t.Fatal(err)
	}
	state := func(s event.State) Filter { return Filter{State: &s} }
	for _, w := range []struct {
		name   string
		filter Filter
		want   string
	}{
		{"all", Filter{}, "[1 2 3 4]"},
		{"waybill", Filter{Waybill: "A"}, "[1 3]"},
		{"unsynced", state(event.Unsynced), "[4]"},
		{"waiting", state(event.AwaitingWaybill), "[2]"},
		{"to_push", state(event.ToPush), "[3]"},
		{"finished", state(event.NotBound), "[1]"},
		{"none", state(event.Dead), "[]"},
		{"both", Filter{Waybill: "A", State: state(event.ToPush).State}, "[3]"},
	} {
		t.Run(w.name, func(t *testing.T) {
			if got := fmt.Sprint(seqsOf(all(t, o, w.filter))); got != w.want {
				t.Errorf("got %s, want %s", got, w.want)
			}
		})
	}
	stop := errors.New("stop")
	if err := o.Scan(context.Background(), Filter{}, func(event.Record) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("fn's error: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := o.Scan(ctx, Filter{}, func(event.Record) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("ctx's error: %v", err)
	}
}

func TestQuarantineKeepsWhole(t *testing.T) {
	dir := t.TempDir()
	c := newTestClock()
	o := open(t, dir, small(c))
	want := scan.Reject{Topic: "scans/1", Payload: []byte{0, 0xff, 'x'}, Index: 2, Code: "not_json", Reason: "byte 1: no JSON", ReceivedAt: c.Now()}
	if got, err := o.Append(context.Background(), scan.Batch{Rejects: []scan.Reject{want}}); err != nil || got.Rejected != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	closeChecked(t, o)
	r, err := OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := quarantined(t, r)
	if len(got) != 1 || got[0].Seq != 1 || fmt.Sprintf("%+v", got[0].Reject) != fmt.Sprintf("%+v", want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if c := r.Counts(); c.Rejected != 1 || c.Quarantined != 1 {
		t.Errorf("%+v", c)
	}
}

func quarantined(t *testing.T, o interface {
	Quarantine(context.Context, func(Quarantined) error) error
}) (got []Quarantined) {
	t.Helper()
	err := o.Quarantine(context.Background(), func(q Quarantined) error {
		got = append(got, q)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// Bounded in count and in size; the oldest makes way and is counted.
// Messages without a waybill number, be they heartbeats of a whole depot, take half
// of the quarantine at most, also over a restart and when some of it was replayed.
func TestMessagesWithoutNumbersHaveAShare(t *testing.T) {
	dir, opts := fastDir(t), small(newTestClock())
	opts.QuarantineCount, opts.idleDelay = 20, time.Millisecond
	o := open(t, dir, opts)
	reject := func(n int, code, topic string, size int) {
		t.Helper()
		var b scan.Batch
		for i := range n {
			b.Rejects = append(b.Rejects, scan.Reject{
				Topic: fmt.Sprint(topic, i), Code: code, Payload: []byte(strings.Repeat("x", size)), ReceivedAt: time.Unix(1, 0),
			})
		}
		if _, err := o.Append(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	}
	want := func(others, vacant int, newest string) {
		t.Helper()
		count := map[bool]int{}
		got := quarantined(t, o)
		for _, r := range got {
			count[r.Code == "no_waybill"]++
		}
		if count[false] != others || count[true] != vacant || got[len(got)-1].Topic != newest {
			t.Errorf("%d others, %d without a number, the newest %s", count[false], count[true], got[len(got)-1].Topic)
		}
	}
	reject(8, "not_json", "a", 10)
	reject(50, "no_waybill", "b", 10)
	want(8, 10, "b49")
	if err := o.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	o = open(t, dir, opts)
	reject(50, "no_waybill", "c", 10)
	want(8, 10, "c49")
	reject(2, "not_json", "d", 10)
	want(10, 10, "d1")
	replayed, err := o.Replay(context.Background(), func(e quarantine.Entry) (scan.Batch, bool) {
		return scan.Batch{Ignored: 1}, e.Topic == "c45" || e.Topic == "a3"
	})
	if err != nil || replayed.Left != 2 {
		t.Fatalf("%+v, %v", replayed, err)
	}
	reject(50, "no_waybill", "e", 10)
	want(9, 10, "e49")
	reject(50, "no_waybill", "f", 20<<10) // by size
	got := 0
	for _, r := range quarantined(t, o) {
		if r.Code == "not_json" {
			got++
		}
	}
	if got != 9 {
		t.Errorf("%d others are left", got)
	}
}

func TestQuarantineIsBounded(t *testing.T) {
	for _, c := range []struct {
		name          string
		payload, n    int
		atLeast, most int
	}{
		{"count", 10, 100, 20, 20},
		{"size", 9000, 100, 5, 20},
		{"larger than the file", quarantine.MinSize, 3, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			opts := small(newTestClock())
			opts.QuarantineCount = 20
			o := open(t, dir, opts)
			for i := range c.n {
				r := scan.Reject{Topic: fmt.Sprint(i), Payload: []byte(strings.Repeat("x", c.payload)), ReceivedAt: time.Unix(1, 0)}
				if _, err := o.Append(context.Background(), scan.Batch{Rejects: []scan.Reject{r}}); err != nil {
					t.Fatal(err)
				}
			}
			got := quarantined(t, o)
			if len(got) < c.atLeast || len(got) > c.most {
				t.Errorf("%d kept", len(got))
			}
			if len(got) > 0 && got[len(got)-1].Topic != fmt.Sprint(c.n-1) {
				t.Errorf("the newest is %s", got[len(got)-1].Topic)
			}
			counts := o.Counts()
			if counts.Rejected != uint64(c.n) || counts.Quarantined != uint64(len(got)) || counts.Forgotten != uint64(c.n-len(got)) {
				t.Errorf("%+v", counts)
			}
		})
	}
}

// However many dead letters are put back or discarded at once, each commit has a
// few of them, and order within a waybill holds.
func TestManyDeadLettersAtOnce(t *testing.T) {
	const n = 3000
	opts := small(newTestClock())
	opts.MaxSize = 8 << 20
	largest := 0
	opts.OnCommit = func(_ time.Duration, records int) { largest = max(largest, records) }
	o := open(t, fastDir(t), opts)
	for range 6 {
		b := scan.Batch{}
		for range n / 6 {
			id := fmt.Sprint("e", o.Counts().NextSeq, "-", len(b.Events))
			b.Events = append(b.Events, newEvent(fmt.Sprint("W", len(b.Events)), id, 1795000000))
		}
		mustAppend(t, o, b.Events...)
		syncAll(t, o)
		settle(t, o, event.Dead, mustLease(t, o, n)...)
	}
	largest = 0
	if done, err := o.Requeue(context.Background(), o.DeadIDs()...); done != n || err != nil {
		t.Fatalf("%d put back, %v", done, err)
	}
	last := map[scan.WaybillID]uint64{}
	for records := mustLease(t, o, n); len(records) > 0; records = mustLease(t, o, n) {
		for _, r := range records {
			if r.ID.Seq < last[r.Event.Waybill] {
				t.Errorf("%s: %d comes after %d", r.Event.Waybill, r.ID.Seq, last[r.Event.Waybill])
			}
			last[r.Event.Waybill] = r.ID.Seq
		}
		settle(t, o, event.Dead, records...)
	}
	if done, err := o.Discard(context.Background(), "old", o.DeadIDs()...); done != n || err != nil {
		t.Fatalf("%d discarded, %v", done, err)
	}
	if largest > stepNotes {
		t.Errorf("a commit had %d records", largest)
	}
}
