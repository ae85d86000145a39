package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Which depot waits for the data of which waybill. What a depot declared stands in waiting,
// by depot, where it also stays when the data has come, until the depot has heard of it; and
// in awaited, by waybill, until then. Both are written in this order, each by its key.

// sweepWaiting is how many rows one step of what is too old, or too much, takes.
const sweepWaiting = 5_000

// change runs what writes, again where somebody else changed the same at the same time.
func (s *Store) change(ctx context.Context, do func(ctx context.Context, q querier) error) error {
	if err := s.usable(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, documentLimit)
	defer cancel()
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	for {
		conn, err := s.acquire(ctx)
		if err != nil {
			return err
		}
		err = do(ctx, conn)
		if conn.Release(); !overtaken(err) {
			return err
		}
	}
}

// DeclareWaiting notes that a depot waits for data, up to so many rows of it in all, and
// returns how many found no room.
func (s *Store) DeclareWaiting(ctx context.Context, depot string, ids []string, most int) (dropped int, err error) {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	err = s.change(ctx, func(ctx context.Context, q querier) error {
		var own int
		var known []string
		var b pgx.Batch
		b.Queue(sqlOwnWaiting, depot, most).QueryRow(func(row pgx.Row) error { return row.Scan(&own) })
		if err := send(ctx, q, &b); err != nil {
			return err
		}
		take := ids
		if dropped = 0; own+len(ids) > most { // those that are there already need no room
			var b pgx.Batch
			b.Queue(sqlWaiting, depot, ids).Query(func(rows pgx.Rows) (err error) {
				known, err = pgx.CollectRows(rows, pgx.RowTo[string])
				return err
			})
			if err := send(ctx, q, &b); err != nil {
				return err
			}
			take = known
			slices.Sort(known)
			for _, id := range ids {
				if _, there := slices.BinarySearch(known, id); there {
					continue
				}
				if own++; own <= most {
					take = append(take, id)
				} else {
					dropped++
				}
			}
		}
		b = pgx.Batch{}
		b.Queue(sqlDeclare, depot, take)
		b.Queue(sqlAwait, depot, take)
		return send(ctx, q, &b)
	})
	if err != nil {
		return 0, fmt.Errorf("note who waits: %w", err)
	}
	return dropped, nil
}

// WaitingArrived notes that the data of these waybills has come, and returns the depots that
// waited for some.
func (s *Store) WaitingArrived(ctx context.Context, ids []string) (depots []string, err error) {
	err = s.change(ctx, func(ctx context.Context, q querier) error {
		var waybills []string
		depots = nil
		var b pgx.Batch
		b.Queue(sqlAwaited, ids).Query(func(rows pgx.Rows) error {
			var id, depot string
			_, err := pgx.ForEachRow(rows, []any{&id, &depot}, func() error {
				waybills, depots = append(waybills, id), append(depots, depot)
				return nil
			})
			return err
		})
		if err := send(ctx, q, &b); err != nil || len(depots) == 0 {
			return err
		}
		b = pgx.Batch{}
		b.Queue(sqlArrive, depots, waybills)
		b.Queue(sqlAwaitNoMore, waybills, depots)
		return send(ctx, q, &b)
	})
	if err != nil {
		return nil, fmt.Errorf("note that data has come: %w", err)
	}
	slices.Sort(depots)
	return slices.Compact(depots), nil
}

// WaitingReady lists up to most waybills of a depot whose data has come, those first that were
// told least; one that was told so many times is told no more.
func (s *Store) WaitingReady(ctx context.Context, depot string, most, times int) (ids []string, err error) {
	err = s.change(ctx, func(ctx context.Context, q querier) error {
		var b pgx.Batch
		b.Queue(sqlTell, depot, most).Query(func(rows pgx.Rows) (err error) {
			ids, err = pgx.CollectRows(rows, pgx.RowTo[string])
			return err
		})
		b.Queue(sqlTold, depot, times)
		return send(ctx, q, &b)
	})
	if err != nil {
		return nil, fmt.Errorf("list what has come: %w", err)
	}
	return ids, nil
}

// WaitingWoken notes that a depot has heard of these.
func (s *Store) WaitingWoken(ctx context.Context, depot string, ids []string) error {
	err := s.change(ctx, func(ctx context.Context, q querier) error {
		var b pgx.Batch
		b.Queue(sqlWoken, depot, ids)
		return send(ctx, q, &b)
	})
	if err != nil {
		return fmt.Errorf("note what a depot has heard of: %w", err)
	}
	return nil
}

// WaitingNow returns the depots that are to be told something, and what the tables' life is
// called: another name after the database was put back, made anew or a standby promoted, as
// declarations may be lost then.
func (s *Store) WaitingNow(ctx context.Context) (depots []string, life string, err error) {
	depots, err = within(ctx, s, readLimit, func(ctx context.Context) (depots []string, err error) {
		switch err := s.pool.QueryRow(ctx, sqlLife).Scan(&life); codeOf(err) {
		case undefinedFunction, notAllowed: // one of the kin of PostgreSQL, which does not tell
			life = ""
		default:
			if err != nil {
				return nil, err
			}
		}
		var b pgx.Batch
		b.Queue(sqlToBeTold).Query(func(rows pgx.Rows) (err error) {
			depots, err = pgx.CollectRows(rows, pgx.RowTo[string])
			return err
		})
		return depots, send(ctx, s.pool, &b)
	})
	if err != nil {
		return nil, "", fmt.Errorf("look for what has come: %w", err)
	}
	sum := sha256.Sum256([]byte(s.id + " " + life))
	return depots, hex.EncodeToString(sum[:12]), nil
}

// WaitingCounts counts rows: all, and those whose data has come.
func (s *Store) WaitingCounts(ctx context.Context) (all, ready int, err error) {
	type counts struct{ all, ready int }
	n, err := within(ctx, s, depotLimit, func(ctx context.Context) (n counts, err error) {
		err = s.pool.QueryRow(ctx, sqlCountWaiting).Scan(&n.all, &n.ready)
		return n, err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("count who waits: %w", err)
	}
	return n.all, n.ready, nil
}

// SweepWaiting drops a step of what was not declared for so long, and of the oldest as many
// as are too many; it returns how many it dropped of those, and whether there may be more.
func (s *Store) SweepWaiting(ctx context.Context, life time.Duration, tooMany int) (dropped int, more bool, err error) {
	tooMany = min(tooMany, sweepWaiting)
	err = s.change(ctx, func(ctx context.Context, q querier) error {
		var b pgx.Batch
		more = false
		full := func(tag pgconn.CommandTag) error {
			more = more || tag.RowsAffected() == sweepWaiting
			return nil
		}
		b.Queue(sqlOldWaiting, life.Milliseconds(), sweepWaiting).Exec(full)
		b.Queue(sqlOldAwaited, life.Milliseconds(), sweepWaiting).Exec(full)
		if tooMany > 0 {
			b.Queue(sqlOldWaiting, -1, tooMany).Exec(func(tag pgconn.CommandTag) error {
				dropped = int(tag.RowsAffected())
				return nil
			})
			b.Queue(sqlOldAwaited, -1, tooMany)
		}
		return send(ctx, q, &b)
	})
	if err != nil {
		return 0, false, fmt.Errorf("forget who waits no more: %w", err)
	}
	return dropped, more, nil
}
