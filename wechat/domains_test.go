package wechat

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const (
	first  = "https://first.test"
	second = "https://second.test"
)

func testDomains(fallback string) (*domains, *time.Time) {
	now := time.Unix(1_000_000, 0)
	return &domains{base: first, fallback: fallback, log: slog.New(slog.DiscardHandler), now: func() time.Time { return now }}, &now
}

// use makes n calls and returns the domain of the last.
func use(d *domains, n int, connected bool) (last string) {
	for range n {
		last = d.pick()
		d.report(last, connected)
	}
	return last
}

func TestDomainsSwitchAndComeHome(t *testing.T) {
	d, now := testDomains(second)
	use(d, switchAfter-1, false)
	use(d, 1, true) // one that connects starts the count anew
	if use(d, switchAfter, false) != first || d.pick() != second {
		t.Fatalf("after %d failures in a row the second domain is not used", switchAfter)
	}
	use(d, 10, true)
	*now = now.Add(homeAfter - time.Second)
	if d.pick() != second {
		t.Error("tried the first domain too early")
	}
	*now = now.Add(time.Second)
	if d.pick() != first {
		t.Error("the first domain is not tried again")
	}
	if d.pick() != second {
		t.Error("more than one call tries the first domain")
	}
	d.report(first, false)
	if d.pick() != second {
		t.Error("a failed trial went home")
	}
	*now = now.Add(homeAfter)
	use(d, 1, true) // the trial
	if d.pick() != first {
		t.Error("a trial that went well did not go home")
	}
}

// The second domain may fail as well; then it is the first one's turn.
func TestDomainsBothFail(t *testing.T) {
	d, _ := testDomains(second)
	use(d, switchAfter, false)
	if use(d, switchAfter, false) != second || d.pick() != first {
		t.Error("stays with a second domain that does not connect")
	}
}

// Calls that began before the switch report late; they count for nothing.
func TestDomainsLateReports(t *testing.T) {
	d, _ := testDomains(second)
	use(d, switchAfter, false)
	for range 10 {
		d.report(first, false)
	}
	if d.pick() != second {
		t.Error("late reports about the first domain switched back")
	}
}

func TestDomainsWithoutFallback(t *testing.T) {
	d, _ := testDomains("")
	if use(d, 100, false) != first || d.pick() != first {
		t.Error("there is no second domain")
	}
}

// The whole client: a domain that refuses connections, and one that serves.
func TestClientFallsBack(t *testing.T) {
	served := 0
	alive := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served++
		_, _ = w.Write([]byte(`{"exist":1}`))
	}))
	defer alive.Close()
	dead := httptest.NewServer(nil)
	dead.Close()
	c, err := NewClient(Options{BaseURL: dead.URL, FallbackURL: alive.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdleConnections()
	for i := range switchAfter {
		var e *Error
		if _, err := c.UserQuery(t.Context(), "token", "1"); !errors.As(err, &e) || e.Class() != Transient || e.Sent {
			t.Fatalf("call %d: %v", i, err)
		}
	}
	if exist, err := c.UserQuery(t.Context(), "token", "1"); err != nil || !exist || served != 1 {
		t.Errorf("at the second domain: %v, %v, served %d", exist, err, served)
	}
}

// Answers of any kind, errors among them, and lost connections do not switch.
func TestOnlyConnectFailuresSwitch(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"500":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"busy": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"errcode":-1}`)) },
		"cut":  func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		server := httptest.NewServer(handler)
		c, err := NewClient(Options{BaseURL: server.URL, FallbackURL: second})
		if err != nil {
			t.Fatal(err)
		}
		for range switchAfter {
			if _, err := c.UserQuery(t.Context(), "token", "1"); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
		if got := c.domains.pick(); got != server.URL {
			t.Errorf("%s: switched to %s", name, got)
		}
		c.CloseIdleConnections()
		server.Close()
	}
}

// A stop cancels calls that are still connecting; that says nothing about the
// domain.
func TestCancelDoesNotSwitch(t *testing.T) {
	dialing := make(chan bool)
	tr := NewTransport()
	tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		dialing <- true
		<-ctx.Done()
		return nil, ctx.Err()
	}
	c, err := NewClient(Options{BaseURL: first, FallbackURL: second, Transport: tr})
	if err != nil {
		t.Fatal(err)
	}
	for range switchAfter {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-dialing
			cancel()
		}()
		var e *Error
		if _, err := c.UserQuery(ctx, "token", "1"); !errors.As(err, &e) || !errors.Is(err, context.Canceled) || e.Sent {
			t.Errorf("%v, want a cancelled call that was not sent", err)
		}
	}
	if c.domains.pick() != first {
		t.Error("switched")
	}
}

func TestNewClient(t *testing.T) {
	for _, k := range []struct{ base, fallback, wantBase, wantFallback, err string }{
		{"", "", DefaultBaseURL, DefaultFallbackURL, ""},
		{DefaultBaseURL + "/", "", DefaultBaseURL, DefaultFallbackURL, ""},
		{"http://127.0.0.1:1", "", "http://127.0.0.1:1", "", ""},
		{"https://a.test/wx/", "https://b.test/", "https://a.test/wx", "https://b.test", ""},
		{"ftp://a.test", "", "", "", "base_url must look like"},
		{"a.test", "", "", "", "base_url must look like"},
		{"https://", "", "", "", "base_url must look like"},
		{"https://u:s3cr3t@a.test", "", "", "", "base_url must have no user"},
		{"https://a.test?access_token=s3cr3t", "", "", "", "base_url must have no user"},
		{"https://u:s3cr3t@a.test:x", "", "", "", "base_url is no URL"},
		{"https://a.test", "b.test", "", "", "fallback_url must look like"},
	} {
		c, err := NewClient(Options{BaseURL: k.base, FallbackURL: k.fallback})
		if k.err != "" {
			if err == nil || !strings.Contains(err.Error(), k.err) || strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("%s: %v, want %q", k.base, err, k.err)
			}
			continue
		}
		if err != nil || c.domains.base != k.wantBase || c.domains.fallback != k.wantFallback {
			t.Errorf("%s: %v, %v", k.base, c, err)
		}
	}
}
