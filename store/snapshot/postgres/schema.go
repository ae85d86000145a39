package postgres

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"scanrelay/store/snapshot"
)

// steps are what the schema is made of, in order: the database is at the number of
// the last step that was taken in it. A step that is out is never changed.
//
// Only what forgetting goes by has an index beside the primary key, and it is not
// touched when a row changes: rows are changed in place, within the room that
// fillfactor leaves.
var steps = [][]string{
	{
		`CREATE TABLE meta (name text PRIMARY KEY, value bytea NOT NULL)`,
		`CREATE TABLE lease (name text PRIMARY KEY, holder text NOT NULL, ends timestamptz NOT NULL)`,
		`CREATE TABLE depot (depot text PRIMARY KEY, epochs bytea NOT NULL, version bigint NOT NULL, was bigint NOT NULL) WITH (fillfactor = 50)`,
		`CREATE TABLE waybill (waybill_id text PRIMARY KEY, state bytea NOT NULL, due int NOT NULL, version bigint NOT NULL, was bigint NOT NULL) WITH (fillfactor = 70)`,
		`CREATE INDEX waybill_due ON waybill (due)`,
		`CREATE TABLE answer (depot text, epoch bigint, seq bigint, ident bigint NOT NULL, result smallint NOT NULL, at bigint NOT NULL, due int NOT NULL, PRIMARY KEY (depot, epoch, seq))`,
		`CREATE INDEX answer_due ON answer (due)`,
		`CREATE TABLE binding (phone bytea PRIMARY KEY, bound bool NOT NULL, at bigint NOT NULL, due int NOT NULL)`,
		`CREATE INDEX binding_due ON binding (due)`,
	},
	{ // COLLATE: names are listed by what they begin with
		`CREATE TABLE document (name text COLLATE "C" PRIMARY KEY, doc bytea NOT NULL, version bigint NOT NULL, was bigint NOT NULL) WITH (fillfactor = 50)`,
	},
	{}, // what is personal is encrypted: a version before must not take it for damaged
	{
		`CREATE TABLE presence (depot text PRIMARY KEY, said bytea NOT NULL, at timestamptz NOT NULL, changed timestamptz NOT NULL) WITH (fillfactor = 50)`,
	},
	{ // told: null until the data has come
		`CREATE TABLE waiting (depot text, waybill_id text, told smallint, at timestamptz NOT NULL, PRIMARY KEY (depot, waybill_id))`,
		`CREATE INDEX waiting_told ON waiting (depot) WHERE told IS NOT NULL`,
		`CREATE INDEX waiting_at ON waiting (at)`,
		`CREATE TABLE awaited (waybill_id text, depot text, at timestamptz NOT NULL, PRIMARY KEY (waybill_id, depot))`,
		`CREATE INDEX awaited_at ON awaited (at)`,
	},
}

// Schema is the number that this version brings a database to.
var Schema = len(steps)

const (
	sqlVersion     = `SELECT coalesce(max(version), 0) FROM scanrelay_schema`
	sqlMakeVersion = `CREATE TABLE IF NOT EXISTS scanrelay_schema (version int PRIMARY KEY, taken timestamptz NOT NULL DEFAULT now())`
	sqlTakeVersion = `INSERT INTO scanrelay_schema (version) VALUES ($1)`
	sqlFirstMeta   = `INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`
)

// Migrate brings the schema up to date, tells of each step, and returns how many it
// took. Several may do it at once: each step is taken by one.
func Migrate(ctx context.Context, o Options, told func(string)) (taken int, err error) {
	s, err := connect(ctx, o)
	if err != nil {
		return 0, err
	}
	defer s.disconnect()
	return s.migrate(ctx, told)
}

// Behind returns how many steps of the schema are missing.
func Behind(ctx context.Context, o Options) (int, error) {
	s, err := connect(ctx, o)
	if err != nil {
		return 0, err
	}
	defer s.disconnect()
	at, err := s.version(ctx)
	return len(steps) - at, err
}

// version is the step that the database is at; an error where it is a newer one.
func (s *Store) version(ctx context.Context) (at int, err error) { return versionOf(ctx, s.pool) }

func versionOf(ctx context.Context, q interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}) (at int, err error) {
	err = q.QueryRow(ctx, sqlVersion).Scan(&at)
	switch {
	case codeOf(err) == undefinedTable:
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("read the schema's version: %w", err)
	case at > len(steps):
		return at, fmt.Errorf("%w: the database has schema %d, this one knows %d", snapshot.ErrNewer, at, len(steps))
	}
	return at, nil
}

func (s *Store) migrate(ctx context.Context, told func(string)) (taken int, err error) {
	at, err := s.version(ctx)
	for err == nil && at < len(steps) {
		err = s.step(ctx, at+1)
		switch codeOf(err) {
		case uniqueViolation, duplicateTable, duplicateType: // somebody else took it just now
			err = nil
		case "":
			if err == nil {
				taken++
				told(fmt.Sprintf("schema %d of %d is in place", at+1, len(steps)))
			}
		}
		if err == nil {
			at, err = s.version(ctx)
		}
	}
	if err != nil {
		return taken, fmt.Errorf("migrate the schema: %w", err)
	}
	return taken, nil
}

// step takes one step, wholly or not at all.
func (s *Store) step(ctx context.Context, number int) error {
	if _, err := s.pool.Exec(ctx, sqlMakeVersion); err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, sqlTakeVersion, number); err != nil {
			return err
		}
		for _, statement := range steps[number-1] {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		if number > 1 {
			return nil
		}
		id := make([]byte, 16)
		_, err1 := rand.Read(id)
		_, err2 := tx.Exec(ctx, sqlFirstMeta, metaStoreID, []byte(hex.EncodeToString(id)))
		return errors.Join(err1, err2)
	})
}

// Names in the table meta.
const (
	metaStoreID   = "store_id"
	metaPhoneKey  = "phone_key" // of schemas before 3
	metaKeys      = "key_"      // and a number: see entryName
	metaClear     = "clear"     // rows up to there are encrypted
	metaEncrypted = "encrypted" // all are
	metaHorizon   = "horizon"
	metaMissing   = "missing"
)
