package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store"
	"scanrelay/uplink/syncapi"
	"scanrelay/uplink/syncapi/order"
)

// fakeDead is an outbox with dead letters.
type fakeDead struct {
	dead    map[store.ID]bool
	calls   int
	looks   int
	records map[scan.WaybillID][]store.Record
	err     error
}

func (f *fakeDead) Scan(_ context.Context, of store.Filter, fn func(store.Record) error) error {
	if of.Waybill != "" {
		f.looks++
		for _, r := range f.records[of.Waybill] {
			if err := fn(r); err != nil {
				return err
			}
		}
		return f.err
	}
	for id := range f.dead {
		if err := fn(store.Record{ID: id}); err != nil {
			return err
		}
	}
	return f.err
}

func (f *fakeDead) end(ids []store.ID) (n int, err error) {
	f.calls++
	for _, id := range ids {
		if !f.dead[id] {
			err = errors.Join(err, fmt.Errorf("%s: %w", id, store.ErrNotDead))
			continue
		}
		delete(f.dead, id)
		n++
	}
	return n, errors.Join(err, f.err)
}

func (f *fakeDead) Requeue(_ context.Context, ids ...store.ID) (int, error) { return f.end(ids) }

func (f *fakeDead) Discard(_ context.Context, _ string, ids ...store.ID) (int, error) {
	return f.end(ids)
}

// TestOrders: each order is done once, however often the centre lists it, and told as
// long as it does.
func TestOrders(t *testing.T) {
	ids := make([]store.ID, 5)
	f := &fakeDead{dead: map[store.ID]bool{}}
	for i := range ids {
		ids[i] = store.ID{Epoch: 7, Seq: uint64(i + 1)}
		f.dead[ids[i]] = true
	}
	synctest.Test(t, func(t *testing.T) {
		o := newOrders(f, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- o.run(ctx) }()
		told := func(list ...order.Order) []order.Done {
			o.Take(&syncapi.Response{Orders: list})
			synctest.Wait()
			var req syncapi.Request
			o.Tell(&req)
			return req.Done
		}
		two := order.Order{ID: "a", Do: order.Discard, Reason: "returned", Events: []string{ids[0].String(), ids[1].String()}}
		all := order.Order{ID: "b", Do: order.Retry, All: true}
		if done := told(two, all); !slices.Equal(done, []order.Done{{ID: "a", Count: 2}, {ID: "b", Count: 3}}) || len(f.dead) != 0 {
			t.Errorf("%+v", done)
		}
		f.dead[ids[4]] = true // died again
		if done := told(all); len(done) != 1 || f.calls != 2 {
			t.Errorf("listed again: %+v, %d calls", done, f.calls)
		}
		if done := told(); len(done) != 0 {
			t.Errorf("listed no more: %+v", done)
		}
		if done := told(two, all); len(done) != 2 || f.calls != 2 { // as another process of the centre still does
			t.Errorf("listed once more: %+v, %d calls", done, f.calls)
		}
		done := told(
			order.Order{ID: "c", Do: order.Retry, Events: []string{ids[0].String(), ids[4].String()}},
			order.Order{ID: "d", Do: "dance"}, order.Order{ID: "e", Do: order.Retry, Events: []string{"7"}},
			order.Order{ID: "f", Do: order.Retry, All: true},
		)
		for i, says := range []string{"1 are no dead letters here", `knows no order`, "7", ""} {
			if i >= len(done) || !strings.Contains(done[i].Error, says) || says == "" && done[i].Error != "" {
				t.Errorf("%d: %+v, want %q", i, done, says)
			}
		}
		f.dead[ids[1]], f.err = true, store.ErrClosed
		if done := told(order.Order{ID: "g", Do: order.Retry, All: true}); len(done) != 0 {
			t.Errorf("a store that was closed meanwhile: %+v", done)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestLooks: what the centre asks about is looked at once, told as long as it asks, and
// bounded.
func TestLooks(t *testing.T) {
	f := &fakeDead{records: map[scan.WaybillID][]store.Record{
		"W1": {{Event: scan.Event{EventID: "a"}, State: store.Pushed, FinishedAt: time.Unix(7, 0), Attempts: 2}, {Event: scan.Event{EventID: "b"}, State: store.Dead, Last: store.Reply{ErrCode: 932001, Reason: "李四"}}},
		"W2": make([]store.Record, 3*order.MaxFates),
	}}
	synctest.Test(t, func(t *testing.T) {
		o := newOrders(f, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- o.run(ctx) }()
		told := func(ids ...scan.WaybillID) []order.Looked {
			o.Take(&syncapi.Response{Look: ids})
			synctest.Wait()
			var req syncapi.Request
			o.Tell(&req)
			return req.Looked
		}
		want := []order.Looked{{Waybill: "W1", Fate: order.Fate{EventID: "a", Outcome: "pushed", Time: 7, Attempts: 2}}, {Waybill: "W1", Fate: order.Fate{EventID: "b", Outcome: "dead", ErrCode: 932001}}}
		for range 2 {
			if got := told("W1"); !slices.Equal(got, want) || f.looks != 1 {
				t.Errorf("%+v after %d looks", got, f.looks)
			}
		}
		if got := told("none", "W2"); len(got) != 1+order.MaxFates || got[0] != (order.Looked{Waybill: "none"}) {
			t.Errorf("%d told", len(got))
		}
		if got := told(); len(got) != 0 || len(o.looked) != 0 {
			t.Errorf("asked no more: %+v", got)
		}
		if told("W1"); f.looks != 4 {
			t.Errorf("asked anew: %d looks", f.looks)
		}
		f.err = errors.New("the disk")
		if got := told("W2"); len(got) != 0 {
			t.Errorf("what could not be read: %d", len(got))
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
