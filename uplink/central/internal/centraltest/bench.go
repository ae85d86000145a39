package centraltest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/bolt"
	"scanrelay/uplink/central"
	"scanrelay/uplink/central/internal/account"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat/callback"
)

// What the centre under test is configured with, and who its parcels are for.
const (
	EpochA     = "00000000000000aa"
	AdminToken = "admin-secret"
	TokenHZ    = "hz-secret" // of depot hz-01
	TokenSH    = "sh-secret" // of depot sh-01
	Receiver   = "13800138000"
	Sender     = "13900139001"
	Parcel     = "YT1234567890123"
)

// Bench is a centre with its store behind a server.
type Bench struct {
	*central.Central
	T     testing.TB
	Store *bolt.Store
	URL   string
}

// Config is that centre's.
func Config() central.Config {
	return central.Config{
		AppID: "wx1234567890abcdef", Secret: "app-secret-text", Rate: 500, AdminToken: AdminToken,
		Callback: central.Callback{Token: "cb-token", EncodingAESKey: "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", Mode: callback.Plain, SwapNames: true},
		Depots:   []central.Depot{{ID: "hz-01", Token: TokenHZ}, {ID: "sh-01", Token: TokenSH}},
	}
}

// New starts a centre; its Run goes on until the test ends.
func New(t testing.TB, change func(o *central.Options)) *Bench {
	t.Helper()
	merge := 20 * time.Millisecond // so that tests see merged and unmerged state
	if _, measuring := t.(*testing.B); measuring {
		merge = 0
	}
	store, err := bolt.Open(t.TempDir(), bolt.Options{MergeEvery: merge})
	if err != nil {
		t.Fatal(err)
	}
	o := central.Options{Config: Config(), Snapshot: store, WeChat: account.Always("token-one"), Version: "test"}
	if change != nil {
		change(&o)
	}
	c, err := central.New(o)
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
	return &Bench{Central: c, T: t, Store: store, URL: server.URL}
}

// Stats is the store as it is now.
func (b *Bench) Stats() snapshot.Stats {
	b.T.Helper()
	s, err := b.Store.Stats(context.Background())
	if err != nil {
		b.T.Fatal(err)
	}
	return s
}

// Sync makes one call as a depot; it must succeed.
func (b *Bench) Sync(token string, r syncapi.Request) *syncapi.Response {
	b.T.Helper()
	resp, err := b.TrySync(token, r)
	if err != nil {
		b.T.Fatal(err)
	}
	return resp
}

// TrySync makes one call as a depot.
func (b *Bench) TrySync(token string, r syncapi.Request) (*syncapi.Response, error) {
	client, err := syncapi.NewClient(syncapi.Options{URL: b.URL, Token: secret.Text(token)})
	if err != nil {
		return nil, err
	}
	r.V, r.Agent = syncapi.Version, "test"
	if r.Epoch == "" {
		r.Epoch = EpochA
	}
	if n := len(r.Events); n > 0 {
		if r.From == 0 {
			r.From = r.Events[0].Seq
		}
		r.NextSeq = max(r.NextSeq, r.Events[n-1].Seq+1)
	}
	return client.Sync(context.Background(), &r)
}

// Status is the HTTP status of a failed sync.
func Status(err error) int {
	var e *syncapi.Error
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

// Event is a sound event; its id follows from number and waybill.
func Event(seq uint64, waybill string, at int64) syncapi.Event {
	return syncapi.Event{
		Seq: seq, EventID: "e" + waybill + string(rune('a'+seq%26)), WaybillID: scan.WaybillID(waybill), ActionTime: at, ActionType: 200001,
		ActionMsg: "快件到达 【杭州转运中心】", ReceivedAt: at,
	}
}

// In is the bench within a subtest or a fuzz target.
func (b *Bench) In(t testing.TB) *Bench {
	c := *b
	c.T = t
	return &c
}

// Call makes any request and returns status and body.
func (b *Bench) Call(method, path, body string, header ...string) (int, string) {
	b.T.Helper()
	req, err := http.NewRequest(method, b.URL+path, strings.NewReader(body))
	if err != nil {
		b.T.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.T.Fatal(err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil {
		b.T.Fatal(err)
	}
	return resp.StatusCode, string(out)
}

// Admin makes any request with the admin token.
func (b *Bench) Admin(method, path, body string) (int, string) {
	b.T.Helper()
	return b.Call(method, path, body, "Authorization", "Bearer "+AdminToken)
}

// Line is one line of an import.
func Line(id string, created int64) string {
	return `{"waybill_id":"` + id + `","create_time":` + strconv.FormatInt(created, 10) +
		`,"sender":{"name":"张三","phone":"` + Sender + `","province":"浙江省","city":"绍兴市","area":"柯桥区","address":"纺都路137号"},` +
		`"receiver":{"name":"李四","phone":"` + Receiver + `","province":"福建省","city":"泉州市","area":"晋江市","address":"庄宅北区158-6"}}`
}

// Import stores data of these waybills.
func (b *Bench) Import(ids ...string) {
	b.T.Helper()
	var body strings.Builder
	for _, id := range ids {
		body.WriteString(Line(id, time.Now().Unix()-3600) + "\n")
	}
	if code, out := b.Admin("POST", "/v1/waybills", body.String()); code != 200 || !strings.Contains(out, `"rejected":[]`) {
		b.T.Fatalf("import: %d %s", code, out)
	}
}

// Eventually waits for something that another goroutine does.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never happened: %s", what)
}

// Landing is what the landing page is given.
type Landing struct {
	ResultCode        int
	ResultMsg         string
	WaybillID         string `json:"WaybillId"`
	WaybillCreateTime int64
	Path              []map[string]any
	Cells             []map[string]string
}

// JSONP calls the landing page and returns what the function is called with.
func (b *Bench) JSONP(id, phone string, header ...string) (int, string, Landing) {
	b.T.Helper()
	q := url.Values{"waybill_id": {id}, "phone": {phone}, "callback": {"jQuery.cb_1"}}
	code, out := b.Call("GET", "/jsonp/waybill?"+q.Encode(), "", header...)
	var l Landing
	if code == 200 {
		body, ok := strings.CutPrefix(out, "/**/jQuery.cb_1(")
		body, ok2 := strings.CutSuffix(body, ");")
		if err := json.Unmarshal([]byte(body), &l); err != nil || !ok || !ok2 {
			b.T.Fatalf("%s: %v", out, err)
		}
	}
	return code, out, l
}

// Zipped is a text under gzip.
func Zipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(s))
	_ = z.Close()
	return b.String()
}

// Metric is a metric's value as /metrics shows it; "" if it is not there.
func (b *Bench) Metric(name string) string {
	b.T.Helper()
	_, text := b.Admin("GET", "/metrics", "")
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			return value
		}
	}
	return ""
}
