package postgres

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
)

// line fails once: what is sent by a certain call, or the answer to it.
type line struct {
	calls, failAt atomic.Int64
	answer        bool // it is the answer that is lost
	failed        atomic.Bool
}

func (l *line) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	return &wire{Conn: conn, l: l}, err
}

type wire struct {
	net.Conn
	l       *line
	waiting atomic.Bool // for the answer that is lost
}

func (w *wire) Write(b []byte) (int, error) {
	if w.l.calls.Add(1) != w.l.failAt.Load() {
		return w.Conn.Write(b)
	}
	w.l.failed.Store(true)
	if w.l.answer {
		w.waiting.Store(true)
		return w.Conn.Write(b)
	}
	_ = w.Close()
	return 0, io.ErrClosedPipe
}

func (w *wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if w.waiting.CompareAndSwap(true, false) {
		_ = w.Close()
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

// insist repeats a call as a depot does which got no answer.
func insist[T any](t *testing.T, call func() (T, error)) (v T) {
	t.Helper()
	var err error
	for range 4 {
		if v, err = call(); err == nil {
			return v
		}
	}
	t.Fatalf("four times: %v", err)
	return v
}

// lifeOf does what is done to a few waybills, and tells what everybody was told.
func lifeOf(t *testing.T, s *Store, prefix string) (told []string) {
	depot := scan.DepotID("d" + prefix)
	id := func(n int) scan.WaybillID { return scan.WaybillID(fmt.Sprintf("YT%s-%d", prefix, n)) }
	note := func(what string, v any) { told = append(told, fmt.Sprintf("%s %v", what, v)) }
	gained := map[scan.WaybillID]bool{}
	gain := func(ids []scan.WaybillID) {
		for _, id := range ids {
			gained[id] = true
		}
	}
	sent := func(b snapshot.Batch) {
		m := insist(t, func() (snapshot.Merged, error) { return s.Merge(t.Context(), b) })
		gain(m.Gained)
		note("answered", fmt.Sprint(m.Have, m.Answers))
	}
	base := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC).Unix()
	scanned := func(seq uint64, n int) snapshot.Event {
		e := event(seq, string(id(n)))
		e.ActionTime = base + int64(seq)*60
		return e
	}
	with := scanned(2, 2)
	with.Data = &scan.Waybill{CreateTime: base, Receiver: scan.Party{Phone: scan.Phone("138" + prefix)}}
	sent(batch(depot, scanned(1, 1), with, scanned(3, 3)))
	im := insist(t, func() (snapshot.Imported, error) {
		return s.Import(t.Context(), []snapshot.Import{{Waybill: id(1), Data: *with.Data, Children: []scan.WaybillID{id(3)}}})
	})
	gain(im.Gained)
	b := batch(depot, scanned(4, 3), scanned(5, 1))
	b.Bindings = []snapshot.Observation{{Waybill: id(1), Exist: true, At: time.Unix(base, 0)}}
	sent(b)
	sent(b) // again
	note("known", len(insist(t, func() ([]snapshot.Known, error) {
		return s.Known(t.Context(), depot, []scan.WaybillID{id(1), id(2), id(3)})
	})))
	asks := []snapshot.Ask{{Epoch: 1, Seq: 5, Waybill: id(1), EventID: "e5"}, {Epoch: 1, Seq: 9, Waybill: id(1), EventID: "e9"}}
	note("asked", insist(t, func() ([]snapshot.Answer, error) { return s.Answers(t.Context(), depot, asks) }))
	for n := 1; n <= 3; n++ {
		wb := insist(t, func() (snapshot.Waybill, error) {
			wb, ok, err := s.Lookup(t.Context(), id(n))
			if err == nil && !ok {
				t.Errorf("%s is gone", id(n))
			}
			return wb, err
		})
		var path []string
		for _, node := range wb.Nodes {
			path = append(path, node.EventID)
		}
		note("path", path)
	}
	insist(t, func() (snapshot.Forgotten, error) { return s.Forget(t.Context(), snapshot.Retention{Keep: time.Hour}) })
	note("gained", len(gained))
	return told
}

// TestEveryCall fails each call to the database once, before it gets there and as its
// answer comes back: everybody is told the same, and nothing is there twice.
func TestEveryCall(t *testing.T) {
	o := database(t)
	want := lifeOf(t, open(t, o), "0")
	for prefix, answer := range map[string]bool{"s": false, "a": true} {
		n := int64(1)
		for ; ; n++ {
			l := &line{answer: answer}
			l.failAt.Store(n)
			o.dial = l.dial
			s := open(t, o)
			if got := lifeOf(t, s, fmt.Sprint(prefix, n)); !slices.Equal(got, want) {
				t.Errorf("call %d, answer %v:\n%q, want\n%q", n, answer, got, want)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if !l.failed.Load() {
				break
			}
		}
		if n < 15 {
			t.Errorf("%d calls were failed", n-1)
		}
	}
}
