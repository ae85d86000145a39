package postgres

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"scanrelay/store/snapshot/postgres/pgtest"
)

func declare(t testing.TB, s *Store, depot string, most int, ids ...string) (dropped int) {
	t.Helper()
	dropped, err := s.DeclareWaiting(t.Context(), depot, ids, most)
	if err != nil {
		t.Fatal(err)
	}
	return dropped
}

func ready(t testing.TB, s *Store, depot string) []string {
	t.Helper()
	ids, err := s.WaitingReady(t.Context(), depot, 3, 20)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(ids)
	return ids
}

func waitingCounts(t testing.TB, s *Store) (all, ready int) {
	t.Helper()
	all, ready, err := s.WaitingCounts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all, ready
}

// TestWaiting: what a depot declared to one process, and what came to another, any of them
// tells it, until it has heard or was told often enough; what is not declared again goes, and
// the oldest of too many.
func TestWaiting(t *testing.T) {
	o := database(t)
	one, two := open(t, o), open(t, o)
	ctx := t.Context()
	for _, s := range []*Store{one, two} { // again, to the other
		if n := declare(t, s, "a", 5, "W1", "W2", "W2", "W3"); n > 0 {
			t.Errorf("%d dropped", n)
		}
		declare(t, s, "b", 5, "W1")
	}
	if n := declare(t, two, "a", 5, "W3", "W4", "W5", "W6", "W1"); n != 1 {
		t.Errorf("%d dropped, want W6", n)
	}
	depots, err := two.WaitingArrived(ctx, []string{"W1", "W3", "W4", "W5", "NOBODYS"})
	if err != nil || !slices.Equal(depots, []string{"a", "b"}) {
		t.Fatalf("waited: %v, %v", depots, err)
	}
	if now, _, err := one.WaitingNow(ctx); err != nil || len(now) != 2 {
		t.Errorf("to be told: %v, %v", now, err)
	}
	if depots, err := one.WaitingArrived(ctx, []string{"W1"}); err != nil || depots != nil {
		t.Errorf("it has come twice: %v, %v", depots, err)
	}
	if got := ready(t, one, "a"); !slices.Equal(got, []string{"W1", "W3", "W4"}) {
		t.Errorf("ready: %v", got)
	}
	if got := ready(t, two, "a"); !slices.Contains(got, "W5") { // what was not told comes first
		t.Errorf("ready: %v", got)
	}
	if err := one.WaitingWoken(ctx, "a", []string{"W1", "W2", "W3", "W4"}); err != nil {
		t.Error(err)
	}
	for range 19 {
		if got := ready(t, two, "a"); !slices.Equal(got, []string{"W5"}) {
			t.Fatalf("ready: %v", got)
		}
	}
	if got := ready(t, two, "a"); len(got) > 0 {
		t.Errorf("told for ever: %v", got)
	}
	if all, ready := waitingCounts(t, one); all != 2 || ready != 1 { // W2 of a, W1 of b
		t.Errorf("%d wait, %d ready", all, ready)
	}
	if _, _, err := one.SweepWaiting(ctx, time.Hour, 0); err != nil {
		t.Error(err)
	}
	if all, _ := waitingCounts(t, one); all != 2 {
		t.Errorf("%d are left before their time", all)
	}
	if n, _, err := two.SweepWaiting(ctx, time.Hour, 1); n != 1 || err != nil {
		t.Errorf("%d too many dropped, %v", n, err)
	}
	if _, _, err := one.SweepWaiting(ctx, 0, 0); err != nil {
		t.Error(err)
	}
	var left int
	if err := one.pool.QueryRow(ctx, `SELECT (SELECT count(*) FROM waiting) + (SELECT count(*) FROM awaited)`).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d rows are left, %v", left, err)
	}
}

