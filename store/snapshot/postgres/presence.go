package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// When each depot was last heard of, by whichever process, and what it said: values of
// which the store knows nothing else. Times are the database's: a process tells how long
// ago something was, and is told so.

// presenceLimit is how long a write of rows may take.
const presenceLimit = 5 * time.Second

// PutPresence writes what depots said and how long ago, each row unless it is newer.
func (s *Store) PutPresence(ctx context.Context, depots []string, said [][]byte, ago []time.Duration) error {
	if err := s.usable(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, presenceLimit)
	defer cancel()
	if err := s.enter(ctx); err != nil {
		return fmt.Errorf("write presence: %w", err)
	}
	defer s.leave()
	ms := make([]int64, len(ago))
	for i := range ago {
		ms[i] = ago[i].Milliseconds()
	}
	conn, err := s.acquire(ctx)
	if err == nil {
		defer conn.Release()
		_, err = conn.Exec(ctx, sqlPutPresence, depots, said, ms)
	}
	if err != nil {
		return fmt.Errorf("write presence: %w", err)
	}
	return nil
}

// Presence calls each for the row of a depot, or of all if it is "": with what it said,
// nil where that did not change since, and how long ago. It returns the database's time.
func (s *Store) Presence(ctx context.Context, depot string, since time.Time, each func(depot string, said []byte, ago time.Duration)) (time.Time, error) {
	type found struct {
		depot string
		said  []byte
		ago   int64
	}
	var now time.Time
	all, err := within(ctx, s, depotLimit, func(ctx context.Context) (all []found, err error) {
		var b pgx.Batch
		b.Queue(sqlTime).QueryRow(func(row pgx.Row) error { return row.Scan(&now) })
		take := func(rows pgx.Rows) (err error) {
			all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (f found, err error) {
				err = row.Scan(&f.depot, &f.said, &f.ago)
				return f, err
			})
			return err
		}
		if depot == "" {
			b.Queue(sqlAllPresence, since).Query(take)
		} else {
			b.Queue(sqlPresence, depot).Query(take)
		}
		return all, send(ctx, s.pool, &b)
	})
	if err != nil {
		return now, fmt.Errorf("read presence: %w", err)
	}
	for _, f := range all {
		each(f.depot, f.said, time.Duration(f.ago)*time.Millisecond)
	}
	return now, nil
}
