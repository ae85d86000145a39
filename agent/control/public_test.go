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
	r.Host = host
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
	for _, path := range []string{"/", "/api/status", "/v1/deadletters/retry", "/v1/deadletters/discard"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "http://localhost"+path, nil))
		if w.Code != http.StatusMethodNotAllowed && w.Code != http.StatusNotFound {
			t.Errorf("POST %s: %d", path, w.Code)
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

// The page is opened where there is no Internet.
func TestPageNeedsNothingFromOutside(t *testing.T) {
	if m := regexp.MustCompile(`(?i)(src|href)="(https?:)?//[^"]*"|@import|url\(`).Find(page); m != nil {
		t.Errorf("the page asks for %s", m)
	}
	for _, word := range []string{"扫描设备", "Scanners", "已推送", "Pushed"} {
		if !bytes.Contains(page, []byte(word)) {
			t.Errorf("the page lacks %s", word)
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
