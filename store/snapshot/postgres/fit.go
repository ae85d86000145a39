package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"scanrelay/store/snapshot"
)

// A database that a process is connected to anew may be another than before: one that was
// put back to an earlier moment, or took over. What a start asks for is asked for again.
// Where it is not so nothing is written: depots get 503, lookups go on.

// errHeld: nothing may be written to the database as it is now.
var errHeld = errors.New("the database must not be written to")

// commitsOff is the one synchronous_commit under which a commit may be lost.
const commitsOff = "off"

var errCommits = errors.New("synchronous_commit is off: what a depot is answered could be lost; set it on for this role or database")

// connected looks at the database at the other end of a new connection.
func (s *Store) connected(ctx context.Context, conn *pgx.Conn) error {
	if !s.ring.Ready() {
		return nil // it starts
	}
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	if at, err := versionOf(ctx, conn); err != nil || at != len(steps) {
		s.otherSchema.Store(true)
	}
	s.putKeys(ctx, conn)
	return nil
}

// acquire returns a connection to a database that may be written to, as far as that is
// seen beforehand.
func (s *Store) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil || !s.otherSchema.Load() {
		return conn, err
	}
	conn.Release()
	if err := s.fit(ctx); err != nil {
		return nil, err
	}
	return s.pool.Acquire(ctx)
}

// fit sees to it that the schema is this one's.
func (s *Store) fit(ctx context.Context) error {
	at, err := s.version(ctx)
	if err == nil && at < len(steps) && s.o.Migrate {
		_, err = s.migrate(ctx, func(step string) { s.o.Logger.Warn("the database went back: " + step) })
	} else if err == nil && at < len(steps) {
		return s.hold(behind(at))
	}
	switch {
	case errors.Is(err, snapshot.ErrNewer):
		return s.hold(err)
	case err != nil:
		return err
	}
	s.otherSchema.Store(false)
	s.block("")
	return nil
}

// behind is what is wrong with a schema that nobody may change.
func behind(at int) error {
	return fmt.Errorf("it has schema %d, this scanrelay needs %d: run scanrelay central migrate, or set store.migrate", at, len(steps))
}

// durable tells whether a commit on that connection is on disk when it is answered.
func (s *Store) durable(commits string) error {
	if commits == commitsOff {
		return s.hold(errCommits)
	}
	s.block("")
	return nil
}

func (s *Store) hold(why error) error {
	s.block(why.Error())
	return fmt.Errorf("%w: %w", errHeld, why)
}

// block notes why nothing is written; "": it is.
func (s *Store) block(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if why != "" && s.blocked != why {
		s.o.Logger.Error("nothing is written to the database: depots wait, lookups go on", "why", why)
	}
	s.blocked = why
}
