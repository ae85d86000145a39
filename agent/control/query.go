package control

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"scanrelay/agent/scan"
	"scanrelay/store"
)

// Reader is what looking needs of a store; *store.Outbox and *store.Reader
// have it.
type Reader interface {
	Counts() store.Counts
	// Scan calls fn for stored events in sequence order. It holds nothing of
	// the store while fn runs.
	Scan(ctx context.Context, f store.Filter, fn func(store.Record) error) error
	Quarantine(ctx context.Context, fn func(store.Quarantined) error) error
}

// Outbox is what working on dead letters needs besides.
type Outbox interface {
	Reader
	Requeue(ctx context.Context, ids ...store.ID) (int, error)
	Discard(ctx context.Context, reason string, ids ...store.ID) (int, error)
}

// ErrUnknownWaybill: the store holds no event of the waybill.
var ErrUnknownWaybill = errors.New("no event of this waybill is stored here")

// maxNodes bounds how many nodes of one waybill are shown.
const maxNodes = 10000

// states lists the words that `events --state` takes.
func states() (names []string) {
	for _, s := range append([]store.State{store.Unsynced, store.AwaitingWaybill, store.ToPush}, store.Outcomes()...) {
		names = append(names, s.String())
	}
	return append(names, StateRejected)
}

// CheckState says which states there are when name is none; "" is every state.
func CheckState(name string) error {
	if _, ok := store.ParseState(name); ok || name == "" || name == StateRejected {
		return nil
	}
	return fmt.Errorf("unknown state %q; it may be %s", name, strings.Join(states(), ", "))
}

// events calls fn for each stored event in that state, or each Rejected.
func events(ctx context.Context, r Reader, state string, reveal bool, fn func(any) error) error {
	if state == StateRejected {
		return r.Quarantine(ctx, func(q store.Quarantined) error { return fn(RejectedOf(&q, reveal)) })
	}
	var f store.Filter
	if s, ok := store.ParseState(state); ok {
		f.State = &s
	}
	return r.Scan(ctx, f, func(rec store.Record) error { return fn(eventOf(&rec, reveal)) })
}

// scanDead calls fn for each dead letter.
func scanDead(ctx context.Context, r Reader, fn func(*store.Record) error) error {
	dead := store.Dead
	return r.Scan(ctx, store.Filter{State: &dead}, func(rec store.Record) error { return fn(&rec) })
}

func deadLetters(ctx context.Context, r Reader, reveal bool, fn func(any) error) error {
	return scanDead(ctx, r, func(rec *store.Record) error { return fn(NodeOf(rec, reveal)) })
}

// trace collects a waybill's nodes; ErrUnknownWaybill if there are none.
func trace(ctx context.Context, r Reader, waybill string, reveal bool) (Trace, error) {
	id := scan.NormalizeWaybill(waybill)
	t := Trace{WaybillID: string(id), Nodes: []Node{}}
	err := r.Scan(ctx, store.Filter{Waybill: id}, func(rec store.Record) error {
		if len(t.Nodes) < maxNodes {
			t.Nodes = append(t.Nodes, NodeOf(&rec, reveal))
		}
		return nil
	})
	if err == nil && len(t.Nodes) == 0 {
		err = ErrUnknownWaybill
	}
	return t, err
}

// CheckIDs says which of ids is no event id.
func CheckIDs(ids []string) error {
	for _, text := range ids {
		if _, err := store.ParseID(text); err != nil {
			return err
		}
	}
	return nil
}
