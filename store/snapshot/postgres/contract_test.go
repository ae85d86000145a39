package postgres_test

import (
	"os"
	"testing"
	"time"

	"scanrelay/configs/secret"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/postgres"
	"scanrelay/store/snapshot/postgres/pgtest"
	"scanrelay/store/snapshot/snapshottest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// TestPostgresContract holds the store in PostgreSQL to the contract.
func TestPostgresContract(t *testing.T) {
	snapshottest.Run(t, func(t testing.TB, now func() time.Time) func() snapshot.Store {
		o := options(t)
		o.Now = now
		return func() snapshot.Store { return open(t, o) }
	})
}

const testKey = secret.Text("00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff")

// options are those of a store in a database of its own.
func options(t testing.TB) postgres.Options {
	server, name := pgtest.Database(t)
	return postgres.Options{DSN: server.DSN(name), MaxConns: 4, Key: testKey, Migrate: true}
}

func open(t testing.TB, o postgres.Options) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
