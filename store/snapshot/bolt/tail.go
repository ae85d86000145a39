package bolt

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"go.etcd.io/bbolt"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/judge"
)

// tail is what is committed to the log and perhaps not merged yet, and all
// depots, merged or not. The committer alone adds to it, the merger alone takes
// away.
type tail struct {
	mu sync.RWMutex
	judge.Facts
	last uint64 // highest number published
}

func newTail() tail { return tail{Facts: judge.NewFacts()} }

func lookIn[K comparable, V any](t *tail, m map[K]V, key K) (V, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	v, ok := m[key]
	return v, ok
}

func (t *tail) lastNumber() uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.last
}

// publish shows what a group changed to everyone.
func (t *tail) publish(changed judge.Facts, last uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.Copy(t.Waybills, changed.Waybills)
	maps.Copy(t.Answers, changed.Answers)
	maps.Copy(t.Bindings, changed.Bindings)
	maps.Copy(t.Depots, changed.Depots)
	t.last = last
}

// view runs fn with a read transaction on waybills.db.
func (s *Store) view(ctx context.Context, fn func(tx *bbolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.usable(); err != nil {
		return err
	}
	return s.waybills.View(fn)
}

// steady runs fn with a transaction that is as new as every look at the tail
// within it: where a merge ended meanwhile, an entry may have left the tail
// after the transaction began, so fn runs again from the start.
func (s *Store) steady(ctx context.Context, fn func(tx *bbolt.Tx)) error {
	for {
		before := s.merged.Load()
		if err := s.view(ctx, func(tx *bbolt.Tx) error { fn(tx); return nil }); err != nil {
			return err
		}
		if s.merged.Load() == before {
			return nil
		}
	}
}

// mergedState reads a waybill from waybills.db; nil if it is not there. A
// damaged one counts as not there: it is set aside when it is written over.
func (s *Store) mergedState(tx *bbolt.Tx, id scan.WaybillID) *judge.State {
	v := tx.Bucket(bucketWaybills).Get([]byte(id))
	if v == nil {
		return nil
	}
	st, err := decodeState(v)
	if err != nil {
		s.damaged("a waybill's value is unreadable: it starts again with nothing")
		return nil
	}
	return st
}

// state reads a waybill, within steady: the tail first, then waybills.db.
func (s *Store) state(tx *bbolt.Tx, id scan.WaybillID) *judge.State {
	if st, ok := lookIn(&s.tail, s.tail.Waybills, id); ok {
		return st
	}
	return s.mergedState(tx, id)
}

func (s *Store) answer(tx *bbolt.Tx, n judge.Number) (judge.Kept, bool) {
	if k, ok := lookIn(&s.tail, s.tail.Answers, n); ok {
		return k, true
	}
	return decodeAnswer(tx.Bucket(bucketAnswers).Get(numberKey(n)))
}

func (s *Store) binding(tx *bbolt.Tx, p judge.PhoneKey) (judge.Binding, bool) {
	if b, ok := lookIn(&s.tail, s.tail.Bindings, p); ok {
		return b, true
	}
	return decodeBinding(tx.Bucket(bucketBindings).Get(p[:]))
}

// Lookup implements [snapshot.Store].
func (s *Store) Lookup(ctx context.Context, id scan.WaybillID) (snapshot.Waybill, bool, error) {
	// An entry leaves the tail only after waybills.db holds it, and the
	// transaction begins after the look at the tail: one of the two has it.
	st, ok := lookIn(&s.tail, s.tail.Waybills, id)
	if !ok {
		err := s.view(ctx, func(tx *bbolt.Tx) error {
			st = s.mergedState(tx, id)
			return nil
		})
		if err != nil {
			return snapshot.Waybill{}, false, fmt.Errorf("look up waybill: %w", err)
		}
	}
	if st == nil {
		return snapshot.Waybill{}, false, nil
	}
	return st.View(id), true, nil
}

// Known implements [snapshot.Store].
func (s *Store) Known(ctx context.Context, ids []scan.WaybillID) ([]snapshot.Known, error) {
	out := make([]snapshot.Known, 0, len(ids))
	err := s.steady(ctx, func(tx *bbolt.Tx) {
		out = out[:0]
		for _, id := range ids {
			st := s.state(tx, id)
			if !st.HasData() {
				continue
			}
			k := snapshot.Known{Waybill: id, Data: *st.Data}
			if b, ok := s.binding(tx, judge.KeyOf(s.phoneSecret, st.Data.Receiver.Phone)); ok {
				k.Binding = b.View()
			}
			out = append(out, k)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read waybill data: %w", err)
	}
	return out, nil
}

// Answers implements [snapshot.Store].
func (s *Store) Answers(ctx context.Context, depot scan.DepotID, asks []snapshot.Ask) ([]snapshot.Answer, error) {
	out := make([]snapshot.Answer, len(asks))
	err := s.steady(ctx, func(tx *bbolt.Tx) {
		for i := range asks {
			ask := &asks[i]
			kept, known := s.answer(tx, judge.Number{Depot: depot, Epoch: ask.Epoch, Seq: ask.Seq})
			out[i] = s.state(tx, ask.Waybill).Answer(depot, ask, kept, known)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("answer asks: %w", err)
	}
	return out, nil
}

// Depots implements [snapshot.Store].
func (s *Store) Depots(context.Context) ([]snapshot.Depot, error) {
	s.tail.mu.RLock()
	out := make([]snapshot.Depot, 0, len(s.tail.Depots))
	for id, d := range s.tail.Depots {
		out = append(out, d.View(id))
	}
	s.tail.mu.RUnlock()
	slices.SortFunc(out, func(x, y snapshot.Depot) int { return cmp.Compare(x.ID, y.ID) })
	return out, nil
}
