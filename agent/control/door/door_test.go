package door_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/control/door"
	"scanrelay/configs/secret"
)

const password = "a-password-of-the-page"

// house is a Door with something behind it.
type house struct {
	*door.Door
	t   *testing.T
	mux *http.ServeMux
	now time.Time
	log bytes.Buffer
}

func newHouse(t *testing.T, password secret.Text) *house {
	h := &house{t: t, mux: http.NewServeMux(), now: time.Unix(1_800_000_000, 0)}
	h.Door = door.New(door.Options{Password: password, Now: func() time.Time { return h.now }, Logger: slog.New(slog.NewTextHandler(&h.log, nil))})
	room := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "inside") }
	h.mux.HandleFunc("GET /look", h.Look(room, door.Shut))
	h.mux.HandleFunc("GET /metrics", h.LookBasic(room))
	h.mux.HandleFunc("POST /act", h.Act(room))
	h.mux.HandleFunc("POST /signin", h.SignIn(func(w http.ResponseWriter, _ *http.Request, status int) { w.WriteHeader(status) }))
	h.mux.HandleFunc("POST /signout", h.SignOut)
	t.Cleanup(func() {
		if strings.Contains(h.log.String(), password.Reveal()) && password != "" {
			t.Error("the password stands in the log")
		}
	})
	return h
}

func (h *house) ask(r *http.Request, want int) *http.Response {
	h.t.Helper()
	w := httptest.NewRecorder()
	h.mux.ServeHTTP(w, r)
	if w.Code != want {
		h.t.Errorf("%s %s from %s: %d %s, want %d", r.Method, r.URL, r.RemoteAddr, w.Code, w.Body, want)
	}
	return w.Result()
}

func request(method, path, from string) *http.Request {
	r := httptest.NewRequest(method, "http://10.0.0.1:9108"+path, nil)
	r.RemoteAddr = from + ":4711"
	return r
}

func (h *house) signIn(from, password string, want int) *http.Cookie {
	h.t.Helper()
	r := httptest.NewRequest("POST", "http://10.0.0.1:9108/signin", strings.NewReader(url.Values{"password": {password}}.Encode()))
	r.RemoteAddr = from + ":4711"
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp := h.ask(r, want)
	if c := resp.Cookies(); len(c) > 0 {
		return c[0]
	}
	return nil
}

