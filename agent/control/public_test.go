package control

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"scanrelay/agent/control/lately"
	"scanrelay/agent/scan"
	"scanrelay/store"
)

func get(h http.Handler, host, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Host, r.RemoteAddr = host, "127.0.0.1:4711"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestPublicPaths(t *testing.T) {
	h := Public(options(sample()))
	for _, row := range []struct {
		path string
		code int
		want string
	}{
		{"/healthz", 200, "ok\n"},
		{"/readyz", 503, "the store is full\n"},
		{"/metrics", 200, "scanrelay_x 1\n"},
		{"/api/status", 200, `"depot":"hz-01"`},
		{"/", 200, "<title>scanrelay</title>"},
		{"/v1/events", 404, ""},
		{"/v1/trace?waybill=YT1234567890123", 404, ""},
		{"/nothing", 404, ""},
	} {
		w := get(h, "127.0.0.1:9108", row.path)
		if w.Code != row.code || !strings.Contains(w.Body.String(), row.want) {
			t.Errorf("GET %s: %d %.200s", row.path, w.Code, w.Body)
		}
	}
}

func TestPublicOnlyReads(t *testing.T) {
	h := Public(options(sample()))
	for _, path := range []string{"/", "/api/status", "/v1/deadletters/retry", "/v1/deadletters/discard", "/api/deadletters/retry", "/api/deadletters/discard", "/api/quarantine/replay", "/signout"} {
		r := httptest.NewRequest(http.MethodPost, "http://localhost"+path, strings.NewReader(`{"all":true}`))
		r.RemoteAddr = "127.0.0.1:4711"
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusMethodNotAllowed && w.Code != http.StatusNotFound && w.Code != http.StatusForbidden {
			t.Errorf("POST %s: %d", path, w.Code)
		}
	}
}

// With a password bare health is all that others get: what else there is asks for a
// sign-in, from this machine too.
func TestPublicBehindTheDoor(t *testing.T) {
	o := options(sample())
	o.Password, o.Lately = "a-password-of-the-page", lately.New(store.Counts{})
	h := Public(o)
	for path, want := range map[string]int{
		"/healthz": 200, "/readyz": 503, "/": 200, "/metrics": 401, "/page.js": 401, "/page.css": 401, "/api/status": 401,
		"/api/trace?waybill=YT1234567890123": 401, "/api/deadletters": 401, "/api/quarantine": 401, "/api/scans": 401, "/api/history": 401, "/api/words": 401,
	} {
		w := get(h, "127.0.0.1:9108", path)
		if w.Code != want || strings.Contains(w.Body.String(), "hz-01") || path == "/" && !strings.Contains(w.Body.String(), `name="password"`) {
			t.Errorf("GET %s: %d %.200s", path, w.Code, w.Body)
		}
	}
	post := func(path, body string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "http://localhost"+path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	if w := post("/signin", "password=wrong"); w.Code != 401 || !strings.Contains(w.Body.String(), `data-state="401"`) {
		t.Errorf("a wrong password: %d %s", w.Code, w.Body)
	}
	cookie := strings.Split(post("/signin", "password=a-password-of-the-page").Header().Get("Set-Cookie"), ";")[0]
	r := httptest.NewRequest(http.MethodGet, "http://localhost/", nil)
	r.Header.Set("Cookie", cookie)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	token := regexp.MustCompile(`name="form-token" content="([A-Z0-9]+)"`).FindStringSubmatch(w.Body.String())
	if w.Code != 200 || token == nil {
		t.Fatalf("signed in: %d %s", w.Code, w.Body)
	}
	for path, body := range map[string]string{
		"/api/deadletters/retry": `{"all":true}`, "/api/deadletters/discard": `{"ids":["0000000000000abc-2"],"reason":"x"}`, "/api/quarantine/replay": `{"all":true}`,
	} {
		if w := post(path, body, "Cookie", cookie); w.Code != 403 {
			t.Errorf("POST %s without the form's token: %d", path, w.Code)
		}
		if w := post(path, body, "Cookie", cookie, "X-Form-Token", token[1]); w.Code == 401 || w.Code == 403 {
			t.Errorf("POST %s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestHostIsChecked(t *testing.T) {
	h := Public(options(sample()))
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1:9108", "localhost", "LOCALHOST:9108", "[::1]:9108", "::1", "10.1.2.3", "gateway.example:9108", "gateway.example.", name} {
		if w := get(h, host, "/healthz"); w.Code != 200 {
			t.Errorf("Host %q: %d, want 200", host, w.Code)
		}
	}
	for _, host := range []string{"", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "evil.example:9108", "evil"} {
		if w := get(h, host, "/api/status"); w.Code != http.StatusForbidden || strings.Contains(w.Body.String(), "hz-01") {
			t.Errorf("Host %q: %d, want 403", host, w.Code)
		}
	}
}

// Each metric that this package promises.
func TestMetricsNames(t *testing.T) {
	var b bytes.Buffer
	c := store.Counts{Received: 3, Requeued: 1, Oldest: at.Add(-2 * time.Second), FileBytes: 9}
	c.Settled[store.Dead] = 2
	WriteMetrics(&b, Status{}, c, at)
	for _, want := range []string{
		"scanrelay_events_received_total 3\n", "scanrelay_requeued_total 1\n",
		`scanrelay_events_pending{stage="unsynced"} 0` + "\n", `scanrelay_events_pending{stage="awaiting_waybill"} 0` + "\n",
		`scanrelay_events_pending{stage="to_push"} 0` + "\n", "scanrelay_oldest_pending_seconds 2\n",
		`scanrelay_outcomes_total{outcome="dead"} 2` + "\n", "scanrelay_store_bytes 9\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s in\n%s", want, b.String())
		}
	}
	for _, line := range strings.Split(strings.TrimSpace(b.String()), "\n") {
		if !strings.HasPrefix(line, "scanrelay_") {
			t.Errorf("%s does not start with scanrelay_", line)
		}
	}
}

// TestPageShowsMasked: what the page lists is masked, whatever is asked for.
func TestPageShowsMasked(t *testing.T) {
	o := options(sample())
	o.Lately = lately.New(store.Counts{})
	o.Lately.Stored(scan.Batch{Events: []scan.Event{{Waybill: "YT1234567890123", ActionMsg: "派件中,电话13800138000"}}}, scan.Stored{Events: 1})
	o.Wear = func() (int64, int) { return 1 << 30, 20 }
	h := Public(o)
	for path, want := range map[string]string{
		"/api/trace?waybill=yt1234567890123&reveal=1": `"action_msg":"***,**138******00"`,
		"/api/trace?waybill=YT0":                      `{"error":"no event of this waybill is stored here"}`,
		"/api/deadletters?reveal=1":                   `"last_error":"refused for ** 138******00"`,
		"/api/quarantine?reveal=1":                    `"text":"tel 138******00"`,
		"/api/scans":                                  `"waybill_id":"YT1234567890123"`,
		"/api/history":                                `"written_per_day":1073741824,"life_used":20`,
		"/api/words":                                  `收不到扫描`,
	} {
		w := get(h, "127.0.0.1:9108", path)
		if w.Code != 200 || !strings.Contains(w.Body.String(), want) || strings.Contains(w.Body.String(), "13800138000") || strings.Contains(w.Body.String(), "李四") {
			t.Errorf("GET %s: %d %s, want %s", path, w.Code, w.Body, want)
		}
	}
}

// TestPageListsAreBounded: of many dead letters the first are shown, of the quarantine the
// newest, and that there are more.
func TestPageListsAreBounded(t *testing.T) {
	s := sample()
	for range shownDead {
		s.records = append(s.records, s.records[1])
	}
	for i := range shownRejected + 5 {
		q := s.quarantined[0]
		q.Seq, q.Payload = uint64(100+i), bytes.Repeat([]byte("x"), shownPayload+1)
		s.quarantined = append(s.quarantined, q)
	}
	h := Public(options(s))
	for path, most := range map[string]int{"/api/deadletters": shownDead, "/api/quarantine": shownRejected} {
		var list listed[rejectedText]
		if err := json.Unmarshal(get(h, "localhost", path).Body.Bytes(), &list); err != nil || len(list.List) != most || !list.More {
			t.Errorf("GET %s: %d, more %v, %v", path, len(list.List), list.More, err)
		} else if path == "/api/quarantine" && (list.List[0].ID != "rejected-204" || len(list.List[0].Text) != shownPayload) {
			t.Errorf("the newest is %s with %d bytes", list.List[0].ID, len(list.List[0].Text))
		}
	}
}

// TestCutPayloadShowsNoPartOfANumber: what is cut in the middle of a phone shows no more of it
// than what is masked whole.
func TestCutPayloadShowsNoPartOfANumber(t *testing.T) {
	s := sample()
	for shown := range 12 {
		q := s.quarantined[0]
		q.Seq, q.Payload = uint64(100+shown), []byte(strings.Repeat("x", shownPayload-shown)+"13800138000")
		s.quarantined = append(s.quarantined, q)
	}
	if w := get(Public(options(s)), "localhost", "/api/quarantine"); strings.Contains(w.Body.String(), "1380") {
		t.Errorf("%s", w.Body)
	}
}

// TestLooksThroughTheStoreAreFew: a page that asks without end leaves the store to intake.
func TestLooksThroughTheStoreAreFew(t *testing.T) {
	s := &slow{stored: sample(), begun: make(chan struct{}), goOn: make(chan struct{})}
	h := Public(options(s))
	var all sync.WaitGroup
	for range maxLooks {
		all.Go(func() { get(h, "localhost", "/api/deadletters") })
		<-s.begun
	}
	if w := get(h, "localhost", "/api/trace?waybill=YT1"); w.Code != http.StatusTooManyRequests {
		t.Errorf("one look more: %d", w.Code)
	}
	close(s.goOn)
	all.Wait()
}

// slow is a store whose scans wait.
type slow struct {
	*stored
	begun, goOn chan struct{}
}

func (s *slow) Scan(ctx context.Context, f store.Filter, fn func(store.Record) error) error {
	s.begun <- struct{}{}
	<-s.goOn
	return s.stored.Scan(ctx, f, fn)
}

// TestReasonsInChinese: the page asks for many at once, within bounds.
func TestReasonsInChinese(t *testing.T) {
	o := options(sample())
	o.Chinese = func(s string) string { return "中:" + s }
	ask := func(body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "http://localhost/api/chinese", strings.NewReader(body))
		r.RemoteAddr = "127.0.0.1:1"
		w := httptest.NewRecorder()
		Public(o).ServeHTTP(w, r)
		return w
	}
	if w := ask(`{"texts":["a","b"]}`); w.Body.String() != `["中:a","中:b"]`+"\n" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for _, body := range []string{"", `{"texts":[` + strings.Repeat(`"",`, maxTexts) + `""]}`, `{"texts":["` + strings.Repeat("x", maxTextsBody) + `"]}`} {
		if w := ask(body); w.Code != 400 {
			t.Errorf("%.40s: %d", body, w.Code)
		}
	}
	o.Chinese = nil
	if w := ask(`{"texts":["a"]}`); w.Body.String() != `["a"]`+"\n" {
		t.Errorf("without a dictionary: %s", w.Body)
	}
}
