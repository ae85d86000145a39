package postgres

import (
	"fmt"
	"testing"
	"time"
)

// seen is what a reading of presence gives.
type seen struct {
	said string
	ago  time.Duration
}

func presenceOf(t testing.TB, s *Store, depot string, since time.Time) (map[string]seen, time.Time) {
	t.Helper()
	all := map[string]seen{}
	at, err := s.Presence(t.Context(), depot, since, func(depot string, said []byte, ago time.Duration) {
		all[depot] = seen{string(said), ago}
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, at
}

func heard(t testing.TB, s *Store, ago time.Duration, rows ...string) {
	t.Helper()
	var depots []string
	var said [][]byte
	var agos []time.Duration
	for i := 0; i < len(rows); i += 2 {
		depots, said, agos = append(depots, rows[i]), append(said, []byte(rows[i+1])), append(agos, ago)
	}
	if err := s.PutPresence(t.Context(), depots, said, agos); err != nil {
		t.Fatal(err)
	}
}

// TestPresence: what one process heard the other sees, with its age by the database; of
// two who heard a depot the later counts, whoever writes first; what did not change is not
// given again.
func TestPresence(t *testing.T) {
	o := database(t)
	one, two := open(t, o), open(t, o)
	heard(t, one, time.Minute, "a", "first", "b", "alone")
	heard(t, two, time.Second, "a", "later")
	heard(t, one, 30*time.Second, "a", "overtaken")
	all, at := presenceOf(t, two, "", time.Time{})
	if a, b := all["a"], all["b"]; len(all) != 2 || a.said != "later" || b.said != "alone" || a.ago < time.Second || a.ago > b.ago || b.ago < time.Minute {
		t.Fatalf("%+v", all)
	}
	heard(t, one, 0, "b", "alone")
	if all, _ := presenceOf(t, one, "", at.Add(time.Nanosecond)); all["b"].said != "" || all["b"].ago > time.Minute {
		t.Errorf("what did not change: %+v", all)
	}
	heard(t, two, 0, "b", "other")
	if all, _ := presenceOf(t, one, "", at); all["b"].said != "other" || all["a"].said != "" {
		t.Errorf("what changed: %+v", all)
	}
	if all, _ := presenceOf(t, one, "a", time.Time{}); len(all) != 1 || all["a"].said != "later" {
		t.Errorf("one of them: %+v", all)
	}
	// The database's clock was ahead once.
	if _, err := one.pool.Exec(t.Context(), `UPDATE presence SET at = now() + interval '1 day', changed = now() + interval '1 day'`); err != nil {
		t.Fatal(err)
	}
	heard(t, one, time.Second, "a", "after all")
	if all, _ := presenceOf(t, one, "a", time.Time{}); all["a"].said != "after all" || all["a"].ago < time.Second {
		t.Errorf("beside a time ahead: %+v", all)
	}
}

// BenchmarkPresence writes the rows of a carrier's depots, 2,000 at once, and reads all.
func BenchmarkPresence(b *testing.B) {
	s := open(b, database(b))
	const depots = 31_000
	round := func(n int) {
		for from := 0; from < depots; from += 2_000 {
			var rows []string
			for i := from; i < min(from+2_000, depots); i++ {
				rows = append(rows, fmt.Sprintf("hz-%05d", i), fmt.Sprintf("%0400d", n))
			}
			heard(b, s, 0, rows...)
		}
	}
	b.Run("write", func(b *testing.B) {
		for n := 0; b.Loop(); n++ {
			round(n)
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*depots), "µs/row")
		b.ReportMetric(float64(b.N*depots)/b.Elapsed().Seconds(), "rows/s")
		size, err := sizeOf(b, s)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(size)/(1<<20), "MiB")
	})
	round(-1)
	_, at := presenceOf(b, s, "", time.Time{})
	for name, since := range map[string]time.Time{"read": {}, "readUnchanged": at.Add(time.Hour)} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if all, _ := presenceOf(b, s, "", since); len(all) != depots {
					b.Fatal(len(all))
				}
			}
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/fleet")
		})
	}
}

func sizeOf(b *testing.B, s *Store) (size int64, err error) {
	err = s.pool.QueryRow(b.Context(), `SELECT pg_total_relation_size('presence')`).Scan(&size)
	return size, err
}
