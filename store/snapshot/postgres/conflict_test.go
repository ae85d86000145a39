package postgres

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/postgres/pgtest"
)

// between does something just before the next write.
type between struct {
	trips
	do func()
}

func (c *between) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	for _, q := range data.Batch.QueuedQueries {
		if do := c.do; do != nil && strings.HasPrefix(q.SQL, "INSERT") {
			c.do = nil
			do()
		}
	}
	return ctx
}

// TestOvertaken: what another process wrote between a group's read and its write is
// judged on, whether the row was there before or not; and what the database logs of
// it shows nobody's data.
func TestOvertaken(t *testing.T) {
	o, c := database(t), &between{}
	second := open(t, o)
	o.tracer = c
	first := open(t, o)
	for round, want := range []snapshot.Result{snapshot.Taken, snapshot.Late} {
		seq := uint64(round + 1)
		newer := event(seq, "YT0000001")
		newer.ActionTime += int64(round * 60) // at first a tie
		newer.Data = &scan.Waybill{CreateTime: newer.ActionTime, Sender: scan.Party{Name: "zhangsan-secret", Phone: "13900139001"}}
		c.do = func() { merge(t, second, batch("sh-01", newer)) }
		older := event(seq, "YT0000001")
		older.ActionTime = newer.ActionTime - int64(round*60)
		if m := merge(t, first, batch("hz-01", older)); m.Answers[0].Result != want || !m.Answers[0].HasData {
			t.Errorf("round %d: answered %+v, want %v", round, m.Answers, want)
		}
	}
	c.do = func() { importData(t, second, "MOTHER1", "YT0000002") } // it becomes a parcel meanwhile
	if m := merge(t, first, batch("hz-01", event(3, "YT0000002"))); m.Answers[0].Result != snapshot.Late || m.Answers[0].Reason == "" {
		t.Errorf("answered %+v", m.Answers)
	}
	c.do = func() { merge(t, second, batch("hz-01", event(4, "YT0000001"))) }                                             // the same, sent again
	if m := merge(t, first, batch("hz-01", event(4, "YT0000001"))); m.Answers[0].Result != snapshot.Late || m.Have != 4 { // no duplicate
		t.Errorf("answered %+v", m)
	}
	if wb, _, err := first.Lookup(t.Context(), "YT0000001"); err != nil || len(wb.Nodes) != 5 {
		t.Errorf("looked up %+v, %v", wb, err)
	}
	log := pgtest.Shared(t).Log()
	if !strings.Contains(log, "division by zero") {
		t.Error("the database tells of no conflict")
	}
	for _, private := range []string{"zhangsan", fmt.Sprintf("%x", "zhangsan"), "13900139001", fmt.Sprintf("%x", "139001")} {
		if strings.Contains(log, private) {
			t.Errorf("the database's log shows %q", private)
		}
	}
}

// TestNoDeadlock lets two processes take batches of the same waybills, in another
// order, at once: each is judged as if it came alone.
func TestNoDeadlock(t *testing.T) {
	o := database(t)
	stores := []*Store{open(t, o), open(t, o)}
	const rounds, size = 20, 30
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			depot := scan.DepotID(fmt.Sprint("depot-", w))
			for round := range rounds {
				var events []snapshot.Event
				for i := range size {
					at := i
					if w%2 > 0 {
						at = size - 1 - i
					}
					events = append(events, event(uint64(round*size+i+1), fmt.Sprint("YT", at)))
				}
				m, err := stores[w%2].Merge(t.Context(), batch(depot, events...))
				if err != nil {
					t.Error(err)
					return
				}
				for _, a := range m.Answers {
					if a.Result != snapshot.Taken && a.Result != snapshot.Late {
						t.Errorf("answered %+v", a)
					}
				}
			}
		})
	}
	writers.Wait()
	for i := range size {
		wb, _, err := stores[0].Lookup(t.Context(), scan.WaybillID(fmt.Sprint("YT", i)))
		if err != nil || len(wb.Nodes) != 4*rounds {
			t.Errorf("YT%d has %d nodes, want %d (%v)", i, len(wb.Nodes), 4*rounds, err)
		}
	}
	if strings.Contains(pgtest.Shared(t).Log(), "deadlock") {
		t.Error("two writers waited for each other")
	}
}
