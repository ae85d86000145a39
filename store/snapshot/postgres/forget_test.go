package postgres

import (
	"fmt"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
)

// history is a store under a clock that the test moves.
type history struct {
	*Store
	t   *testing.T
	now time.Time
	seq uint64
}

func newHistory(t *testing.T) *history {
	h := &history{t: t, now: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}
	o := database(t)
	o.Now = func() time.Time { return h.now } // nobody asks while the test moves it
	h.Store = open(t, o)
	return h
}

// scans sends a node for each of these waybills.
func (h *history) scans(ids []string) {
	h.t.Helper()
	var events []snapshot.Event
	for _, id := range ids {
		h.seq++
		e := event(h.seq, id)
		e.ActionTime = h.now.Unix()
		if len(events)%2 == 0 {
			e.Data = &scan.Waybill{CreateTime: h.now.Unix(), Receiver: scan.Party{Name: "李四", Phone: "13800138000", Address: "庄宅北区158-6"}}
		}
		events = append(events, e)
	}
	if len(events) > 0 {
		merge(h.t, h.Store, batch("hz-01", events...))
	}
}

// round forgets what is older than keep and returns what went, and in how many steps.
func (h *history) round(keep time.Duration) (all snapshot.Forgotten, steps int) {
	h.t.Helper()
	for !all.Done {
		f, err := h.Forget(h.t.Context(), snapshot.Retention{Keep: keep, WeChat: h.now})
		if err != nil {
			h.t.Fatal(err)
		}
		if f.Waybills > sweepWaybills || f.Answers > sweepRows || f.Bindings > sweepRows {
			h.t.Fatalf("one step forgot %+v", f)
		}
		all.Waybills, all.Answers, all.Done, steps = all.Waybills+f.Waybills, all.Answers+f.Answers, f.Done, steps+1
	}
	return all, steps
}

// size returns what the tables take, with their indexes.
func (h *history) size() (bytes int64) {
	h.t.Helper()
	err := h.pool.QueryRow(h.t.Context(), `SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname IN ('waybill', 'answer')`).Scan(&bytes)
	if err != nil {
		h.t.Fatal(err)
	}
	return bytes
}

func (h *history) run(statement string) {
	h.t.Helper()
	if _, err := h.pool.Exec(h.t.Context(), statement); err != nil {
		h.t.Fatal(err)
	}
}

// TestForgetInSteps: however much is old, one step takes a part of it, and what
// changed since is looked at and stays.
func TestForgetInSteps(t *testing.T) {
	h := newHistory(t)
	var ids []string
	for i := range 2*sweepWaybills + 500 {
		ids = append(ids, fmt.Sprintf("YT%07d", i))
	}
	h.scans(ids)
	h.now = h.now.Add(40 * time.Hour)
	h.scans(ids[:700])
	if all, steps := h.round(24 * time.Hour); all.Waybills != len(ids)-700 || steps < 4 {
		t.Errorf("forgot %+v in %d steps", all, steps)
	}
	if all, _ := h.round(24 * time.Hour); all.Waybills > 0 {
		t.Errorf("then forgot %+v", all)
	}
	for id, want := range map[scan.WaybillID]bool{"YT0000000": true, "YT0000699": true, "YT0000700": false} {
		if _, ok, err := h.Lookup(t.Context(), id); ok != want || err != nil {
			t.Errorf("%s is there: %v, %v", id, ok, err)
		}
	}
}

// TestOneForgets: of several processes one forgets, and when it ends another does.
func TestOneForgets(t *testing.T) {
	h := newHistory(t)
	second := open(t, h.o)
	h.scans([]string{"YT0000001"})
	h.now = h.now.Add(30 * time.Hour)
	h.scans([]string{"YT0000002"})
	h.round(28 * time.Hour)
	h.now = h.now.Add(time.Hour)
	f, err := second.Forget(t.Context(), snapshot.Retention{Keep: time.Hour, WeChat: h.now})
	if err != nil || f != (snapshot.Forgotten{Done: true}) {
		t.Errorf("beside another that forgets: %+v, %v", f, err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h.Store = second
	h.scans([]string{"YT0000003"})
	for range 30 { // the horizon moves an hour at a time
		h.round(time.Hour)
	}
	if _, ok, err := second.Lookup(t.Context(), "YT0000001"); ok || err != nil {
		t.Errorf("nobody forgot: %v, %v", ok, err)
	}
}

// TestNoBloat lives through a month in which each day brings waybills that are
// scanned five times and forgotten after eight days: in the end the tables and their
// indexes take hardly more than if they were written anew.
func TestNoBloat(t *testing.T) {
	h := newHistory(t)
	const perTurn, scans, hours = 40, 5, 2
	made := func(turn int) (ids []string) {
		for i := range perTurn {
			if turn >= 0 {
				ids = append(ids, fmt.Sprintf("YT%05d%07d", (turn*perTurn+i)*7919%99991, turn*perTurn+i)) // numbers do not rise
			}
		}
		return ids
	}
	for turn := range 30 * 24 / hours {
		var ids []string
		for i := range scans {
			ids = append(ids, made(turn-4*i)...)
		}
		h.scans(ids)
		for range hours { // the horizon moves an hour at a time
			h.round(8 * 24 * time.Hour)
		}
		if turn%6 == 0 { // as autovacuum does when a share has changed
			h.run("VACUUM waybill")
			h.run("VACUUM answer")
		}
		h.now = h.now.Add(hours * time.Hour)
	}
	var waybills int
	if err := h.pool.QueryRow(t.Context(), "SELECT count(*) FROM waybill").Scan(&waybills); err != nil || waybills > 11*24/hours*perTurn {
		t.Errorf("%d waybills are left, %v", waybills, err)
	}
	is := h.size()
	h.run("VACUUM FULL waybill")
	h.run("VACUUM FULL answer")
	anew := h.size()
	t.Logf("%d waybills: %d KiB, written anew %d KiB: %.2f times as much", waybills, is>>10, anew>>10, float64(is)/float64(anew))
	if is > anew*3/2 {
		t.Errorf("the tables take %d bytes, written anew they take %d", is, anew)
	}
}
