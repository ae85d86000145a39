package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/judge"
	"scanrelay/store/snapshot/values"
)

// How many rows one call of Forget looks at.
const (
	sweepWaybills = 1_000
	sweepRows     = 5_000
)

// stepLimit is how long one call may take.
const stepLimit = 30 * time.Second

// round is one walk of Forget through what is old.
type round struct {
	begun  bool
	before int64 // unix seconds
	stage  int   // in stages
}

// stages are what a round goes through, one after the other; each call takes a part,
// and tells whether it was the last.
var stages = []func(s *Store, ctx context.Context, before int64) (f snapshot.Forgotten, last bool, err error){
	(*Store).forgetWaybills, (*Store).forgetBindings, (*Store).forgetAnswers,
}

const (
	leaseForget = "forget"
	leaseLife   = 5 * time.Minute
)

// Forget implements [snapshot.Store]. One process does it for all: for the others
// there is nothing to do.
func (s *Store) Forget(ctx context.Context, keep snapshot.Retention) (f snapshot.Forgotten, err error) {
	s.roundMu.Lock()
	defer s.roundMu.Unlock()
	if err := s.usable(); err != nil {
		return f, err
	}
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	if f, err = s.forget(ctx, keep); err != nil {
		return f, fmt.Errorf("forget: %w", err)
	}
	return f, nil
}

func (s *Store) forget(ctx context.Context, keep snapshot.Retention) (f snapshot.Forgotten, err error) {
	tag, err := s.pool.Exec(ctx, sqlLease, leaseForget, s.holder, leaseLife.Milliseconds())
	if err != nil || tag.RowsAffected() == 0 {
		s.round = round{}
		s.holdUp("")
		return snapshot.Forgotten{Done: true}, err
	}
	if s.clear {
		return f, s.encrypt(ctx)
	}
	r := &s.round
	if !r.begun {
		before, err := s.moveHorizon(ctx, keep)
		if err != nil {
			return f, err
		}
		*r = round{begun: true, before: before}
	}
	f, last, err := stages[r.stage](s, ctx, r.before)
	if err != nil || !last {
		return f, err
	}
	if r.stage++; r.stage == len(stages) {
		*r, f.Done = round{}, true
	}
	return f, nil
}

// holdUp notes why nothing is forgotten.
func (s *Store) holdUp(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if why != "" && s.held == "" {
		s.o.Logger.Error("forgetting is held up", "why", why)
	}
	s.held = why
}

// moveHorizon returns what may be forgotten in this round: all before that time.
func (s *Store) moveHorizon(ctx context.Context, keep snapshot.Retention) (before int64, err error) {
	meta, err := s.meta(ctx)
	if err != nil {
		return 0, err
	}
	depots, err := s.depots(ctx)
	if err != nil {
		return 0, fmt.Errorf("read depots: %w", err)
	}
	e := judge.Evidence{Clock: s.o.Now().Unix(), Depots: judge.DepotsTime(depots)}
	if !keep.WeChat.IsZero() {
		e.WeChat = keep.WeChat.Unix()
	}
	if err := s.dueAgain(ctx, max(e.Clock, e.Depots, e.WeChat)); err != nil {
		return 0, fmt.Errorf("look at what is never due: %w", err)
	}
	was := values.DecodeHorizon([]byte(metaHorizon), meta[metaHorizon])
	h, held := was.Next(e, keep.Keep)
	if err := s.forgetLost(ctx, meta, h.At); err != nil {
		return 0, err
	}
	if s.holdUp(held); h == was {
		return h.At, nil
	}
	_, err = s.pool.Exec(ctx, sqlPutMeta, metaHorizon, values.EncodeHorizon([]byte(metaHorizon), h))
	return h.At, err
}

// dueAgain finds, some in each round, rows whose hour lies so far ahead that nobody can
// have written it: nothing else would look at them again. They are due as if they were new.
func (s *Store) dueAgain(ctx context.Context, now int64) error {
	for _, sql := range []string{sqlDueWaybills, sqlDueBindings, sqlDueAnswers} {
		tag, err := s.pool.Exec(ctx, sql, hourOf(now), hourOf(now)+dueAhead, sweepRows)
		if err != nil {
			return err
		}
		if n := tag.RowsAffected(); n > 0 {
			s.o.Logger.Warn("rows had an hour far ahead to be looked at again, which is put right", "rows", n)
		}
	}
	return nil
}

// dueAhead is how many hours ahead a process may write, whose clock is.
const dueAhead = 48

// forgetWaybills looks at those whose hour has come: what changed since gets another
// hour, the rest goes, unless somebody changes it just now. What cannot be read, or
// whose mother cannot, stays, and is looked at again a day later.
func (s *Store) forgetWaybills(ctx context.Context, before int64) (f snapshot.Forgotten, last bool, err error) {
	l := s.newLoaded()
	l.peek = true // an age needs no key
	var b pgx.Batch
	b.Queue(sqlAged, hourOf(before), sweepWaybills).Query(l.scanWaybills)
	if err := send(ctx, s.pool, &b); err != nil {
		return f, false, err
	}
	aged := slices.Collect(maps.Keys(l.waybills))
	if err := l.mothers(ctx, s.pool); err != nil {
		return f, false, err
	}
	var old, young []string
	var versions []int64
	var due []int32
	for _, id := range sorted(aged) {
		id := scan.WaybillID(id)
		st := l.Waybills[id]
		at := max(st.LastSign(), l.Waybills[st.MotherID()].LastSign())
		if l.bad[id] != nil || l.bad[st.MotherID()] != nil {
			at = before + 24*3600
		}
		if at >= before {
			young, due = append(young, string(id)), append(due, max(hourOf(at), hourOf(before)))
		} else {
			old, versions = append(old, string(id)), append(versions, l.waybills[id])
		}
	}
	if len(young) > 0 {
		if _, err := s.pool.Exec(ctx, sqlKeepWaybills, young, due); err != nil {
			return f, false, err
		}
	}
	if len(old) > 0 {
		var b pgx.Batch
		b.Queue(sqlForgetWaybills, old, versions).Exec(func(tag pgconn.CommandTag) error {
			f.Waybills = int(tag.RowsAffected())
			return nil
		})
		for _, id := range old {
			if id := scan.WaybillID(id); l.Waybills[id].Anew {
				forgetAside(&b, id)
			}
		}
		if err := send(ctx, s.pool, &b); err != nil {
			return f, false, err
		}
	}
	return f, len(aged) < sweepWaybills, nil
}

func (s *Store) forgetBindings(ctx context.Context, before int64) (f snapshot.Forgotten, last bool, err error) {
	tag, err := s.pool.Exec(ctx, sqlForgetBindings, hourOf(before), sweepRows)
	f.Bindings = int(tag.RowsAffected())
	return f, f.Bindings < sweepRows, err
}

func (s *Store) forgetAnswers(ctx context.Context, before int64) (f snapshot.Forgotten, last bool, err error) {
	tag, err := s.pool.Exec(ctx, sqlForgetAnswers, hourOf(before), sweepRows)
	f.Answers = int(tag.RowsAffected())
	return f, f.Answers < sweepRows, err
}
