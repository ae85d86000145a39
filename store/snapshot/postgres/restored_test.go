package postgres

import (
	"strings"
	"testing"
	"time"

	"scanrelay/agent/scan"
)

// TestPutBackAtTwoProcesses: depots that say that the database was put back say so at
// different processes, once, and again after it is put back again; it is told until what
// is missing would be forgotten.
func TestPutBackAtTwoProcesses(t *testing.T) {
	h := newHistory(t)
	o := h.o
	other := open(t, o)
	for _, depot := range []scan.DepotID{"hz-01", "sh-01"} {
		merge(t, other, batch(depot, event(1, "YT0000001")))
	}
	told := func(s *Store) (lines int, missing time.Duration) {
		st, err := s.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(strings.Join(st.Damage, "\n"), "was put back from a backup, or lost its end"), st.Missing
	}
	for seq := uint64(100); seq < 300; seq += 100 {
		h.now = h.now.Add(time.Hour)
		merge(t, h.Store, batch("hz-01", event(seq, "YT0000001")))
		if lines, missing := told(h.Store); lines != int(seq/100)-1 || (missing == 0) != (seq == 100) {
			t.Errorf("one depot's word: %d lines, %v", lines, missing)
		}
		merge(t, other, batch("sh-01", event(seq, "YT0000001")))
		if lines, missing := told(other); lines != int(seq/100) || missing <= 0 {
			t.Errorf("two depots' words: %d lines, %v are missing", lines, missing)
		}
		for _, depot := range []scan.DepotID{"hz-01", "sh-01"} {
			b := batch(depot, event(seq, "YT0000001"))
			b.From = 1
			merge(t, other, b)
		}
	}
	if _, missing := told(open(t, o)); missing <= 0 {
		t.Error("a start does not tell it")
	}
	merge(t, other, batch("hz-01", event(900, "YT0000001"))) // alone with its word
	h.now = h.now.Add(30 * time.Hour)
	for _, depot := range []scan.DepotID{"hz-02", "sh-02"} {
		e := event(1, "YT0000002")
		e.ActionTime = h.now.Unix()
		merge(t, h.Store, batch(depot, e))
	}
	for range 40 { // the horizon moves an hour at a time
		h.round(time.Hour)
	}
	var rows int
	if err := h.pool.QueryRow(t.Context(), `SELECT count(*) FROM meta WHERE name LIKE 'claim/%' OR name = 'missing'`).Scan(&rows); err != nil || rows > 0 {
		t.Errorf("%d rows are left when all of it would be forgotten, %v", rows, err)
	}
	if _, missing := told(h.Store); missing != 0 {
		t.Errorf("%v are missing then", missing)
	}
}
