package uplink_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/agent/scan"
	"scanrelay/store"
	"scanrelay/store/snapshot/bolt"
	"scanrelay/uplink"
	"scanrelay/uplink/central"
	"scanrelay/uplink/push"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat"
	"scanrelay/wechat/fake"
)

// world is everything real but the scanners: the outbox on disk, the relays, a
// centre with its snapshot on disk, and the fake WeChat, which looks every push
// up at the centre. HTTP goes over loopback.
type world struct {
	t       testing.TB
	outbox  *store.Outbox
	dir     string // of the centre's snapshot
	centre  *swap
	central *httptest.Server
	snap    *bolt.Store
	stopC   func() // stops the centre
	wechat  *fake.Server
	api     *httptest.Server
	up      *uplink.Uplink
	stopUp  func()
	mu      sync.Mutex
	stub    push.WeChat    // in place of the fake, in benchmarks
	ended   map[uint64]int // outcomes per sequence number
	last    time.Time      // of the last outcome
}

// swap is a handler that can be replaced, or be away.
type swap struct {
	mu sync.Mutex
	h  http.Handler
}

func (s *swap) set(h http.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.h = h
}

func (s *swap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	h := s.h
	s.mu.Unlock()
	if h == nil {
		panic(http.ErrAbortHandler) // the connection just breaks
	}
	h.ServeHTTP(w, r)
}

const depotToken = "depot-token-depot-token"

func newWorld(t testing.TB, n uplink.Notify, o fake.Options) *world {
	t.Helper()
	return newWorldWith(t, n, o, nil)
}

// newWorldWith is newWorld with another WeChat to push to, if stub is not nil;
// the token still comes from the fake.
func newWorldWith(t testing.TB, n uplink.Notify, o fake.Options, stub push.WeChat) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), centre: &swap{}, ended: map[uint64]int{}, stub: stub}
	w.central = httptest.NewUnstartedServer(w.centre)
	w.central.Config.ErrorLog = nil
	w.central.Start()
	t.Cleanup(w.central.Close)

	o.Callback = w.central.URL + "/wechat/callback"
	var err error
	if w.wechat, err = fake.New(o); err != nil {
		t.Fatal(err)
	}
	w.api = httptest.NewServer(w.wechat)
	t.Cleanup(func() { w.wechat.Close(); w.api.Close() })
	w.startCentral()
	t.Cleanup(func() { w.stopC() })

	if w.outbox, err = store.Open(t.TempDir(), store.Options{MaxSize: 256 << 20}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.outbox.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	w.startUplink(n)
	t.Cleanup(func() { w.stopUp() })
	return w
}

// startCentral starts the centre on what is in its folder.
func (w *world) startCentral() {
	w.t.Helper()
	var err error
	if w.snap, err = bolt.Open(w.dir, bolt.Options{}); err != nil {
		w.t.Fatal(err)
	}
	client, err := wechat.NewClient(wechat.Options{BaseURL: w.api.URL})
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := central.New(central.Options{Snapshot: w.snap, WeChat: client, Config: central.Config{
		AppID: fake.DefaultAppID, Secret: fake.DefaultSecret, Rate: 1e6, AdminToken: "admin-admin-admin-admin",
		Callback: central.Callback{Token: fake.DefaultToken, EncodingAESKey: fake.DefaultAESKey, Mode: fake.Secure, SwapNames: true, MaxSkew: 10 * time.Minute},
		Depots:   []central.Depot{{ID: "hz-01", Token: depotToken}},
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(ctx) }()
	w.centre.set(c.Handler())
	w.stopC = func() {
		w.centre.set(nil)
		cancel()
		<-done
		if err := w.snap.Close(); err != nil {
			w.t.Error(err)
		}
		w.stopC = func() {}
	}
}

func (w *world) startUplink(n uplink.Notify) {
	w.t.Helper()
	client, err := syncapi.NewClient(syncapi.Options{URL: w.central.URL, Token: depotToken})
	if err != nil {
		w.t.Fatal(err)
	}
	var we push.WeChat
	if we, err = wechat.NewClient(wechat.Options{BaseURL: w.api.URL}); err != nil {
		w.t.Fatal(err)
	}
	if w.stub != nil {
		we = w.stub
	}
	w.up = uplink.New(uplink.Config{
		Client: client, Outbox: w.outbox, WeChat: we, Clock: wallClock{}, Notify: defaults(n), Version: "test", StartSpread: -1,
		Logger: slog.New(slog.DiscardHandler), Metrics: metrics.NewSet(),
		Hooks: uplink.Hooks{OnOutcome: func(r store.Record) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.ended[r.ID.Seq]++
			w.last = time.Now()
		}},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.up.Run(ctx) }()
	w.stopUp = func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("run: %v", err)
		}
		w.stopUp = func() {}
	}
}

