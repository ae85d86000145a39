package postgres

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"scanrelay/agent/scan"
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
	if _, ends := ctx.Deadline(); !ends {
		l.mu.Lock()
		l.endless = append(l.endless, data.SQL)
		l.mu.Unlock()
	}
	return l.trips.TraceQueryStart(ctx, c, data)
}

// TestDocumentsEnd: no call on documents waits longer for the database than others do.
func TestDocumentsEnd(t *testing.T) {
	o, l := database(t), &limits{}
	o.tracer = l
	s := open(t, o)
	l.endless = nil // what a start asks ends with it
	ctx := context.WithoutCancel(t.Context())
	if done, err := s.PutDocuments(ctx, []string{"a/1"}, [][]byte{{1}}, []int64{0}); !done || err != nil {
		t.Error(done, err)
	}
	_, _, err := s.Document(ctx, "a/1")
	n := 0
	list := s.Documents(ctx, "a/", func(string, []byte) error { n++; return nil })
	if err != nil || list != nil || n != 1 {
		t.Error(err, list, n)
	}
	if len(l.endless) > 0 {
		t.Errorf("without an end: %q", l.endless)
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
	s := open(t, Options{DSN: server.DSN("postgres"), Migrate: true, tracer: c})
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
