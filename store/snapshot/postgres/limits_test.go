package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/postgres/pgtest"
	"scanrelay/store/snapshot/queue"
)

// limits tells which statements were sent that nothing would have ended.
type limits struct {
	trips
	mu      sync.Mutex
	endless []string // guarded by mu
}

func (l *limits) TraceQueryStart(ctx context.Context, c *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	l.note(ctx, data.SQL)
	return l.trips.TraceQueryStart(ctx, c, data)
}

func (l *limits) TraceBatchStart(ctx context.Context, c *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	l.note(ctx, data.Batch.QueuedQueries[0].SQL)
	return l.trips.TraceBatchStart(ctx, c, data)
}

func (l *limits) note(ctx context.Context, sql string) {
	if _, ends := ctx.Deadline(); !ends {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.endless = append(l.endless, sql)
	}
}

// TestCallsEnd: no call waits for ever for a database that answers nobody.
func TestCallsEnd(t *testing.T) {
	o, l := database(t), &limits{}
	o.tracer = l
	s := open(t, o)
	l.endless = nil // what a start asks ends with it
	ctx := context.WithoutCancel(t.Context())
	n := 0
	for i, call := range []func() error{
		func() error {
			done, err := s.PutDocuments(ctx, []string{"a/1"}, [][]byte{{1}}, []int64{0})
			if !done {
				t.Error("not put")
			}
			return err
		},
		func() error { _, _, err := s.Document(ctx, "a/1"); return err },
		func() error { return s.Documents(ctx, "a/", func(string, []byte) error { n++; return nil }) },
		func() error { _, err := s.Import(ctx, []snapshot.Import{{Waybill: "YT0000001"}}); return err },
		func() error { _, err := s.Merge(ctx, batch("hz-01", event(1, "YT0000001"))); return err },
		func() error { _, err := s.Merge(ctx, snapshot.Batch{Depot: "hz-01", Epoch: 1}); return err },
		func() error { _, _, err := s.Lookup(ctx, "YT0000001"); return err },
		func() error { _, err := s.Known(ctx, "hz-01", []scan.WaybillID{"YT0000001"}); return err },
		func() error { _, err := s.Answers(ctx, "hz-01", []snapshot.Ask{{Waybill: "YT0000001"}}); return err },
		func() error { _, err := s.Depots(ctx); return err },
		func() error { _, err := s.Stats(ctx); return err },
		func() error { _, err := s.Forget(ctx, snapshot.Retention{Keep: time.Hour}); return err },
	} {
		if err := call(); err != nil {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if n != 1 || len(l.endless) > 0 {
		t.Errorf("%d documents; without an end: %q", n, l.endless)
	}
}

// acquired counts who asked for a connection.
type acquired struct {
	trips
	n atomic.Int64
}

func (a *acquired) TraceAcquireStart(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireStartData) context.Context {
	a.n.Add(1)
	return ctx
}

func (*acquired) TraceAcquireEnd(context.Context, *pgxpool.Pool, pgxpool.TraceAcquireEndData) {}

// TestSizesOfOneWhoHangs: a database that does not answer is asked for its sizes once
// in a while, not by each who wants to see them.
func TestSizesOfOneWhoHangs(t *testing.T) {
	server, err := pgtest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	c := &acquired{}
	s := open(t, Options{DSN: server.DSN("postgres"), Key: testKey, Migrate: true, tracer: c})
	if err := server.Freeze(true); err != nil {
		t.Fatal(err)
	}
	c.n.Store(0)
	for range 4 {
		if _, err := s.Stats(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if n := c.n.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	if err := server.Freeze(false); err != nil {
		t.Fatal(err)
	}
}

// TestUntold: what nobody was told is kept once, however often it failed, and told
// once; a long list of it takes no longer than it must.
func TestUntold(t *testing.T) {
	s := &Store{}
	var gained []scan.WaybillID
	const n = maxUntold / 2
	for i := range n {
		gained = append(gained, scan.WaybillID(fmt.Sprintf("YT%07d", i)))
	}
	for range 3 {
		s.settle([]*queue.Request{{Gained: gained}}, errRefused)
	}
	if len(s.untold) != n || s.untold[0] != gained[0] {
		t.Errorf("%d are kept", len(s.untold))
	}
	next := &queue.Request{Gained: gained[:10]}
	if s.settle([]*queue.Request{next}, nil); len(next.Out.Gained) != n || len(s.untold) > 0 {
		t.Errorf("told %d, kept %d", len(next.Out.Gained), len(s.untold))
	}
}

var errRefused = fmt.Errorf("%w: %w", errUnfit, io.ErrUnexpectedEOF) // nothing that is away

// TestLookupsPassBy: a lookup waits behind no depot, however many of them the database
// keeps waiting, and ends in time where it is kept waiting itself.
func TestLookupsPassBy(t *testing.T) {
	for _, conns := range []int{2, 4} {
		t.Run(fmt.Sprint(conns, " connections"), func(t *testing.T) { lookupsPassBy(t, conns) })
	}
}

func lookupsPassBy(t *testing.T, conns int) {
	o := database(t)
	o.MaxConns = conns
	s := open(t, o)
	merge(t, s, batch("hz-01", event(1, "YT0000001")))
	s = open(t, o) // which has nothing of it in memory
	stranger, err := pgx.Connect(t.Context(), o.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close(context.WithoutCancel(t.Context()))
	tx, err := stranger.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `LOCK TABLE answer, document`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var depots sync.WaitGroup
	for i := range 8 * o.MaxConns {
		depots.Go(func() {
			switch i % 4 {
			case 0:
				_, _ = s.Merge(ctx, batch("hz-01", event(2, "YT0000001")))
			case 3:
				_, _ = s.Answers(ctx, "hz-01", []snapshot.Ask{{Epoch: 1, Seq: 1, Waybill: "YT0000001"}})
			case 1:
				_, _, _ = s.Document(ctx, "a/1")
			default:
				_, _ = s.PutDocuments(ctx, []string{"a/1"}, [][]byte{{1}}, []int64{0})
			}
		})
	}
	for waiting := 0; waiting < cap(s.places); { // for what the stranger has
		if err := stranger.QueryRow(t.Context(), `SELECT count(*) FROM pg_locks WHERE NOT granted`).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	for range 5 {
		if wb, ok, err := s.Lookup(t.Context(), "YT0000001"); err != nil || !ok || len(wb.Nodes) != 1 {
			t.Errorf("beside them: %+v, %v, %v", wb, ok, err)
		}
	}
	cancel()
	depots.Wait()
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if tx, err = stranger.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `LOCK TABLE waybill`); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Lookup(t.Context(), "YT0000002"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("kept waiting itself: %v", err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
}
