package central

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"scanrelay/configs/secret"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/bolt"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat"
	"scanrelay/wechat/callback"
)

const (
	epochA     = "00000000000000aa"
	adminToken = "admin-secret"
	tokenHZ    = "hz-secret"
	tokenSH    = "sh-secret"
	receiver   = "13800138000"
	sender     = "13900139001"
)

// script is a TokenSource that answers as it is told.
type script struct {
	mu    sync.Mutex
	calls int
	forced,
	inFlight, most int
	answer func(call int) (wechat.AccessToken, error)
	quota  func(path string) (wechat.Quota, error) // nil: not granted
	hold   chan struct{}                           // if set, a call waits for it
}

func (s *script) StableToken(ctx context.Context, _ string, _ secret.Text, force bool) (wechat.AccessToken, error) {
	s.mu.Lock()
	s.calls++
	n := s.calls
	s.inFlight++
	s.most = max(s.most, s.inFlight)
	if force {
		s.forced++
	}
	hold := s.hold
	s.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight--
	return s.answer(n)
}

func (s *script) Quota(_ context.Context, _ secret.Text, path string) (wechat.Quota, error) {
	if s.quota == nil {
		return wechat.Quota{}, &wechat.Error{API: wechat.APIQuota, Code: 48001, Msg: "api unauthorized"}
	}
	return s.quota(path)
}

func (s *script) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func always(text string) *script {
	return &script{answer: func(int) (wechat.AccessToken, error) {
		return wechat.AccessToken{Value: secret.Text(text), ExpiresIn: 2 * time.Hour}, nil
	}}
}

// bench is a centre with its store behind a server.
type bench struct {
	*Central
	t     testing.TB
	store *bolt.Store
	url   string
}

func testConfig() Config {
	return Config{
		AppID: "wx1234567890abcdef", Secret: "app-secret-text", Rate: 500, AdminToken: adminToken,
		Callback: Callback{Token: "cb-token", EncodingAESKey: "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", Mode: callback.Plain, SwapNames: true},
		Depots:   []Depot{{ID: "hz-01", Token: tokenHZ}, {ID: "sh-01", Token: tokenSH}},
	}
}

// newBench starts a centre; its Run goes on until the test ends.
func newBench(t testing.TB, change func(o *Options)) *bench {
	t.Helper()
	merge := 20 * time.Millisecond // so that tests see merged and unmerged state
	if _, measuring := t.(*testing.B); measuring {
		merge = 0
	}
	store, err := bolt.Open(t.TempDir(), bolt.Options{MergeEvery: merge})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Config: testConfig(), Snapshot: store, WeChat: always("token-one"), Version: "test"}
	if change != nil {
		change(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(c.Handler())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		server.Close()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := store.Close(); err != nil {
			t.Errorf("close store: %v", err)
		}
	})
	return &bench{Central: c, t: t, store: store, url: server.URL}
}

// stats is the store as it is now.
func (b *bench) stats() snapshot.Stats {
	b.t.Helper()
	s, err := b.store.Stats(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// sync makes one call as a depot; it must succeed.
func (b *bench) sync(token string, r syncapi.Request) *syncapi.Response {
	b.t.Helper()
	resp, err := b.trySync(token, r)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp
}

func (b *bench) trySync(token string, r syncapi.Request) (*syncapi.Response, error) {
	client, err := syncapi.NewClient(syncapi.Options{URL: b.url, Token: token})
	if err != nil {
		return nil, err
	}
	r.V, r.Agent = syncapi.Version, "test"
	if r.Epoch == "" {
		r.Epoch = epochA
	}
	if n := len(r.Events); n > 0 {
		if r.From == 0 {
			r.From = r.Events[0].Seq
		}
		r.NextSeq = max(r.NextSeq, r.Events[n-1].Seq+1)
	}
	resp, err := client.Sync(context.Background(), &r)
	return resp, err
}

// status is the HTTP status of a failed sync.
func status(err error) int {
	var e *syncapi.Error
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

func event(seq uint64, waybill string, at int64) syncapi.Event {
	return syncapi.Event{
		Seq: seq, EventID: "e" + waybill + string(rune('a'+seq%26)), WaybillID: waybill, ActionTime: at, ActionType: 200001,
		ActionMsg: "快件到达 【杭州转运中心】", ReceivedAt: at,
	}
}

// in is the bench within a subtest or a fuzz target.
func (b *bench) in(t testing.TB) *bench {
	c := *b
	c.t = t
	return &c
}

// call makes any request and returns status and body.
func (b *bench) call(method, path, body string, header ...string) (int, string) {
	b.t.Helper()
	req, err := http.NewRequest(method, b.url+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.StatusCode, string(out)
}

func (b *bench) admin(method, path, body string) (int, string) {
	b.t.Helper()
	return b.call(method, path, body, "Authorization", "Bearer "+adminToken)
}

func waybillLine(id string, created int64) string {
	return `{"waybill_id":"` + id + `","create_time":` + itoa(created) +
		`,"sender":{"name":"张三","phone":"` + sender + `","province":"浙江省","city":"绍兴市","area":"柯桥区","address":"纺都路137号"},` +
		`"receiver":{"name":"李四","phone":"` + receiver + `","province":"福建省","city":"泉州市","area":"晋江市","address":"庄宅北区158-6"}}`
}

func (b *bench) importWaybills(ids ...string) {
	b.t.Helper()
	var body strings.Builder
	for _, id := range ids {
		body.WriteString(waybillLine(id, time.Now().Unix()-3600) + "\n")
	}
	if code, out := b.admin("POST", "/v1/waybills", body.String()); code != 200 || !strings.Contains(out, `"rejected":[]`) {
		b.t.Fatalf("import: %d %s", code, out)
	}
}

// eventually waits for something that another goroutine does.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never happened: %s", what)
}
