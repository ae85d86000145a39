package postgres

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/judge"
)

// TestForgetBesideDamage: rows that cannot be read, more of them than a step takes,
// stay and are named; all else that is old goes.
func TestForgetBesideDamage(t *testing.T) {
	h := newHistory(t)
	importData(t, h.Store, "MOTHER1", "CHILD01")
	var ids []string
	for i := range sweepWaybills + 5 {
		ids = append(ids, fmt.Sprintf("BAD%07d", i))
	}
	h.scans(append(ids, "CHILD01"))
	h.now = h.now.Add(2 * time.Hour) // so that what is damaged comes first
	h.scans([]string{"YT0000001"})
	h.run(`UPDATE waybill SET state = set_byte(state, 2, 255 - get_byte(state, 2)) WHERE waybill_id LIKE 'BAD%' OR waybill_id = 'MOTHER1'`)
	h.run(`UPDATE depot SET epochs = set_byte(epochs, 12, 255 - get_byte(epochs, 12)) WHERE depot = 'hz-01'`)
	h.now = h.now.Add(30 * time.Hour)
	for _, depot := range []scan.DepotID{"sh-01", "sh-02"} {
		e := event(1, "YT0000002")
		e.ActionTime = h.now.Unix()
		merge(t, h.Store, batch(depot, e))
	}
	for range 30 { // the horizon moves an hour at a time
		h.round(time.Hour)
	}
	var left []string
	rows, err := h.pool.Query(t.Context(), `SELECT waybill_id FROM waybill WHERE waybill_id NOT LIKE 'BAD%' ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		left = append(left, id)
	}
	if rows.Close(); !slices.Equal(left, []string{"CHILD01", "MOTHER1", "YT0000002"}) || rows.Err() != nil {
		t.Errorf("left %v, %v", left, rows.Err())
	}
	var bad int
	if err := h.pool.QueryRow(t.Context(), `SELECT count(*) FROM waybill WHERE waybill_id LIKE 'BAD%'`).Scan(&bad); err != nil || bad != len(ids) {
		t.Errorf("%d damaged rows are left, %v", bad, err)
	}
	st, err := h.Stats(t.Context())
	if all := strings.Join(st.Damage, "\n"); err != nil || !strings.Contains(all, "the row of waybill BAD") || !strings.Contains(all, "depot hz-01") {
		t.Errorf("%v, %v", all, err)
	}
}

// TestDamagedNumbering: a depot whose numbering cannot be read sends again, and is
// answered as it was; the list of depots has the others.
func TestDamagedNumbering(t *testing.T) {
	s := open(t, database(t))
	b := batch("hz-01", event(1, "YT0000001"), event(2, "YT0000002"))
	merge(t, s, b)
	merge(t, s, batch("sh-01", event(1, "YT0000003")))
	for _, damage := range []string{`'\x07'`, `set_byte(epochs, 12, 255 - get_byte(epochs, 12))`} {
		if _, err := s.pool.Exec(t.Context(), `UPDATE depot SET epochs = `+damage+` WHERE depot = 'hz-01'`); err != nil {
			t.Fatal(err)
		}
		if all, err := s.Depots(t.Context()); err != nil || len(all) != 1 || all[0].ID != "sh-01" {
			t.Errorf("depots %+v, %v", all, err)
		}
		if m, err := s.Merge(t.Context(), snapshot.Batch{Depot: "hz-01", Epoch: 1, NextSeq: 3}); err != nil || m.Have != 0 {
			t.Errorf("have %+v, %v", m, err)
		}
		if m := merge(t, s, b); m.Have != 2 || m.Answers[0].Result != snapshot.Taken {
			t.Errorf("sent again: %+v", m)
		}
	}
	if st, err := s.Stats(t.Context()); err != nil || len(st.Damage) != 1 || st.Missing != 0 {
		t.Errorf("%+v, %v", st, err)
	}
}

// TestImpossibleNumbers: a number in a row that nobody can have written harms no event
// that comes: it is told, and put right or learned again.
func TestImpossibleNumbers(t *testing.T) {
	s := open(t, database(t))
	run := func(sql string, args ...any) {
		t.Helper()
		if _, err := s.pool.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	importData(t, s, "YT0000001")
	b := batch("hz-01", event(1, "YT0000001"))
	b.Bindings = []snapshot.Observation{{Waybill: "YT0000001", Exist: true, At: time.Now()}}
	merge(t, s, b)
	seq := uint64(1)
	overflown := &judge.State{Applied: 1<<63 + 7, Changed: time.Now().Unix()}
	for what, damage := range map[string]func(){
		"the row of waybill YT0000001 has": func() { run(`UPDATE waybill SET version = 9223372036854775807`) },
		"has a number that is none (-5)":   func() { run(`UPDATE waybill SET version = -5`) },
		"the row of waybill YT0000001 has a number that is none (-9223372036854775801)": func() {
			run(`UPDATE waybill SET state = $1`, s.encodeState("YT0000001", overflown))
		},
		"the numbering of depot hz-01 has": func() { run(`UPDATE depot SET version = 9223372036854775807`) },
		"has a number that is none (-9223372036854775805)": func() {
			run(`UPDATE depot SET epochs = $1`, encodeNumbering("hz-01", &judge.Numbering{Epochs: []judge.Epoch{
				{Epoch: 1, Have: seq, Last: 1<<63 + 3}, {Epoch: 2, Have: seq, Last: 1<<63 + 2},
			}}))
		},
		"what became of number": func() { run(`UPDATE answer SET result = 257`) },
	} {
		damage()
		for range 2 {
			if m := merge(t, s, b); len(m.Answers) != 1 || m.Answers[0].Result != snapshot.Taken {
				t.Errorf("%s: sent again: %+v", what, m)
			}
			seq++
			m := merge(t, s, batch("hz-01", event(seq, "YT0000001")))
			wb, ok, err := s.Lookup(t.Context(), "YT0000001")
			if m.Have != seq || m.Answers[0].Result != snapshot.Taken || err != nil || !ok || wb.Nodes[len(wb.Nodes)-1].EventID != fmt.Sprint("e", seq) {
				t.Fatalf("%s: event %d: %+v; %+v, %v", what, seq, m, wb.Nodes, err)
			}
		}
		var version int64
		if err := s.pool.QueryRow(t.Context(), `SELECT min(least(waybill.version, depot.version)) FROM waybill, depot`).Scan(&version); err != nil || version <= 0 {
			t.Errorf("%s: a version is %d, %v", what, version, err)
		}
		if st, err := s.Stats(t.Context()); err != nil || !strings.Contains(strings.Join(st.Damage, "\n"), what) {
			t.Errorf("%s is not told: %q, %v", what, st.Damage, err)
		}
	}
	importData(t, s, "YT0000001")
	run(`UPDATE binding SET at = 9223372036854775807`)
	bound := func() *snapshot.Binding {
		known, err := s.Known(t.Context(), "hz-01", []scan.WaybillID{"YT0000001"})
		if err != nil || len(known) != 1 {
			t.Fatalf("%+v, %v", known, err)
		}
		return known[0].Binding
	}
	if v := bound(); v != nil {
		t.Errorf("a binding of no time: %+v", v)
	}
	b = batch("hz-01", event(seq+1, "YT0000001"))
	b.Bindings = []snapshot.Observation{{Waybill: "YT0000001", Exist: true, At: time.Now()}}
	merge(t, s, b)
	if v := bound(); v == nil || !v.Exist {
		t.Errorf("learned again: %+v", v)
	}
	if done, err := s.PutDocuments(t.Context(), []string{"a"}, [][]byte{{1}}, []int64{0}); !done || err != nil {
		t.Fatal(err)
	}
	for _, none := range []int64{1<<63 - 1, -7, 0} {
		run(`UPDATE document SET version = $1`, none)
		doc, version, err := s.Document(t.Context(), "a")
		if err != nil || doc == nil || version != none {
			t.Fatalf("a document of version %d: %v %d, %v", none, doc, version, err)
		}
		if done, err := s.PutDocuments(t.Context(), []string{"a"}, [][]byte{{2}}, []int64{version}); !done || err != nil {
			t.Errorf("on version %d: %v, %v", none, done, err)
		}
		if _, version, err = s.Document(t.Context(), "a"); err != nil || version != 1 {
			t.Errorf("after version %d: %d, %v", none, version, err)
		}
	}
	run(`INSERT INTO lease (name, holder, ends) VALUES ('forget', 'nobody', '9999-01-01')`)
	if _, err := s.Forget(t.Context(), snapshot.Retention{Keep: time.Hour}); err != nil {
		t.Fatal(err)
	}
	var holder string
	if err := s.pool.QueryRow(t.Context(), `SELECT holder FROM lease`).Scan(&holder); err != nil || holder != s.holder {
		t.Errorf("the lease that never ends is held by %q, %v", holder, err)
	}
}

// TestCheck: a check names what is damaged among many rows, and nothing where nothing is.
func TestCheck(t *testing.T) {
	o := database(t)
	s := open(t, o)
	var events []snapshot.Event
	for i := range uint64(sweepWaybills + 5) {
		events = append(events, event(i+1, fmt.Sprintf("YT%07d", i)))
	}
	merge(t, s, batch("hz-01", events...))
	check := func() string {
		t.Helper()
		s := open(t, o)
		n, err := s.Check(t.Context())
		st, err2 := s.Stats(t.Context())
		if n != len(events) || err != nil || err2 != nil {
			t.Errorf("%d rows, %v, %v", n, err, err2)
		}
		return strings.Join(st.Damage, "\n")
	}
	if all := check(); all != "" {
		t.Errorf("of what is sound: %s", all)
	}
	for _, sql := range []string{
		`UPDATE waybill SET state = set_byte(state, 2, 255 - get_byte(state, 2)) WHERE waybill_id IN ('YT0000000', 'YT0001004')`,
		`UPDATE depot SET version = -1`,
	} {
		if _, err := s.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if all := check(); strings.Count(all, "\n") != 2 || !strings.Contains(all, "YT0000000 ") || !strings.Contains(all, "YT0001004 ") || !strings.Contains(all, "depot hz-01 has a number") {
		t.Errorf("%s", all)
	}
}

// TestTimesAreBounded: an answer may be of the year 3000, and of no later one.
func TestTimesAreBounded(t *testing.T) {
	s := open(t, database(t))
	importData(t, s, "YT0000001")
	b := batch("hz-01", event(1, "YT0000001"))
	merge(t, s, b)
	for _, c := range []struct {
		at   int64
		told int
	}{{maxTime, 0}, {maxTime + 1, 1}} {
		if _, err := s.pool.Exec(t.Context(), `UPDATE answer SET at = $1`, c.at); err != nil {
			t.Fatal(err)
		}
		if m := merge(t, s, b); m.Answers[0].Result != snapshot.Taken {
			t.Errorf("sent again: %+v", m)
		}
		if st, err := s.Stats(t.Context()); err != nil || strings.Count(strings.Join(st.Damage, "\n"), "what became of number 1 ") != c.told {
			t.Errorf("with an answer at %d: %q, %v", c.at, st.Damage, err)
		}
	}
}

// TestForgetWhatBeganAnew: what was kept of a damaged row goes with the waybill that took
// its place, and no sooner.
func TestForgetWhatBeganAnew(t *testing.T) {
	h := newHistory(t)
	h.scans([]string{"YT0000001", "YT00000012"})
	h.run(`UPDATE waybill SET state = set_byte(state, 2, 255 - get_byte(state, 2))`)
	h.scans([]string{"YT0000001"})
	h.now = h.now.Add(20 * time.Hour)
	h.scans([]string{"YT00000012"})
	kept := func() (n int) {
		t.Helper()
		if err := h.pool.QueryRow(t.Context(), `SELECT count(*) FROM document`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for i, want := range []int{2, 1} {
		if n := kept(); n != want {
			t.Errorf("%d are kept after %d rounds, want %d", n, i, want)
		}
		h.now = h.now.Add(11 * time.Hour)
		h.scans([]string{"OTHER01"})
		for range 21 { // the horizon moves an hour at a time
			h.round(20 * time.Hour)
		}
	}
}

// TestDueFarAhead: a row whose hour is damaged is forgotten all the same, later than it
// would have been by as long as that was not seen.
func TestDueFarAhead(t *testing.T) {
	h := newHistory(t)
	h.scans([]string{"YT0000001"})
	b := batch("hz-01", event(2, "YT0000001"))
	b.Bindings = []snapshot.Observation{{Waybill: "YT0000001", Exist: true, At: h.now}}
	b.Events[0].ActionTime = h.now.Unix()
	merge(t, h.Store, b)
	h.seq = 2
	for _, table := range []string{"waybill", "answer", "binding"} {
		h.run(`UPDATE ` + table + ` SET due = 2147483647`)
	}
	h.round(20 * time.Hour)
	for range 3 {
		h.now = h.now.Add(11 * time.Hour)
		h.scans([]string{"OTHER01"})
		for range 21 { // the horizon moves an hour at a time
			h.round(20 * time.Hour)
		}
	}
	var left string
	if err := h.pool.QueryRow(t.Context(), `SELECT concat((SELECT count(*) FROM waybill WHERE waybill_id LIKE 'YT%'), (SELECT count(*) FROM answer WHERE seq <= 2), (SELECT count(*) FROM binding))`).Scan(&left); err != nil || left != "000" {
		t.Errorf("left of each: %s, %v", left, err)
	}
}
