package pgtest_test

import (
	"os"
	"strings"
	"testing"

	"scanrelay/store/snapshot/postgres/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// TestDatabases: each test has a database of its own.
func TestDatabases(t *testing.T) {
	s, one := pgtest.Database(t)
	_, two := pgtest.Database(t)
	for _, name := range []string{one, two} {
		if err := s.SQL(name, "CREATE TABLE x (n int)"); err != nil {
			t.Error(err)
		}
	}
}

// TestRestart: what was committed is there after a kill and a restart, of an
// instance that listens nowhere but at its socket.
func TestRestart(t *testing.T) {
	s, err := pgtest.New("fsync=on")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.SQL("postgres", "CREATE TABLE x AS SELECT 7 AS n"); err != nil {
		t.Fatal(err)
	}
	for _, end := range []func() error{s.Kill, s.Stop} {
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if err := s.SQL("postgres", "SELECT 1"); err == nil {
			t.Fatal("somebody answers although it has ended")
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Query("postgres", "SELECT n, current_setting('listen_addresses') = '' FROM x"); err != nil || !strings.Contains(got, "7|t") {
			t.Fatalf("%q, %v", got, err)
		}
	}
}
