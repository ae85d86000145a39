package postgres

import (
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/queue"
)

// cable loses the database's answer to the next write, which was committed.
type cable struct {
	trips
	cut     atomic.Bool // armed
	writing atomic.Bool // a write was sent since
}

func (c *cable) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	for _, q := range data.Batch.QueuedQueries {
		if strings.HasPrefix(q.SQL, "INSERT") && c.cut.CompareAndSwap(true, false) {
			c.writing.Store(true)
		}
	}
	return ctx
}

func (c *cable) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	return &cabled{conn, c}, err
}

type cabled struct {
	net.Conn
	c *cable
}

func (c *cabled) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.c.writing.CompareAndSwap(true, false) {
		_ = c.Close()
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

// TestLostAnswer: where a commit's answer is lost the batch is answered as it was
// taken, and what it gained is told: now, or with the next that is taken.
func TestLostAnswer(t *testing.T) {
	o, c := database(t), &cable{}
	o.dial, o.tracer = c.dial, c
	s := open(t, o)
	data := scan.Waybill{CreateTime: time.Now().Unix(), Receiver: scan.Party{Phone: "13800138000"}}
	e := event(1, "YT0000001")
	e.Data = &data
	for range 2 { // at first the statements are prepared, in a trip of their own
		merge(t, s, batch("sh-01", event(1, "OTHER99")))
		importData(t, s, "OTHER99")
	}
	c.cut.Store(true)
	m := merge(t, s, batch("hz-01", e))
	if c.cut.Load() || c.writing.Load() {
		t.Fatal("nothing was lost")
	}
	if m.Have != 1 || m.Answers[0].Result != snapshot.Taken || !slices.Equal(m.Gained, []scan.WaybillID{"YT0000001"}) {
		t.Errorf("merged %+v", m)
	}
	wb, _, err := s.Lookup(t.Context(), "YT0000001")
	if err != nil || len(wb.Nodes) != 1 {
		t.Errorf("looked up %+v, %v", wb, err)
	}
	// Nobody knows for long: the caller gets an error, and the next the news.
	s.settle([]*queue.Request{{Gained: []scan.WaybillID{"YT0000002"}}}, io.ErrUnexpectedEOF)
	if m := merge(t, s, batch("hz-01", event(2, "YT0000001"))); !slices.Equal(m.Gained, []scan.WaybillID{"YT0000002"}) {
		t.Errorf("gained %v", m.Gained)
	}
	if m := merge(t, s, batch("hz-01", event(3, "YT0000001"))); len(m.Gained) > 0 {
		t.Errorf("gained again %v", m.Gained)
	}
}

// TestDamagedRow: a value that is not what was written is not believed, and harms
// nothing beside it.
func TestDamagedRow(t *testing.T) {
	s := open(t, database(t))
	merge(t, s, batch("hz-01", event(1, "YT0000001"), event(2, "YT0000002")))
	if _, err := s.pool.Exec(t.Context(), `UPDATE waybill SET state = set_byte(state, 20, 255 - get_byte(state, 20)) WHERE waybill_id = 'YT0000001'`); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Lookup(t.Context(), "YT0000001"); err == nil {
		t.Error("a damaged value was believed")
	}
	if _, err := s.Merge(t.Context(), batch("hz-01", event(3, "YT0000001"))); err == nil {
		t.Error("an event went into a damaged value")
	}
	if m := merge(t, s, batch("sh-01", event(1, "YT0000002"))); m.Answers[0].Result != snapshot.Taken {
		t.Errorf("beside it: %+v", m)
	}
}
