package snapshot

import (
	"context"
	"fmt"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"

	"scanrelay/agent/scan"
)

// mergedState reads a waybill from waybills.db; nil if it is not there. A
// damaged one counts as not there: it is set aside when it is written over.
func (b *Bolt) mergedState(tx *bolt.Tx, id scan.WaybillID) *state {
	v := tx.Bucket(bucketWaybills).Get([]byte(id))
	if v == nil {
		return nil
	}
	st, err := decodeState(v)
	if err != nil {
		b.damaged("a waybill's value is unreadable: it starts again with nothing")
		return nil
	}
	return st
}

// storedAnswer reads an answer from the tail or waybills.db.
func (b *Bolt) storedAnswer(tx *bolt.Tx, k triple) (answerValue, bool) {
	if a, ok := b.tail.answer(k); ok {
		return a, true
	}
	return decodeAnswer(tx.Bucket(bucketAnswers).Get(k.key()))
}

func (b *Bolt) storedBinding(tx *bolt.Tx, k phoneKey) (bindingValue, bool) {
	if v, ok := b.tail.binding(k); ok {
		return v, true
	}
	return decodeBinding(tx.Bucket(bucketBindings).Get(k[:]))
}

// state reads a waybill, within steady: the tail first, then waybills.db.
func (b *Bolt) state(tx *bolt.Tx, id scan.WaybillID) *state {
	if st := b.tail.state(id); st != nil {
		return st
	}
	return b.mergedState(tx, id)
}

// view runs fn with a read transaction.
func (b *Bolt) view(ctx context.Context, fn func(tx *bolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := b.usable(); err != nil {
		return err
	}
	return b.waybills.View(fn)
}

// Lookup implements [Store].
func (b *Bolt) Lookup(ctx context.Context, id scan.WaybillID) (Waybill, bool, error) {
	// An entry leaves the tail only after waybills.db holds it, and the
	// transaction begins after the look at the tail: one of the two has it.
	st := b.tail.state(id)
	if st == nil {
		err := b.view(ctx, func(tx *bolt.Tx) error {
			st = b.mergedState(tx, id)
			return nil
		})
		if err != nil {
			return Waybill{}, false, fmt.Errorf("look up waybill: %w", err)
		}
	}
	if st == nil {
		return Waybill{}, false, nil
	}
	return st.view(id), true, nil
}

// Known implements [Store].
func (b *Bolt) Known(ctx context.Context, ids []scan.WaybillID) ([]Known, error) {
	out := make([]Known, 0, len(ids))
	err := b.steady(ctx, func(tx *bolt.Tx) {
		out = out[:0]
		for _, id := range ids {
			st := b.state(tx, id)
			if !st.hasData() {
				continue
			}
			k := Known{Waybill: id, Data: *st.data}
			if v, ok := b.storedBinding(tx, keyOf(b.phoneSecret, st.data.Receiver.Phone)); ok {
				k.Binding = &Binding{Exist: v.exist, At: unix(v.at)}
			}
			out = append(out, k)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read waybill data: %w", err)
	}
	return out, nil
}

// steady runs fn with a transaction that is as new as every look at the tail
// within it: where a merge ended meanwhile, an entry may have left the tail
// after the transaction began, so fn runs again from the start.
func (b *Bolt) steady(ctx context.Context, fn func(tx *bolt.Tx)) error {
	for {
		before := b.merged.Load()
		if err := b.view(ctx, func(tx *bolt.Tx) error { fn(tx); return nil }); err != nil {
			return err
		}
		if b.merged.Load() == before {
			return nil
		}
	}
}

// Answers implements [Store].
func (b *Bolt) Answers(ctx context.Context, depot scan.DepotID, asks []Ask) ([]Answer, error) {
	out := make([]Answer, len(asks))
	err := b.steady(ctx, func(tx *bolt.Tx) {
		for i := range asks {
			out[i] = b.answerAsk(tx, depot, &asks[i])
		}
	})
	if err != nil {
		return nil, fmt.Errorf("answer asks: %w", err)
	}
	return out, nil
}

// answerAsk judges an ask as the package comment of syncapi says.
func (b *Bolt) answerAsk(tx *bolt.Tx, depot scan.DepotID, ask *Ask) Answer {
	st := b.state(tx, ask.Waybill)
	a := Answer{Result: Unknown, HasData: st.hasData()}
	n := st.find(depot, ask.EventID)
	stored, known := b.storedAnswer(tx, triple{depot, ask.Epoch, ask.Seq})
	known = known && stored.ident == identity(ask.Waybill, ask.EventID)
	switch {
	case known && (stored.result == Duplicate || stored.result == Late):
		a.Result = stored.result
	case known && stored.result == Refused:
		a.Result, a.Reason = Refused, reasonFull
	case n != nil && !known && (n.epoch != ask.Epoch || n.seq != ask.Seq):
		a.Result = Duplicate
	case n != nil && st.lateNow(n):
		a.Result = Late
	case n != nil:
		a.Result = Taken
	case known && st != nil && st.since != 0:
		a.Result = Late // it left the path with its life
	}
	return a
}

// Depots implements [Store].
func (b *Bolt) Depots() []Depot {
	t := &b.tail
	t.mu.RLock()
	out := make([]Depot, 0, len(t.depots))
	for id, d := range t.depots {
		out = append(out, d.view(id))
	}
	t.mu.RUnlock()
	slices.SortFunc(out, func(x, y Depot) int { return strings.Compare(string(x.ID), string(y.ID)) })
	return out
}

// Stats implements [Store].
func (b *Bolt) Stats() Stats {
	s := Stats{Waybills: b.count.Load(), Tail: b.tail.lastNumber() - b.merged.Load()}
	if b.usable() == nil {
		size := func(tx *bolt.Tx) error { s.FileBytes += tx.Size(); return nil }
		if b.log.View(size) == nil {
			s.LogBytes = s.FileBytes
			_ = b.waybills.View(size) // a closed file leaves the size out
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s.Damage = slices.Clone(b.damage)
	return s
}
