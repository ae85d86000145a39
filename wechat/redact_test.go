package wechat_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"scanrelay/wechat"
)

// faults is every way in which a call can go wrong, each of which tries to
// carry the secret out. A server or a transport plays it.
var faults = map[string]struct {
	server    http.HandlerFunc
	transport roundTrip
}{
	"connection cut before the answer": {server: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	"connection cut within the answer": {server: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, `{"errmsg":"`+r.URL.String())
		panic(http.ErrAbortHandler)
	}},
	"no HTTP": {server: func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(conn, "SSH-2.0 %s\r\n\r\n", r.URL)
		_ = conn.Close()
	}},
	"redirect": {server: func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.String()+"&x=1", http.StatusFound)
	}},
	"redirect of nonsense": {server: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "%zz"+r.URL.String())
		w.WriteHeader(http.StatusFound)
	}},
	"500": {server: func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, r.URL.String()+testSecret.Reveal(), http.StatusInternalServerError)
	}},
	"429": {server: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", r.URL.String())
		http.Error(w, r.URL.String(), http.StatusTooManyRequests)
	}},
	"no JSON":             {server: echo("%s %s")},
	"cut JSON":            {server: echo(`{"errcode":1,"errmsg":"%s %s`)},
	"JSON of odd types":   {server: echo(`{"errcode":"%s %s"}`)},
	"fields of odd types": {server: echo(`{"errcode":0,"exist":"%[1]s","access_token":["%[1]s"],"quota":"%[2]s"}`)},
	"nothing in it":       {server: echo(`{"x":"%s %s"}`)},
	"too large":           {server: echo(`{"errmsg":"%s %s` + strings.Repeat("x", maxAnswer) + `"}`)},
	"refusal that quotes": {server: echo(`{"errcode":40001,"errmsg":"bad %s in %s rid: 5f9a1b2c-3d4e5f60-7a8b9c0d"}`)},
	"unknown code":        {server: echo(`{"errcode":4711,"errmsg":"%s %s"}`)},
	"proxy that quotes the URL": {transport: func(r *http.Request) (*http.Response, error) {
		return nil, fmt.Errorf("proxy: GET %s: %w", r.URL, io.ErrUnexpectedEOF)
	}},
	"proxy that quotes it escaped": {transport: func(r *http.Request) (*http.Response, error) {
		return nil, fmt.Errorf("proxy?to=%s", url.QueryEscape(r.URL.String()))
	}},
	"transport that quotes the secret": {transport: func(r *http.Request) (*http.Response, error) {
		body, _ := io.ReadAll(r.Body)
		return nil, fmt.Errorf("sent %q, %s with %s and %s", r.URL.Query(), body, testSecret.Reveal(), url.PathEscape(testSecret.Reveal()))
	}},
	"error that is a mere value": {transport: func(r *http.Request) (*http.Response, error) {
		return nil, valueError{r.URL.String()}
	}},
	"error within an error": {transport: func(r *http.Request) (*http.Response, error) {
		return nil, &url.Error{Op: "Post", URL: r.URL.String(), Err: &url.Error{Op: "Get", URL: r.URL.String(), Err: errors.Join(io.EOF, errors.New(r.URL.RawQuery))}}
	}},
	"body that cannot be read": {transport: func(r *http.Request) (*http.Response, error) {
		reader := io.MultiReader(strings.NewReader("{"), failing{errors.New(r.URL.String())})
		return &http.Response{StatusCode: 200, Body: io.NopCloser(reader)}, nil
	}},
}

// valueError shows its content under %#v, unlike a pointer.
type valueError struct{ text string }

func (e valueError) Error() string { return e.text }

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// echo answers with the request's URL and the secret as it stands, put into a
// JSON string.
func echo(format string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, format, r.URL.String(), testSecret.Reveal())
	}
}

// The promise that no error of this package shows an access_token or the
// AppSecret, however it is printed, logged or taken apart: every call, every
// fault, with a cancelled and a dead connection besides.
func TestNoSecretInAnyError(t *testing.T) {
	dead := httptest.NewServer(nil)
	dead.Close()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for api, call := range apis(wechat.SampleNotification(t)) {
		for name, f := range faults {
			t.Run(api+" "+name, func(t *testing.T) {
				base, transport := "http://wechat.test", http.RoundTripper(f.transport)
				if f.server != nil {
					server := httptest.NewServer(f.server)
					defer server.Close()
					base, transport = server.URL, nil
				}
				failWithoutSecret(t, t.Context(), base, transport, call)
			})
		}
		t.Run(api+" no connection", func(t *testing.T) { failWithoutSecret(t, t.Context(), dead.URL, nil, call) })
		t.Run(api+" cancelled", func(t *testing.T) { failWithoutSecret(t, cancelled, dead.URL, nil, call) })
	}
}

