package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// What other rooms of the centre share among its processes: documents with names, of
// which the store knows nothing else.

// NoteDamage tells, once, of a document that a room cannot read.
func (s *Store) NoteDamage(what string) { s.damaged("%s", what) }

// Document returns a document and its version; nil and 0: there is none.
func (s *Store) Document(ctx context.Context, name string) (doc []byte, version int64, err error) {
	type found struct {
		doc     []byte
		version int64
	}
	f, err := within(ctx, s, readLimit, func(ctx context.Context) (f found, err error) {
		err = s.pool.QueryRow(ctx, sqlDocument, name).Scan(&f.doc, &f.version)
		if errors.Is(err, pgx.ErrNoRows) {
			err = nil
		}
		return f, err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read a document: %w", err)
	}
	return f.doc, f.version, nil
}

// Documents calls each for the documents whose names begin so, in their order.
func (s *Store) Documents(ctx context.Context, prefix string, each func(name string, doc []byte) error) error {
	type document struct {
		name string
		doc  []byte
	}
	all, err := within(ctx, s, depotLimit, func(ctx context.Context) (all []document, err error) {
		rows, err := s.pool.Query(ctx, sqlDocuments, prefix, prefix+"\U0010ffff")
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, func(row pgx.CollectableRow) (d document, err error) {
			err = row.Scan(&d.name, &d.doc)
			return d, err
		})
	})
	if err != nil {
		return fmt.Errorf("list documents: %w", err)
	}
	for _, d := range all {
		if err := each(d.name, d.doc); err != nil {
			return err
		}
	}
	return nil
}

// documentLimit is how long a change of documents may take.
const documentLimit = 5 * time.Second

func (s *Store) putDocuments(ctx context.Context, names []string, docs [][]byte, was []int64) error {
	conn, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	var commits string
	if err := conn.QueryRow(ctx, sqlCommits).Scan(&commits); err != nil {
		return err
	}
	if err := s.durable(commits); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sqlPutDocuments, names, docs, was)
	return err
}

// PutDocuments writes all of them or, where one has another version than was read,
// none: done is false then. The slices belong together.
func (s *Store) PutDocuments(ctx context.Context, names []string, docs [][]byte, was []int64) (done bool, err error) {
	if err := s.usable(); err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, documentLimit)
	defer cancel()
	if err := s.enter(ctx); err != nil {
		return false, fmt.Errorf("write documents: %w", err)
	}
	defer s.leave()
	switch err = s.putDocuments(ctx, names, docs, was); {
	case overtaken(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("write documents: %w", err)
	}
	return true, nil
}
