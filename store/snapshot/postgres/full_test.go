package postgres

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/postgres/pgtest"
)

// TestFullDisk lets the disk of the database's tables run full: depots are told to wait,
// lookups go on, and all goes on by itself once there is room.
func TestFullDisk(t *testing.T) {
	disk, err := os.MkdirTemp("", "scanrelay-pg-disk-") // whose folders others may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(disk) })
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=32m,mode=755"); err != nil {
		t.Logf("no disk of its own: %v", err)
		return
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	server, err := pgtest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	tables := filepath.Join(disk, "tables")
	if err := os.Mkdir(tables, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := server.GiveAway(tables); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"CREATE TABLESPACE small LOCATION '" + tables + "'", "CREATE DATABASE full_one TABLESPACE small"} {
		if err := server.SQL("postgres", sql); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, Options{DSN: server.DSN("full_one"), MaxConns: 4, Key: testKey, Migrate: true})
	importData(t, s, "YT0000001")
	lookedUp := func(when string) {
		t.Helper()
		if wb, ok, err := s.Lookup(t.Context(), "YT0000001"); err != nil || !ok || wb.Data == nil {
			t.Errorf("%s: %+v, %v, %v", when, wb, ok, err)
		}
	}
	next := uint64(1)
	group := func() snapshot.Batch {
		var events []snapshot.Event
		for seq := next; seq < next+500; seq++ {
			events = append(events, event(seq, string(rune('A'+seq%26))+"T"+string(rune('0'+seq%10))))
		}
		return batch("hz-01", events...)
	}
	filler := filepath.Join(disk, "filler")
	for round := range 2 {
		_ = os.WriteFile(filler, make([]byte, 32<<20), 0o600) // ends with ENOSPC, which is what it is for
		for tries := 0; ; tries++ {
			m, err := s.Merge(t.Context(), group())
			if err != nil {
				if !away(err) { // on a new connection the server itself has no room for a file
					t.Errorf("round %d: refused for %v", round, err)
				}
				break
			}
			if next = m.Have + 1; tries > 200 {
				t.Fatal("it never runs full")
			}
		}
		lookedUp("full")
		if err := s.Health(t.Context()); err != nil {
			t.Errorf("health: %v", err)
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		m := insist(t, func() (snapshot.Merged, error) { return s.Merge(t.Context(), group()) })
		if next += 500; m.Have != next-1 {
			t.Errorf("round %d: with room again have is %d, want %d", round, m.Have, next-1)
		}
		lookedUp("with room again")
	}
}
