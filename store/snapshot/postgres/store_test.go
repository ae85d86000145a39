package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/postgres/pgtest"
)

// testKey is a master key.
const testKey = secret.Text("00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff")

// trips counts what goes to the database and back.
type trips struct{ n atomic.Int64 }

func (c *trips) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.n.Add(1)
	return ctx
}
func (c *trips) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
func (c *trips) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	c.n.Add(1)
	return ctx
}
func (c *trips) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (c *trips) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

func open(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // it never fails
	return s
}

func database(t testing.TB) Options {
	server, name := pgtest.Database(t)
	return Options{DSN: server.DSN(name), MaxConns: 4, Key: testKey, Migrate: true}
}

// event is one that a depot may send.
func event(seq uint64, waybill string) snapshot.Event {
	return snapshot.Event{Seq: seq, Event: scan.Event{
		EventID: fmt.Sprint("e", seq), Waybill: scan.WaybillID(waybill), ActionTime: time.Now().Unix(), ActionType: scan.ActionTransport,
		ActionMsg: "快件到达", ReceivedAt: time.Now(),
	}}
}

func batch(depot scan.DepotID, events ...snapshot.Event) snapshot.Batch {
	return snapshot.Batch{Depot: depot, Epoch: 1, From: events[0].Seq, NextSeq: events[len(events)-1].Seq + 1, Events: events}
}

func merge(t testing.TB, s *Store, b snapshot.Batch) snapshot.Merged {
	t.Helper()
	m, err := s.Merge(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func importData(t testing.TB, s *Store, id string, children ...scan.WaybillID) {
	t.Helper()
	data := scan.Waybill{CreateTime: time.Now().Unix(), Receiver: scan.Party{Name: "李四", Phone: "13800138000"}}
	got, err := s.Import(t.Context(), []snapshot.Import{{Waybill: scan.WaybillID(id), Data: data, Children: children}})
	if err != nil || len(got.Refused) > 0 {
		t.Fatalf("%+v, %v", got, err)
	}
}

// TestRoundTrips: how often the database is asked does not grow with a batch.
func TestRoundTrips(t *testing.T) {
	o, c := database(t), &trips{}
	o.tracer = c
	s := open(t, o)
	importData(t, s, "MOTHER1", "CHILD01")
	seq := uint64(0)
	big := func(n int) snapshot.Batch {
		var events []snapshot.Event
		for range n {
			seq++
			events = append(events, event(seq, fmt.Sprintf("YT%d", seq)))
		}
		return batch("hz-01", events...)
	}
	count := func(what string, most int64, do func()) {
		t.Helper()
		for range 2 { // the first time statements are prepared
			c.n.Store(0)
			do()
		}
		if n := c.n.Load(); n == 0 || n > most {
			t.Errorf("%s: %d round trips, at most %d may be", what, n, most)
		}
	}
	count("a batch of 1", 2, func() { merge(t, s, big(1)) })
	count("a batch of 1,000", 2, func() { merge(t, s, big(1000)) })
	count("with a parcel and a binding", 4, func() {
		seq++
		b := batch("hz-01", event(seq, "CHILD01"))
		b.Bindings = []snapshot.Observation{{Waybill: "MOTHER1", Exist: true, At: time.Now()}}
		merge(t, s, b)
	})
	count("an empty sync", 1, func() { merge(t, s, snapshot.Batch{Depot: "hz-01", Epoch: 1, NextSeq: seq + 1}) })
	lookup := func(id scan.WaybillID) func() {
		return func() {
			if _, ok, err := s.Lookup(t.Context(), id); !ok || err != nil {
				t.Errorf("lookup of %s: %v, %v", id, ok, err)
			}
		}
	}
	count("a lookup", 1, lookup("YT1"))
	count("a parcel's", 2, lookup("CHILD01"))
}

// TestMigrate: however many bring the schema up to date at once, each step is taken
// once; an old one is refused where nobody may change it, and a newer one always.
func TestMigrate(t *testing.T) {
	o := database(t)
	ctx := t.Context()
	if n, err := Behind(ctx, o); n != len(steps) || err != nil {
		t.Fatalf("an empty database is %d behind, %v", n, err)
	}
	o.Migrate = false
	if _, err := Open(ctx, o); err == nil || !strings.Contains(err.Error(), "central migrate") {
		t.Fatalf("opened without a schema: %v", err)
	}
	var all sync.WaitGroup
	var taken atomic.Int64
	for range 4 {
		all.Go(func() {
			n, err := Migrate(ctx, o, func(string) {})
			if err != nil {
				t.Error(err)
			}
			taken.Add(int64(n))
		})
	}
	if all.Wait(); taken.Load() != int64(len(steps)) {
		t.Errorf("%d steps were taken, want %d", taken.Load(), len(steps))
	}
	if n, err := Behind(ctx, o); n != 0 || err != nil {
		t.Errorf("%d behind, %v", n, err)
	}
	s := open(t, o)
	if _, err := s.pool.Exec(ctx, sqlTakeVersion, 77); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"open":    func() error { _, err := Open(ctx, o); return err }(),
		"migrate": func() error { _, err := Migrate(ctx, o, nil); return err }(),
		"check":   func() error { _, err := Behind(ctx, o); return err }(),
	} {
		if !errors.Is(err, snapshot.ErrNewer) || !strings.Contains(err.Error(), "77") || !strings.Contains(err.Error(), fmt.Sprint(len(steps))) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestRefused: what the database refuses for good is an error at once, and shows no
// password; that commits are not durable is refused too.
func TestRefused(t *testing.T) {
	o := database(t)
	o.DSN += " password=open-sesame"
	for what, dsn := range map[string]string{
		"does not exist":     strings.Replace(o.DSN, "dbname=", "dbname=no_", 1),
		"cannot parse":       "postgres://carrier:open-sesame@:x/db?sslmode=bad",
		"synchronous_commit": o.DSN + " options='-c synchronous_commit=off'",
	} {
		bad := o
		bad.DSN = dsn
		_, err := Open(t.Context(), bad)
		if err == nil || !strings.Contains(err.Error(), what) || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
