package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"scanrelay/store/snapshot/datakey"
)

// What rooms of the centre need besides documents to share something among its processes.

// leasePrefix keeps their leases from the store's own.
const leasePrefix = "room/"

// Time is the database's.
func (s *Store) Time(ctx context.Context) (time.Time, error) {
	now, err := within(ctx, s, readLimit, func(ctx context.Context) (now time.Time, err error) {
		err = s.pool.QueryRow(ctx, sqlTime).Scan(&now)
		return now, err
	})
	if err != nil {
		return now, fmt.Errorf("read the database's time: %w", err)
	}
	return now, nil
}

// Lease takes or keeps a lease for this process; false: another has it. It ends by itself.
func (s *Store) Lease(ctx context.Context, name string, life time.Duration) (bool, error) {
	n, err := s.lease(ctx, sqlLease, leasePrefix+name, s.holder, life.Milliseconds())
	if err != nil {
		return false, fmt.Errorf("take a lease: %w", err)
	}
	return n > 0, nil
}

// EndLease gives back a lease, if this process has it.
func (s *Store) EndLease(ctx context.Context, name string) error {
	if _, err := s.lease(ctx, sqlEndLease, leasePrefix+name, s.holder); err != nil {
		return fmt.Errorf("give a lease back: %w", err)
	}
	return nil
}

func (s *Store) lease(ctx context.Context, sql string, args ...any) (rows int64, err error) {
	if err := s.usable(); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, documentLimit)
	defer cancel()
	if err := s.enter(ctx); err != nil {
		return 0, err
	}
	defer s.leave()
	conn, err := s.acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Release()
	tag, err := conn.Exec(ctx, sql, args...)
	return tag.RowsAffected(), err
}

// Encrypt encrypts what is kept under a name, as what is personal is.
func (s *Store) Encrypt(ctx context.Context, name string, plain []byte) ([]byte, error) {
	if err := s.newKey(ctx); err != nil {
		return nil, err
	}
	return s.ring.Seal(nil, plain, boundTo(name)), nil
}

// Decrypt gives back what was encrypted under a name, by whichever process.
func (s *Store) Decrypt(ctx context.Context, name string, sealed []byte) ([]byte, error) {
	plain, err := s.ring.Open(sealed, boundTo(name))
	var unknown *datakey.UnknownError
	if errors.As(err, &unknown) { // of another process
		if err := s.loadKeys(ctx); err != nil {
			return nil, err
		}
		plain, err = s.ring.Open(sealed, boundTo(name))
	}
	return plain, err
}

func boundTo(name string) []byte { return []byte("room\x00" + name) }