func failWithoutSecret(t *testing.T, ctx context.Context, base string, transport http.RoundTripper, call func(context.Context, *wechat.Client) (string, error)) {
	t.Helper()
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c, err := wechat.NewClient(wechat.Options{BaseURL: base, Transport: transport, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdleConnections()
	_, err = call(ctx, c)
	if err == nil {
		t.Fatal("no error")
	}
	var e *wechat.Error
	if !errors.As(err, &e) {
		t.Errorf("%T is no *Error", err)
	}
	assertNoSecret(t, err)
	assertNoSecret(t, fmt.Errorf("push event: %w", err))
	assertClean(t, "the client's log", log.String())
}

// assertNoSecret prints, logs and takes apart err in every way.
func assertNoSecret(t *testing.T, err error) {
	t.Helper()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		assertClean(t, verb, fmt.Sprintf(verb, err))
		assertClean(t, verb+" in a list", fmt.Sprintf(verb, []any{err, struct{ E error }{err}}))
	}
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Error("x", "error", err, "any", []any{err})
	slog.New(slog.NewJSONHandler(&out, nil)).Error("x", "error", err, "any", []any{err})
	asJSON, _ := json.Marshal(err)
	assertClean(t, "a log", out.String()+string(asJSON))
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		assertClean(t, "an unwrapped error", fmt.Sprintf("%v %+v %#v", inner, inner, inner))
	}
	var u *url.Error
	if errors.As(err, &u) {
		t.Errorf("a *url.Error can be got at: %v", u.Op)
	}
}

func assertClean(t *testing.T, where, text string) {
	t.Helper()
	secret := testSecret.Reveal()
	for _, form := range []string{
		secret, url.QueryEscape(secret), url.PathEscape(secret), url.QueryEscape(url.QueryEscape(secret)),
		fmt.Sprintf("%q", secret), fmt.Sprintf("%+q", secret), fmt.Sprintf("%x", secret), "s3cr3t", fmt.Sprintf("%x", "s3cr3t"),
	} {
		if strings.Contains(text, strings.Trim(form, `"`)) {
			t.Errorf("%s shows the secret: %s", where, text)
			return
		}
	}
}

func TestRedactURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://api.weixin.qq.com/a?access_token=abc":         "https://api.weixin.qq.com/a?access_token=***",
		"https://api.weixin.qq.com/a?access_token=abc&x=1#f":   "https://api.weixin.qq.com/a?access_token=***&x=1#f",
		"/a?x=1&ACCESS_TOKEN=a%2Bb&access_token=c":             "/a?x=1&ACCESS_TOKEN=***&access_token=***",
		"/token?appid=wx1&secret=abc":                          "/token?appid=wx1&secret=***",
		"/token?appid=wx1&appsecret=abc&x":                     "/token?appid=wx1&appsecret=***&x",
		"/to?u=https%3A%2F%2Fa%3Faccess_token%3Dabc":           "/to?u=https%3A%2F%2Fa%3Faccess_token%3D***",
		`Post "https://a/b?access_token=abc": EOF`:             `Post "https://a/b?access_token=***": EOF`,
		`{"access_token":"abc","expires_in":7200}`:             `{"access_token":"***","expires_in":7200}`,
		`"{\"secret\": \"abc\", \"appid\":\"wx1\"}"`:           `"{\"secret\": \"***\", \"appid\":\"wx1\"}"`,
		"proxyconnect http://user:pass@proxy:3128: refused":    "proxyconnect http://***@proxy:3128: refused",
		"https://api.weixin.qq.com/cgi-bin/stable_token?x=a@b": "https://api.weixin.qq.com/cgi-bin/stable_token?x=a@b",
		"no secret here": "no secret here",
		"":               "",
	} {
		if got := wechat.RedactURL(in); got != want {
			t.Errorf("RedactURL(%s)\n got %s\nwant %s", in, got, want)
		}
	}
}

func TestRedact(t *testing.T) {
	if wechat.Redact(nil) != nil {
		t.Error("Redact(nil) is an error")
	}
	inner := &wechat.Error{API: wechat.APIQuota, Code: 40001}
	if got := wechat.Redact(inner); got != error(inner) {
		t.Errorf("an *Error became %#v", got)
	}
	whole := &url.Error{Op: "Post", URL: "https://a/b?access_token=" + url.QueryEscape(testSecret.Reveal()), Err: errors.Join(context.DeadlineExceeded, inner)}
	err := wechat.Redact(fmt.Errorf("sync: %w", whole))
	assertNoSecret(t, err)
	var e *wechat.Error
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) || !errors.As(err, &e) || e != inner {
		t.Errorf("Is or As is lost: %v", err)
	}
	var timeout interface{ Timeout() bool }
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Error("Timeout is lost")
	}
	if !strings.HasPrefix(err.Error(), `sync: Post "https://a/b?access_token=***": `) {
		t.Errorf("text is %s", err)
	}
}
