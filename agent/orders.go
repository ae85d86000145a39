package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
	"scanrelay/store"
	"scanrelay/uplink/syncapi"
	"scanrelay/uplink/syncapi/order"
)

// orders does what operators at the centre want done with dead letters, and tells what
// became of scans that they ask about. The sync relay
// brings what is open; each is done once, and told until the centre lists it no more.
type orders struct {
	outbox deadLetters
	log    *slog.Logger
	kick   chan struct{} // capacity 1: there may be something to do

	mu     sync.Mutex // guards what follows
	listed []order.Order
	done   []order.Done // the newest last
	look   []scan.WaybillID
	looked map[scan.WaybillID][]order.Looked // of those alone that look has
}

// deadLetters are an outbox'; *store.Outbox has them.
type deadLetters interface {
	Scan(ctx context.Context, f store.Filter, fn func(store.Record) error) error
	Requeue(ctx context.Context, ids ...store.ID) (int, error)
	Discard(ctx context.Context, reason string, ids ...store.ID) (int, error)
}

// maxRemembered is how many orders are known to be done: an answer may still list them
// that was on its way, or that another process of the centre gave.
const maxRemembered = 4 * order.MaxOpen

func newOrders(outbox deadLetters, log *slog.Logger) *orders {
	return &orders{outbox: outbox, log: log, kick: make(chan struct{}, 1), looked: map[scan.WaybillID][]order.Looked{}}
}

// Take implements sync.Orders.
func (o *orders) Take(resp *syncapi.Response) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.listed, o.look = resp.Orders, resp.Look
	maps.DeleteFunc(o.looked, func(id scan.WaybillID, _ []order.Looked) bool { return !slices.Contains(o.look, id) })
	if len(o.listed)+len(o.look) > 0 {
		wait.Signal(o.kick)
	}
}

// Tell implements sync.Orders.
func (o *orders) Tell(req *syncapi.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, l := range o.listed {
		if i := o.find(l.ID); i >= 0 {
			req.Done = append(req.Done, o.done[i])
		}
	}
	for _, id := range o.look {
		req.Looked = append(req.Looked, o.looked[id]...)
	}
}

// find is where an order stands among those that are done; mu is held.
func (o *orders) find(id string) int {
	return slices.IndexFunc(o.done, func(d order.Done) bool { return d.ID == id })
}

// next is an order that is to be done.
func (o *orders) next() (order.Order, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, l := range o.listed {
		if o.find(l.ID) < 0 {
			return l, true
		}
	}
	return order.Order{}, false
}

// see looks at what the centre asks about.
func (o *orders) see(ctx context.Context) {
	o.mu.Lock()
	look := slices.DeleteFunc(slices.Clone(o.look), func(id scan.WaybillID) bool { return o.looked[id] != nil })
	o.mu.Unlock()
	for _, id := range look {
		told := []order.Looked{{Waybill: id}}
		err := o.outbox.Scan(ctx, store.Filter{Waybill: id}, func(r store.Record) error {
			f := order.Fate{EventID: r.Event.EventID, Outcome: r.State.String(), Attempts: r.Attempts, ErrCode: r.Last.ErrCode}
			if !r.FinishedAt.IsZero() {
				f.Time = r.FinishedAt.Unix()
			}
			told = append(told, order.Looked{Waybill: id, Fate: f})
			return nil
		})
		if err != nil {
			continue // it is asked again, or ends
		}
		if len(told) > 1 {
			told = told[max(1, len(told)-order.MaxFates):]
		}
		o.mu.Lock()
		if slices.Contains(o.look, id) {
			o.looked[id] = told
		}
		o.mu.Unlock()
	}
}

// run does orders, one at a time, and looks, until ctx ends.
func (o *orders) run(ctx context.Context) error {
	for {
		o.see(ctx)
		next, ok := o.next()
		if !ok {
			select {
			case <-o.kick:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		n, err := o.do(ctx, next)
		if ctx.Err() != nil || errors.Is(err, store.ErrClosed) || errors.Is(err, store.ErrFailed) {
			return nil // it is done after the next start, or was
		}
		d := order.Done{ID: next.ID, Count: int64(n)}
		if err != nil {
			d.Error = order.Words(err.Error())
		}
		o.log.Info("dead letters changed by an operator at the centre", "order", next.ID, "do", next.Do, "count", n, "error", d.Error)
		o.mu.Lock()
		o.done = append(o.done, d)
		o.done = o.done[max(0, len(o.done)-maxRemembered):]
		o.mu.Unlock()
	}
}

func (o *orders) do(ctx context.Context, what order.Order) (n int, err error) {
	var ids []store.ID
	for _, text := range what.Events {
		id, err := store.ParseID(text)
		if err != nil {
			return 0, err
		}
		ids = append(ids, id)
	}
	if what.All {
		dead := store.Dead
		err = o.outbox.Scan(ctx, store.Filter{State: &dead}, func(r store.Record) error { ids = append(ids, r.ID); return nil })
		if err != nil {
			return 0, err
		}
	}
	switch {
	case what.Do == order.Retry && len(ids) > 0:
		n, err = o.outbox.Requeue(ctx, ids...)
	case what.Do == order.Discard && len(ids) > 0:
		n, err = o.outbox.Discard(ctx, what.Reason, ids...)
	case what.Do != order.Retry && what.Do != order.Discard:
		return 0, fmt.Errorf("this version knows no order %q", what.Do)
	}
	if n < len(ids) && (errors.Is(err, store.ErrNotDead) || errors.Is(err, store.ErrUnknownID)) {
		err = fmt.Errorf("%d are no dead letters here, or not any more", len(ids)-n) // rather than a line for each
	}
	return n, err
}
