package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/judge"
)

// How long a read may take in all: WeChat waits 5 s for its answer, and a depot,
// which asks for much at once, 30 s.
const (
	readLimit  = 1500 * time.Millisecond
	depotLimit = 12 * time.Second
)

// within runs a read of somebody who is not WeChat. Lookups have connections of their own;
// of the others one is left to who writes, whatever the database keeps those waiting for
// that read.
func within[T any](ctx context.Context, s *Store, limit time.Duration, read func(ctx context.Context) (T, error)) (v T, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := s.enter(ctx); err != nil {
		return v, err
	}
	defer s.leave()
	return again(ctx, s, limit, read)
}

func (s *Store) enter(ctx context.Context) error {
	select {
	case s.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Store) leave() { <-s.places }

// again runs a read, again where a connection turned out to be dead: those of a
// database that was restarted do.
func again[T any](ctx context.Context, s *Store, limit time.Duration, read func(ctx context.Context) (T, error)) (v T, err error) {
	if err := s.usable(); err != nil {
		return v, err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for range 3 {
		for again := true; again; again = s.missedKey(ctx, err) { // for each key that is missing
			v, err = read(ctx)
		}
		if !away(err) || ctx.Err() != nil {
			break
		}
		s.dead(err)
	}
	if away(err) {
		s.tell("read from the database", err)
	}
	return v, err
}

func (s *Store) read(ctx context.Context, keys judge.Keys) (*loaded, error) {
	return within(ctx, s, depotLimit, func(ctx context.Context) (*loaded, error) { return s.load(ctx, s.pool, keys) })
}

// Lookup implements [snapshot.Store]: one round trip, for a parcel two. While the
// database is away it answers with what was read of it a moment ago.
func (s *Store) Lookup(ctx context.Context, id scan.WaybillID) (snapshot.Waybill, bool, error) {
	st, err := s.lookup(ctx, id)
	if mother := st.MotherID(); err == nil && mother != "" {
		id = mother
		st, err = s.lookup(ctx, id)
	}
	if err == nil && st.LostData() {
		err = snapshot.ErrDamaged
	}
	switch {
	case err != nil:
		return snapshot.Waybill{}, false, fmt.Errorf("look up waybill: %w", err)
	case st == nil:
		return snapshot.Waybill{}, false, nil
	}
	return st.View(id), true, nil
}

func (s *Store) lookup(ctx context.Context, id scan.WaybillID) (*judge.State, error) {
	if snapshot.BadID(id) != "" {
		return nil, s.usable()
	}
	st, err := again(ctx, s, readLimit, func(ctx context.Context) (*judge.State, error) {
		began := s.o.Now()
		var state []byte
		var version int64
		switch err := s.lookups.QueryRow(ctx, sqlLookup, string(id)).Scan(&state, &version); {
		case errors.Is(err, pgx.ErrNoRows):
			return nil, nil
		case err != nil:
			return nil, err
		}
		st, err := s.decodeState(id, state, false)
		if err == nil {
			s.cache.put(id, entry{state: st, version: int64(s.number(rowOf(id), uint64(version))), at: began})
		}
		return st, err
	})
	if away(err) && ctx.Err() == nil && s.usable() == nil {
		// That there is no data may have changed: another process imports.
		if kept := s.cache.get(id); kept.HasData() || kept.MotherID() != "" {
			return kept, nil
		}
	}
	return st, err
}

// Answers implements [snapshot.Store].
func (s *Store) Answers(ctx context.Context, depot scan.DepotID, asks []snapshot.Ask) ([]snapshot.Answer, error) {
	var keys judge.Keys
	for i := range asks {
		keys.Waybills = append(keys.Waybills, asks[i].Waybill)
		keys.Numbers = append(keys.Numbers, judge.Number{Depot: depot, Epoch: asks[i].Epoch, Seq: asks[i].Seq})
	}
	l, err := s.read(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("read answers: %w", err)
	}
	out := make([]snapshot.Answer, len(asks))
	for i := range asks {
		st := l.Waybills[asks[i].Waybill]
		kept, known := l.Answers[keys.Numbers[i]]
		out[i] = st.Answer(l.Waybills[st.MotherID()], depot, &asks[i], kept, known)
	}
	return out, nil
}

// Known implements [snapshot.Store].
func (s *Store) Known(ctx context.Context, depot scan.DepotID, ids []scan.WaybillID) ([]snapshot.Known, error) {
	out, err := within(ctx, s, depotLimit, func(ctx context.Context) ([]snapshot.Known, error) { return s.known(ctx, depot, ids) })
	if err != nil {
		return nil, fmt.Errorf("read waybills: %w", err)
	}
	return out, nil
}

func (s *Store) known(ctx context.Context, depot scan.DepotID, ids []scan.WaybillID) (out []snapshot.Known, err error) {
	l, err := s.load(ctx, s.pool, judge.Keys{Waybills: ids})
	if err != nil {
		return nil, err
	}
	var phones []judge.PhoneKey
	for _, id := range ids {
		st := l.Waybills[id]
		if mother := st.MotherID(); mother != "" && l.Waybills[mother].Scanned(depot) {
			out = append(out, snapshot.Known{Waybill: id, Parcel: true})
			phones = append(phones, judge.PhoneKey{})
		}
		if st.HasData() && st.Scanned(depot) {
			out = append(out, snapshot.Known{Waybill: id, Data: *st.Data})
			phones = append(phones, judge.KeyOf(s.phoneSecret, st.Data.Receiver.Phone))
		}
	}
	var b pgx.Batch
	l.askBindings(&b, phones)
	if err := send(ctx, s.pool, &b); err != nil {
		return nil, err
	}
	for i := range out {
		if v, ok := l.Bindings[phones[i]]; ok && !out[i].Parcel {
			out[i].Binding = v.View()
		}
	}
	return out, nil
}

// Depots implements [snapshot.Store].
func (s *Store) Depots(ctx context.Context) ([]snapshot.Depot, error) {
	all, err := within(ctx, s, depotLimit, s.depots)
	if err != nil {
		return nil, fmt.Errorf("read depots: %w", err)
	}
	out := make([]snapshot.Depot, 0, len(all))
	for _, id := range slices.Sorted(maps.Keys(all)) {
		out = append(out, all[id].View(id))
	}
	return out, nil
}

// Depot implements [snapshot.Store].
func (s *Store) Depot(ctx context.Context, id scan.DepotID) (snapshot.Depot, bool, error) {
	if !id.Valid() {
		return snapshot.Depot{}, false, nil
	}
	l, err := s.read(ctx, judge.Keys{Depots: []scan.DepotID{id}})
	if err != nil {
		return snapshot.Depot{}, false, fmt.Errorf("read a depot: %w", err)
	}
	d, ok := l.Depots[id]
	if !ok {
		return snapshot.Depot{}, false, nil
	}
	return d.View(id), true, nil
}

// depots reads every depot's numbering.
func (s *Store) depots(ctx context.Context) (map[scan.DepotID]*judge.Numbering, error) {
	l := s.newLoaded()
	var b pgx.Batch
	b.Queue(sqlAllDepots).Query(l.scanDepots)
	return l.Depots, send(ctx, s.pool, &b)
}
