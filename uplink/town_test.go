package uplink_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/store"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/bolt"
	"scanrelay/uplink"
	"scanrelay/uplink/central"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat"
	"scanrelay/wechat/fake"
)

// town is a world in synctest's time: the real client, relays, outboxes, centre,
// callback and fake WeChat of several depots, with calls of handlers in place of
// the network. A day passes in it within a moment, so that what lasts until
// midnight can be tested with everything real.
type town struct {
	t      *testing.T
	wechat *fake.Server
	depots []*depot
	front  *handlers // the centre
	api    *handlers // WeChat
}

type depot struct {
	t      *town
	dir    string
	outbox *store.Outbox
	up     *uplink.Uplink
	mu     sync.Mutex
	ended  []store.Record
}

// inTown runs test with that many depots. It begins at 22:00 in Beijing, when
// the token has come everywhere.
func inTown(t *testing.T, depots int, n uplink.Notify, o fake.Options, test func(w *town)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 11, 23, 13, 59, 40, 0, time.UTC)))
		w := &town{t: t}
		front := &handlers{} // the centre, as WeChat reaches it
		o.BoundByDefault, o.Now, o.Transport, o.Callback = true, time.Now, front, "http://central/wechat/callback"
		var err error
		if w.wechat, err = fake.New(o); err != nil {
			t.Fatal(err)
		}
		api := &handlers{h: w.wechat}
		w.front, w.api = front, api
		snap, err := bolt.Open(t.TempDir(), bolt.Options{})
		if err != nil {
			t.Fatal(err)
		}
		c, err := central.New(w.centreOptions(depots, snap, w.client(api)))
		if err != nil {
			t.Fatal(err)
		}
		front.h = c.Handler()
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if err := c.Run(ctx); err != nil {
				t.Errorf("centre: %v", err)
			}
		})
		for i := range depots {
			d := w.open(i, n, front, w.client(api))
			all.Go(func() {
				if err := d.up.Run(ctx); err != nil {
					t.Errorf("depot %d: %v", i, err)
				}
			})
		}
		time.Sleep(20 * time.Second) // the token has come everywhere
		test(w)
		cancel()
		all.Wait()
		w.close(snap)
	})
}

func (w *town) close(snap *bolt.Store) {
	for _, d := range w.depots {
		if err := d.outbox.Close(context.Background()); err != nil {
			w.t.Error(err)
		}
	}
	if err := snap.Close(); err != nil {
		w.t.Error(err)
	}
	w.wechat.Close()
}

func (w *town) centreOptions(depots int, snap snapshot.Store, api *wechat.Client) central.Options {
	o := central.Options{Snapshot: snap, WeChat: api, Config: central.Config{
		AppID: fake.DefaultAppID, Secret: fake.DefaultSecret, Rate: 1e6,
		Callback: central.Callback{Token: fake.DefaultToken, EncodingAESKey: fake.DefaultAESKey, Mode: fake.Secure, SwapNames: true, MaxSkew: 10 * time.Minute},
	}}
	for i := range depots {
		o.Config.Depots = append(o.Config.Depots, central.Depot{ID: scan.DepotID(fmt.Sprint("d", i)), Token: credential(i)})
	}
	return o
}

func credential(depot int) secret.Text { return secret.Text(fmt.Sprint("credential-of-depot-", depot)) }

func (w *town) client(api http.RoundTripper) *wechat.Client {
	w.t.Helper()
	c, err := wechat.NewClient(wechat.Options{BaseURL: "http://wechat", Transport: api})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *town) open(i int, n uplink.Notify, front http.RoundTripper, api *wechat.Client) *depot {
	w.t.Helper()
	return w.openIn(w.t.TempDir(), "", i, n, front, api)
}

// openIn does so in a folder, on a machine.
func (w *town) openIn(dir, machine string, i int, n uplink.Notify, front http.RoundTripper, api *wechat.Client) *depot {
	w.t.Helper()
	d := &depot{t: w, dir: dir}
	w.depots = append(w.depots, d)
	client, err := syncapi.NewClient(syncapi.Options{URL: "http://central", Token: credential(i), Transport: front})
	if err != nil {
		w.t.Fatal(err)
	}
	if d.outbox, err = store.Open(dir, store.Options{MaxSize: 16 << 20, MachineID: machine}); err != nil {
		w.t.Fatal(err)
	}
	d.up = uplink.New(uplink.Config{
		Client: client, Outbox: d.outbox, WeChat: api, Clock: wallClock{}, Notify: defaults(n), Version: "test", StartSpread: -1,
		Logger: slog.New(slog.DiscardHandler), Metrics: metrics.NewSet(),
		Hooks: uplink.Hooks{OnOutcome: func(r store.Record) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.ended = append(d.ended, r)
		}},
	})
	return d
}

// scan stores events; they are on disk at return.
func (d *depot) scan(events ...scan.Event) {
	d.t.t.Helper()
	if _, err := d.outbox.Append(d.t.t.Context(), scan.Batch{Events: events}); err != nil {
		d.t.t.Fatal(err)
	}
}

// record returns the only event of a waybill, as trace shows it.
func (d *depot) record(id scan.WaybillID) store.Record {
	d.t.t.Helper()
	var recs []store.Record
	err := d.outbox.Scan(d.t.t.Context(), store.Filter{Waybill: id}, func(r store.Record) error {
		recs = append(recs, r)
		return nil
	})
	if err != nil || len(recs) != 1 {
		d.t.t.Fatalf("waybill %s: %d records, %v", id, len(recs), err)
	}
	return recs[0]
}

// until lets time pass, at most limit, until the event is as done wants it.
func (d *depot) until(id scan.WaybillID, limit time.Duration, done func(store.Record) bool) store.Record {
	d.t.t.Helper()
	step := time.Millisecond
	for end := time.Now().Add(limit); ; time.Sleep(step) {
		r := d.record(id)
		if done(r) {
			return r
		}
		step += step / 10
		if time.Now().After(end) {
			st := d.up.Status()
			d.t.t.Fatalf("%s after %v: %v, attempts %d, last %+v; WeChat is %s: %s", id, limit, r.State, r.Attempts, r.Last, st.WeChatState, st.WeChatReason)
		}
	}
}

// outcomes returns what ended so far.
func (d *depot) outcomes() []store.Record {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.ended)
}

func finished(r store.Record) bool { return r.State.Finished() }

// calls returns what WeChat was asked by an API.
func (w *town) calls(api fake.API) (out []fake.Call) {
	for _, c := range w.wechat.Calls() {
		if c.API == api {
			out = append(out, c)
		}
	}
	return out
}

// handlers is a network of one host: each request is a call of its handler.
type handlers struct{ h http.Handler }

var errBroken = errors.New("the connection broke")

func (n *handlers) RoundTrip(r *http.Request) (*http.Response, error) {
	if t := httptrace.ContextClientTrace(r.Context()); t != nil {
		t.GetConn(r.URL.Host)
		t.GotConn(httptrace.GotConnInfo{})
		t.WroteHeaders()
	}
	in := r.Clone(r.Context())
	in.RequestURI, in.RemoteAddr = r.URL.RequestURI(), "10.9.8.7:4321"
	answer := make(chan *http.Response, 1)
	go func() {
		var resp *http.Response
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				panic(p)
			}
			answer <- resp
		}()
		w := httptest.NewRecorder()
		n.h.ServeHTTP(w, in)
		resp = w.Result()
	}()
	select {
	case resp := <-answer:
		if resp == nil {
			return nil, errBroken
		}
		resp.Request = r
		return resp, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}
