package postgres

import (
	"bytes"
	"context"
	"errors"
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
	"scanrelay/store/snapshot/values"
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

// TestDamagedRow: a value that is not what was written is not believed, is named and
// kept, and holds up neither the depots that have scanned the waybill nor others: it
// begins anew with what comes, and nobody is told that it has no data until it has.
func TestDamagedRow(t *testing.T) {
	o := database(t)
	s, running := open(t, o), open(t, o)
	importData(t, s, "YT0000001")
	merge(t, s, batch("hz-01", event(1, "YT0000001"), event(2, "YT0000002")))
	if _, err := s.pool.Exec(t.Context(), `UPDATE waybill SET state = set_byte(state, 20, 255 - get_byte(state, 20)) WHERE waybill_id = 'YT0000001'`); err != nil {
		t.Fatal(err)
	}
	var row, kept []byte
	var version int64
	if err := s.pool.QueryRow(t.Context(), `SELECT state, version FROM waybill WHERE waybill_id = 'YT0000001'`).Scan(&row, &version); err != nil {
		t.Fatal(err)
	}
	damaged := func(s *Store) {
		t.Helper()
		if _, _, err := s.Lookup(t.Context(), "YT0000001"); !errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("a lookup: %v", err)
		}
	}
	damaged(s)
	known, err := s.Known(t.Context(), "hz-01", []scan.WaybillID{"YT0000001", "YT0000002"})
	if err != nil || len(known) > 0 {
		t.Errorf("known %+v, %v", known, err)
	}
	asks := []snapshot.Ask{{Epoch: 1, Seq: 1, Waybill: "YT0000001", EventID: event(1, "YT0000001").EventID}, {Epoch: 1, Seq: 2, Waybill: "YT0000002", EventID: event(2, "YT0000002").EventID}}
	if all, err := s.Answers(t.Context(), "hz-01", asks); err != nil || all[0].Result != snapshot.Unknown || all[1].Result != snapshot.Taken {
		t.Errorf("asked: %+v, %v", all, err)
	}
	m := merge(t, s, batch("hz-01", event(3, "YT0000001"), event(4, "YT0000002")))
	if m.Have != 4 || m.Answers[0].Result != snapshot.Taken || m.Answers[0].HasData || m.Answers[1].Result != snapshot.Taken {
		t.Errorf("%+v", m)
	}
	other := open(t, o)
	for _, s := range []*Store{s, running, other} {
		damaged(s)
	}
	if err := s.pool.QueryRow(t.Context(), `SELECT doc FROM document WHERE name LIKE 'damaged/YT0000001/%'`).Scan(&kept); err != nil || !bytes.Equal(kept, row) {
		t.Errorf("the row is not kept: %v", err)
	}
	if st, err := s.Stats(t.Context()); err != nil || len(st.Damage) != 1 || !strings.Contains(st.Damage[0], "waybill YT0000001 is unreadable") {
		t.Errorf("%q, %v", st.Damage, err)
	}
	importData(t, s, "YT0000001")
	for _, s := range []*Store{s, other} {
		if wb, ok, err := s.Lookup(t.Context(), "YT0000001"); err != nil || !ok || wb.Data == nil || len(wb.Nodes) != 1 {
			t.Errorf("imported again: %+v, %v, %v", wb, ok, err)
		}
	}
	// The table alone comes back from a backup.
	if _, err := s.pool.Exec(t.Context(), `UPDATE waybill SET state = $1, version = $2 WHERE waybill_id = 'YT0000001'`, row, version); err != nil {
		t.Fatal(err)
	}
	if m := merge(t, s, batch("hz-01", event(5, "YT0000001"))); m.Have != 5 {
		t.Errorf("beside a row that was set aside before: %+v", m)
	}
}

// TestUnknownForm: a row that a later version wrote is none that is damaged: it stays.
func TestUnknownForm(t *testing.T) {
	s := open(t, database(t))
	merge(t, s, batch("hz-01", event(1, "YT0000001")))
	row := values.Seal([]byte("YT0000001"), []byte("a form that is not known"))
	if _, err := s.pool.Exec(t.Context(), `UPDATE waybill SET state = $1`, row); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Merge(t.Context(), batch("hz-01", event(2, "YT0000001"))); err == nil {
		t.Error("an event went into it")
	}
	var kept []byte
	if err := s.pool.QueryRow(t.Context(), `SELECT state FROM waybill`).Scan(&kept); err != nil || !bytes.Equal(kept, row) {
		t.Errorf("it was changed, %v", err)
	}
}