func with(r *http.Request, c *http.Cookie, header ...string) *http.Request {
	r.AddCookie(c)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

// Without a password this machine looks, others do not, and nobody acts.
func TestWithoutAPassword(t *testing.T) {
	h := newHouse(t, "")
	for _, path := range []string{"/look", "/metrics"} {
		h.ask(request("GET", path, "127.0.0.1"), 200)
		h.ask(request("GET", path, "[::1]"), 200)
		h.ask(request("GET", path, "10.0.0.9"), 403)
	}
	h.ask(request("POST", "/act", "127.0.0.1"), 403)
	h.signIn("127.0.0.1", "", 401)
}

func TestSession(t *testing.T) {
	h := newHouse(t, password)
	h.ask(request("GET", "/look", "127.0.0.1"), 401)
	h.signIn("10.0.0.9", "wrong", 401)
	c := h.signIn("10.0.0.9", password, 303)
	if c == nil || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Secure || len(c.Value) < 20 || c.MaxAge != 12*3600 {
		t.Fatalf("the cookie is %+v", c)
	}
	h.ask(with(request("GET", "/look", "10.0.0.9"), c), 200)
	h.ask(with(request("GET", "/metrics", "10.0.0.9"), c), 200)

	token, ok := h.Session(with(request("GET", "/", "10.0.0.9"), c))
	if !ok || token == "" || token == c.Value {
		t.Fatalf("the form's token is %q", token)
	}
	act := func(want int, header ...string) {
		t.Helper()
		h.ask(with(request("POST", "/act", "10.0.0.9"), c, header...), want)
	}
	act(403)
	act(403, door.FormToken, "another")
	act(403, door.FormToken, token, "Origin", "http://evil.example")
	act(403, door.FormToken, token, "Sec-Fetch-Site", "cross-site")
	act(403, door.FormToken, token, "Sec-Fetch-Site", "same-site") // another port of this host
	act(200, door.FormToken, token, "Origin", "http://10.0.0.1:9108")
	act(200, door.FormToken, token)
	h.ask(request("POST", "/act", "10.0.0.9"), 401)

	h.ask(with(request("POST", "/signout", "10.0.0.9"), c), 403)
	out := httptest.NewRequest("POST", "http://10.0.0.1/signout", strings.NewReader("form_token="+token))
	out.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	h.ask(with(out, c), 303)
	h.ask(with(request("GET", "/look", "10.0.0.9"), c), 401)

	c = h.signIn("10.0.0.9", password, 303)
	h.now = h.now.Add(12*time.Hour - time.Second)
	h.ask(with(request("GET", "/look", "10.0.0.9"), c), 200)
	h.now = h.now.Add(time.Second)
	h.ask(with(request("GET", "/look", "10.0.0.9"), c), 401)
}

// A forged sign-in would put a browser into somebody else's session.
func TestSignInOfAnotherSite(t *testing.T) {
	h := newHouse(t, password)
	r := httptest.NewRequest("POST", "http://10.0.0.1:9108/signin", strings.NewReader("password="+password))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", "http://evil.example")
	h.ask(r, 403)
}

// One session more than there may be ends the one that began first.
func TestSessionsAreBounded(t *testing.T) {
	h := newHouse(t, password)
	var all []*http.Cookie
	for range 33 {
		all = append(all, h.signIn("10.0.0.9", password, 303))
		h.now = h.now.Add(time.Second)
	}
	for i, c := range all {
		h.ask(with(request("GET", "/look", "10.0.0.9"), c), map[bool]int{true: 401, false: 200}[i == 0])
	}
}

func TestGuessesAreLimited(t *testing.T) {
	h := newHouse(t, password)
	for range 10 {
		h.signIn("10.0.0.9", "wrong", 401)
	}
	h.signIn("10.0.0.9", password, 429)
	r := request("GET", "/metrics", "10.0.0.9")
	r.SetBasicAuth("any", password)
	if resp := h.ask(r, 429); resp.Header.Get("Retry-After") != "60" {
		t.Error("it does not say when to try again")
	}
	h.signIn("10.0.0.10", password, 303)
	h.now = h.now.Add(time.Minute)
	h.signIn("10.0.0.9", password, 303)

	for i := range 60 {
		h.signIn(fmt.Sprintf("10.0.1.%d", i), "wrong", 401)
	}
	h.signIn("10.0.0.11", "wrong", 429)
	h.signIn("10.0.0.11", password, 303) // nobody finds it by guessing, so nobody shuts out who knows it
	if n := strings.Count(h.log.String(), "a wrong password"); n != 2 || !strings.Contains(h.log.String(), "more_since_last_line") {
		t.Errorf("%d lines: %s", n, h.log.String())
	}

	short := newHouse(t, "short")
	for i := range 60 {
		short.signIn(fmt.Sprintf("10.0.1.%d", i), "wrong", 401)
	}
	short.signIn("10.0.0.11", "short", 429)
}

func TestBasicAuthentication(t *testing.T) {
	h := newHouse(t, password)
	if resp := h.ask(request("GET", "/metrics", "127.0.0.1"), 401); !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Basic ") {
		t.Error("it asks for no basic authentication")
	}
	for sent, want := range map[string]int{password: 200, "wrong": 401, "": 401} {
		r := request("GET", "/metrics", "10.0.0.9")
		r.SetBasicAuth("prometheus", sent)
		h.ask(r, want)
	}
	r := request("GET", "/look", "10.0.0.9")
	r.SetBasicAuth("prometheus", password)
	h.ask(r, 401) // a browser keeps what it was given and sends it by itself
}