type wallClock struct{}

func (wallClock) Now() time.Time                 { return time.Now() }
func (wallClock) Believable() bool               { return true }
func (wallClock) Heard(time.Time, time.Duration) {}

// someone is waybill data whose receiver's phone is derived from i.
func someone(i int) *scan.Waybill {
	p := scan.Party{Name: "李四", Phone: scan.Phone(fmt.Sprintf("139%08d", i)), Province: "福建省", City: "泉州市", Area: "晋江市"}
	return &scan.Waybill{CreateTime: time.Now().Unix() - 86400, Sender: p, Receiver: p}
}

// scanOf is an event of waybill i with data.
func scanOf(i int, at time.Time) scan.Event {
	return scan.Event{
		EventID: fmt.Sprintf("e%d-%d", i, at.UnixNano()), Waybill: scan.WaybillID(fmt.Sprintf("YT%013d", i)), ActionType: scan.ActionTransport,
		ActionTime: at.Unix(), ActionMsg: "快件到达 【杭州转运中心】", ReceivedAt: at, Data: someone(i),
	}
}

func (w *world) append(events ...scan.Event) {
	w.t.Helper()
	if _, err := w.outbox.Append(context.Background(), scan.Batch{Events: events}); err != nil {
		w.t.Fatal(err)
	}
}

// longest bounds how long a test waits for what must happen, on any machine.
const longest = 5 * time.Minute

// await waits until every event has an outcome.
func (w *world) await() store.Counts {
	w.t.Helper()
	end := time.Now().Add(longest)
	for {
		c := w.outbox.Counts()
		if c.State[store.Unsynced]+c.State[store.ToPush]+c.State[store.AwaitingWaybill] == 0 {
			return c
		}
		if time.Now().After(end) {
			w.t.Fatalf("not all ended within %v: %v, status %+v", longest, c.State, w.up.Status())
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// since is the time from start to the last outcome.
func (w *world) since(start time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last.Sub(start)
}

// check compares the outbox with WeChat's side.
func (w *world) check(c store.Counts, pushed uint64, twice int) {
	w.t.Helper()
	if c.State[store.Pushed] != pushed {
		w.t.Errorf("outcomes are %v, want %d pushed", c.State, pushed)
	}
	seen, last := map[string]int{}, map[string]int64{}
	for _, p := range w.wechat.Pushes() {
		seen[fmt.Sprint(p.WaybillID, p.Node.ActionTime, p.Node.ActionType)]++
		if p.Node.ActionTime < last[p.WaybillID] {
			w.t.Errorf("waybill %s: an earlier node was shown after a later one", p.WaybillID)
		}
		last[p.WaybillID] = p.Node.ActionTime
	}
	again := 0
	for _, n := range seen {
		again += n - 1
	}
	if len(seen) != int(pushed) || again > twice {
		w.t.Errorf("WeChat showed %d nodes, %d of them again; want %d and at most %d", len(seen), again, pushed, twice)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for seq, n := range w.ended {
		if n != 1 {
			w.t.Errorf("event %d ended %d times", seq, n)
		}
	}
}

// post calls the centre as the carrier's system does.
func (w *world) post(path, body string) {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodPost, w.central.URL+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer admin-admin-admin-admin")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		w.t.Fatalf("%s: HTTP %d", path, resp.StatusCode)
	}
}