// TestWaitingAtOnce: declarations and arrivals of the same waybills over two processes end,
// and whoever waits is told.
func TestWaitingAtOnce(t *testing.T) {
	o := database(t)
	list := []*Store{open(t, o), open(t, o)}
	const depots, waybills = 8, 200
	ids := make([]string, waybills)
	for i := range ids {
		ids[i] = fmt.Sprint("W", i)
	}
	turned := slices.Clone(ids)
	slices.Reverse(turned)
	var all sync.WaitGroup
	for d := range depots {
		all.Go(func() {
			for n := range 4 {
				if _, err := list[(d+n)%2].DeclareWaiting(t.Context(), fmt.Sprint("d", d), [][]string{ids, turned}[d%2], 1000); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for n := range 4 {
		all.Go(func() {
			for i := range 5 {
				if _, err := list[n%2].WaitingArrived(t.Context(), [][]string{turned, ids}[i%2]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if _, err := list[0].WaitingArrived(t.Context(), ids); err != nil {
		t.Fatal(err)
	}
	if all, ready := waitingCounts(t, list[1]); all != depots*waybills || ready != all {
		t.Errorf("%d wait, %d ready", all, ready)
	}
}

// TestLifeOfWaiting: its name stays over a restart, and is another one after a promotion and
// where the tables are others; whoever has no rights of a superuser may ask.
func TestLifeOfWaiting(t *testing.T) {
	primary, err := pgtest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = primary.Close() })
	life := func(s *Store) (life string) {
		t.Helper()
		for end := time.Now().Add(2 * time.Minute); life == "" && time.Now().Before(end); {
			_, life, err = s.WaitingNow(t.Context())
		}
		if life == "" {
			t.Fatal(err)
		}
		return life
	}
	standby, err := primary.Standby()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = standby.Close() })
	o := Options{DSN: primary.DSN("postgres", standby), Key: testKey, Migrate: true}
	s := open(t, o)
	first := life(s)
	if err := primary.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := primary.Start(); err != nil {
		t.Fatal(err)
	}
	if again := life(s); again != first {
		t.Errorf("after a restart: %s, was %s", again, first)
	}
	if _, err := s.pool.Exec(t.Context(), `CREATE ROLE plain LOGIN IN ROLE pg_read_all_data, pg_write_all_data`); err != nil {
		t.Fatal(err)
	}
	plain := o
	plain.DSN += " user=plain"
	if other := life(open(t, plain)); other != first {
		t.Errorf("as a plain role: %s, was %s", other, first)
	}
	if _, err := s.pool.Exec(t.Context(), `REVOKE EXECUTE ON FUNCTION pg_control_system FROM PUBLIC`); err != nil {
		t.Fatal(err)
	}
	if other := life(open(t, plain)); other == first { // it cannot tell, and goes on
		t.Errorf("without the right to ask: %s", other)
	}
	if err := primary.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := standby.Promote(); err != nil {
		t.Fatal(err)
	}
	if after := life(s); after == first {
		t.Errorf("after a promotion it is %s still", after)
	}
}

// BenchmarkWaiting is what a waybill costs that is declared, comes and is told.
func BenchmarkWaiting(b *testing.B) {
	s := open(b, database(b))
	const size = 1_000
	took := map[string]time.Duration{}
	measure := func(what string, do func() error) {
		begun := time.Now()
		if err := do(); err != nil {
			b.Fatal(what, err)
		}
		took[what] += time.Since(begun)
	}
	n := 0
	for ; b.Loop(); n++ {
		depot, ids := fmt.Sprint("d", n%100), make([]string, size)
		for i := range ids {
			ids[i] = fmt.Sprintf("YT%d-%d", n, i)
		}
		measure("arrived-nobody", func() error { _, err := s.WaitingArrived(b.Context(), ids); return err })
		measure("declare", func() error { _, err := s.DeclareWaiting(b.Context(), depot, ids, 20_000); return err })
		measure("arrived", func() error { _, err := s.WaitingArrived(b.Context(), ids); return err })
		measure("ready", func() error { _, err := s.WaitingReady(b.Context(), depot, size, 20); return err })
		measure("woken", func() error { return s.WaitingWoken(b.Context(), depot, ids) })
	}
	for what, d := range took {
		b.ReportMetric(float64(d.Microseconds())/float64(n*size), "µs/"+what)
	}
}
