package control

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

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
	o.Password = "a-password-of-the-page"
	h := Public(o)
	for path, want := range map[string]int{
		"/healthz": 200, "/readyz": 503, "/": 200, "/metrics": 401, "/page.js": 401, "/page.css": 401, "/api/status": 401,
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
