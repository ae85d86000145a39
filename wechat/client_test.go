package wechat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/configs/secret"
)

const testSecret secret.Text = "s3cr3t+/=& 秘密"

// roundTrip is a transport without a network.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answering is a transport that answers everything alike.
func answering(status int, body string, header ...string) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		h := http.Header{}
		for i := 0; i < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
}

func newTestClient(t testing.TB, base string, transport http.RoundTripper) *Client {
	t.Helper()
	c, err := NewClient(Options{BaseURL: base, Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// apis is every call, with what it returned in words.
func apis(n Notification) map[string]func(context.Context, *Client) (string, error) {
	return map[string]func(context.Context, *Client) (string, error){
		APIStableToken: func(ctx context.Context, c *Client) (string, error) {
			a, err := c.StableToken(ctx, "wx1", testSecret, false)
			return fmt.Sprint(a.Value.Reveal(), " ", a.ExpiresIn), err
		},
		APIUserQuery: func(ctx context.Context, c *Client) (string, error) {
			exist, err := c.UserQuery(ctx, testSecret, "13800138000")
			return fmt.Sprint(exist), err
		},
		APIPathNotify: func(ctx context.Context, c *Client) (string, error) {
			exist, err := c.PathNotify(ctx, testSecret, n)
			return fmt.Sprint(exist), err
		},
		APIQuota: func(ctx context.Context, c *Client) (string, error) {
			q, err := c.Quota(ctx, testSecret, PathNotifyPath)
			return fmt.Sprintf("%d %d %d, %d in %v", q.Daily, q.Used, q.Remain, q.RateCalls, q.RatePeriod), err
		},
	}
}

// What each call puts on the wire, to the byte.
func TestRequests(t *testing.T) {
	n := sampleNotification(t)
	body, err := encodeJSON(n)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]struct{ path, body string }{
		APIStableToken: {StableTokenPath, `{"grant_type":"client_credential","appid":"wx1","secret":"` + testSecret.Reveal() + `","force_refresh":false}`},
		APIUserQuery:   {UserQueryPath, `{"phone":"13800138000"}`},
		APIPathNotify:  {PathNotifyPath, string(body)},
		APIQuota:       {QuotaPath, `{"cgi_path":"/cgi-bin/express/delivery/pathnotify"}`},
	}
	for api, call := range apis(n) {
		t.Run(api, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got, _ := io.ReadAll(r.Body)
				if r.Method != http.MethodPost || r.URL.Path != want[api].path || string(got) != want[api].body || r.Header.Get("Content-Type") != "application/json" {
					t.Errorf("%s %s %s %s", r.Method, r.URL.Path, r.Header.Get("Content-Type"), got)
				}
				token := []string{testSecret.Reveal()}
				if api == APIStableToken {
					token = nil
				}
				if q := r.URL.Query(); fmt.Sprint(q["access_token"]) != fmt.Sprint(token) || len(q) != len(token) {
					t.Errorf("query %v", q)
				}
				fmt.Fprint(w, `{"access_token":"T2","expires_in":7200,"exist":1,"quota":{"daily_limit":3,"used":1,"remain":2},"rate_limit":{"call_count":600,"refresh_second":60}}`)
			}))
			defer server.Close()
			got, err := call(t.Context(), newTestClient(t, server.URL+"/", nil))
			if want := map[string]string{APIStableToken: "T2 2h0m0s", APIUserQuery: "true", APIPathNotify: "true", APIQuota: "3 1 2, 600 in 1m0s"}[api]; err != nil || got != want {
				t.Errorf("got %s, %v; want %s", got, err, want)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	n := sampleNotification(t)
	for _, k := range []struct {
		api, answer, want string
		class             Class // Success: no error
	}{
		{APIPathNotify, `{"errcode":0,"errmsg":"ok","exist":1}`, "true", Success},
		{APIPathNotify, `{"errcode":0,"errmsg":"ok","exist":0}`, "false", Success},
		{APIPathNotify, `{"errcode":0,"errmsg":"ok"}`, "true", Success},
		{APIPathNotify, `{"exist":0}`, "false", Success},
		{APIPathNotify, " \r\n{\"exist\":1}\n", "true", Success},
		{APIPathNotify, `{}`, "", Transient},
		{APIPathNotify, `{"errcode":932001,"exist":0}`, "", Transient},
		{APIPathNotify, `{"errcode":932002,"exist":"odd"}`, "", Mismatch},
		{APIPathNotify, `{"errcode":40097}`, "", Permanent},
		{APIPathNotify, `{"errcode":40097,"errmsg":{"odd":1}}`, "", Permanent},
		{APIPathNotify, `{"errcode":4711}`, "", Unknown},
		{APIPathNotify, `{"errcode":45009}`, "", Throttled},
		{APIPathNotify, `{"errcode":150004}`, "", Blocked},
		{APIPathNotify, `{"errcode":0,"exist":"1"}`, "", Transient},
		{APIPathNotify, `{"errcode":"0"}`, "", Transient},
		{APIPathNotify, `{"errcode":99999999999999999999}`, "", Transient},
		{APIUserQuery, `{"errcode":0,"exist":1}`, "true", Success},
		{APIUserQuery, `{"errcode":0,"exist":0}`, "false", Success},
		{APIUserQuery, `{"errcode":0}`, "", Transient}, // never "not bound" by omission
		{APIUserQuery, `{"errcode":42001}`, "", BadToken},
		{APIStableToken, `{"access_token":"T","expires_in":300}`, "T 5m0s", Success},
		{APIStableToken, `{"access_token":"T","expires_in":99999999999999}`, "T 24h0m0s", Success},
		{APIStableToken, `{"access_token":"T"}`, "", Transient},
		{APIStableToken, `{"expires_in":7200}`, "", Transient},
		{APIStableToken, `{"access_token":"T","expires_in":-1}`, "", Transient},
		{APIStableToken, `{"errcode":40125}`, "", Blocked},
		{APIStableToken, `{"errcode":40001}`, "", Blocked},
		{APIQuota, `{"errcode":0,"quota":{"daily_limit":9,"used":4,"remain":5}}`, "9 4 5, 0 in 0s", Success},
		{APIQuota, `{"errcode":0}`, "", Transient},
		{APIQuota, `{"errcode":48001}`, "", Blocked},
		{APIUserQuery, ``, "", Transient},
		{APIUserQuery, `null`, "", Transient},
		{APIUserQuery, `[{"exist":1}]`, "", Transient},
		{APIUserQuery, `{"exist":1}{"exist":0}`, "", Transient},
		{APIUserQuery, `{"exist":1`, "", Transient},
		{APIUserQuery, `<html>502</html>`, "", Transient},
	} {
		got, err := apis(n)[k.api](t.Context(), newTestClient(t, "http://wechat.test", answering(200, k.answer)))
		if k.class == Success {
			if err != nil || got != k.want {
				t.Errorf("%s %s: %s, %v; want %s", k.api, k.answer, got, err, k.want)
			}
			continue
		}
		var e *Error
		if !errors.As(err, &e) || e.Class() != k.class || e.API != k.api || e.Status != 200 || !e.Sent {
			t.Errorf("%s %s: %s, %#v; want class %v", k.api, k.answer, got, err, k.class)
		}
	}
}

func TestErrorFields(t *testing.T) {
	const answer = `{"errcode":40164,"errmsg":"invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist rid: 5f9a1b2c-3d4e5f60-7a8b9c0d"}`
	_, err := newTestClient(t, "http://wechat.test", answering(200, answer)).StableToken(t.Context(), "wx1", testSecret, false)
	want := Error{API: APIStableToken, Status: 200, Code: 40164, Msg: "invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist", RID: "5f9a1b2c-3d4e5f60-7a8b9c0d", Sent: true}
	var e *Error
	if !errors.As(err, &e) || *e != want {
		t.Errorf("got  %+v\nwant %+v", err, want)
	}
}

func TestStatusIsATransportFault(t *testing.T) {
	for status, want := range map[int]Class{301: Transient, 400: Transient, 401: Transient, 404: Transient, 429: Throttled, 500: Transient, 502: Transient, 503: Transient} {
		// Whatever stands in the body: it need not be WeChat's.
		_, err := newTestClient(t, "http://wechat.test", answering(status, `{"errcode":40097}`)).UserQuery(t.Context(), testSecret, "1")
		var e *Error
		if !errors.As(err, &e) || e.Status != status || e.Code != 0 || e.Class() != want {
			t.Errorf("status %d: %v", status, err)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	const date = "Mon, 23 Nov 2026 08:00:00 GMT"
	for _, k := range []struct {
		header []string
		want   time.Duration
	}{
		{nil, 0},
		{[]string{"Retry-After", "3"}, 3 * time.Second},
		{[]string{"Retry-After", " 0 "}, 0},
		{[]string{"Retry-After", "-5"}, 0},
		{[]string{"Retry-After", "1.5"}, 0},
		{[]string{"Retry-After", "soon"}, 0},
		{[]string{"Retry-After", "999999999"}, maxRetryAfter},
		{[]string{"Retry-After", "99999999999999999999"}, 0},
		{[]string{"Retry-After", "Mon, 23 Nov 2026 08:01:30 GMT", "Date", date}, 90 * time.Second},
		{[]string{"Retry-After", "Mon, 23 Nov 2026 07:00:00 GMT", "Date", date}, 0},
		{[]string{"Retry-After", "Mon, 23 Nov 2099 07:00:00 GMT", "Date", date}, maxRetryAfter},
	} {
		_, err := newTestClient(t, "http://wechat.test", answering(429, "", k.header...)).UserQuery(t.Context(), testSecret, "1")
		var e *Error
		if !errors.As(err, &e) || e.RetryAfter != k.want || e.Class() != Throttled {
			t.Errorf("%q: %v after %v, want %v", k.header, err, e.RetryAfter, k.want)
		}
	}
}

// What WeChat would refuse is not sent, nor is a call without a token.
func TestNothingIsSentInVain(t *testing.T) {
	c := newTestClient(t, "http://wechat.test", roundTrip(func(*http.Request) (*http.Response, error) {
		t.Error("a request was sent")
		return nil, errors.New("no")
	}))
	var e *Error
	if _, err := c.PathNotify(t.Context(), testSecret, Notification{}); !errors.As(err, &e) || e.Class() != Permanent || e.Sent || !errors.Is(err, ErrInvalid) {
		t.Errorf("invalid notification: %v", err)
	}
	if _, err := c.UserQuery(t.Context(), testSecret, ""); !errors.As(err, &e) || e.Class() != Permanent || e.Sent {
		t.Errorf("no phone: %v", err)
	}
	for api, call := range map[string]func() error{
		APIUserQuery:  func() error { _, err := c.UserQuery(t.Context(), "", "1"); return err },
		APIPathNotify: func() error { _, err := c.PathNotify(t.Context(), "", sampleNotification(t)); return err },
		APIQuota:      func() error { _, err := c.Quota(t.Context(), "", PathNotifyPath); return err },
	} {
		if err := call(); !errors.As(err, &e) || e.Class() != BadToken || !errors.Is(err, ErrNoToken) || e.API != api || e.Sent {
			t.Errorf("%s without token: %v", api, err)
		}
	}
}

// Each call has its own limit; the caller's context ends it earlier.
func TestLimits(t *testing.T) {
	hang := roundTrip(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	limits := map[string]time.Duration{APIStableToken: TokenLimit, APIUserQuery: UserQueryLimit, APIPathNotify: PathNotifyLimit, APIQuota: QuotaLimit}
	for api, call := range apis(sampleNotification(t)) {
		synctest.Test(t, func(t *testing.T) {
			started := time.Now()
			_, err := call(t.Context(), newTestClient(t, "http://wechat.test", hang))
			var e *Error
			if took := time.Since(started); took != limits[api] || !errors.As(err, &e) || e.Class() != Transient || !errors.Is(err, context.DeadlineExceeded) || !e.Sent {
				t.Errorf("%s: %v after %v", api, err, took)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			started = time.Now()
			if _, err := call(ctx, newTestClient(t, "http://wechat.test", hang)); time.Since(started) != time.Second || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v after %v", api, err, time.Since(started))
			}
		})
	}
	if UserQueryLimit != 10*time.Second || PathNotifyLimit != 25*time.Second {
		t.Error("limits differ from the README")
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := newTestClient(t, "http://wechat.test", roundTrip(func(r *http.Request) (*http.Response, error) {
		cancel()
		<-r.Context().Done()
		return nil, r.Context().Err()
	}))
	if _, err := c.UserQuery(ctx, testSecret, "1"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
}

// A redirect would take the token elsewhere.
func TestNoRedirect(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("followed") }))
	defer elsewhere.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+r.URL.String(), status)
		}))
		_, err := newTestClient(t, server.URL, nil).UserQuery(t.Context(), testSecret, "1")
		server.Close()
		var e *Error
		if !errors.As(err, &e) || e.Status != status || e.Class() != Transient {
			t.Errorf("%d: %v", status, err)
		}
	}
}

func TestAnswerTooLarge(t *testing.T) {
	pad := strings.Repeat(" ", maxAnswer-len(`{"exist":1}`))
	for extra, ok := range map[string]bool{"": true, " ": false, strings.Repeat(" ", 1<<20): false} {
		_, err := newTestClient(t, "http://wechat.test", answering(200, `{"exist":1}`+pad+extra)).UserQuery(t.Context(), testSecret, "1")
		if (err == nil) != ok {
			t.Errorf("%d bytes over: %v", len(extra), err)
		}
	}
}

// Sent tells whether the request may have reached WeChat.
func TestSent(t *testing.T) {
	cut := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer cut.Close()
	closed := httptest.NewServer(nil)
	closed.Close()
	for url, want := range map[string]bool{cut.URL: true, closed.URL: false} {
		_, err := newTestClient(t, url, nil).PathNotify(t.Context(), testSecret, sampleNotification(t))
		var e *Error
		if !errors.As(err, &e) || e.Sent != want || e.Class() != Transient || strings.Contains(err.Error(), PathNotifyPath) {
			t.Errorf("sent %v, want %v: %v", e.Sent, want, err)
		}
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

// FuzzDecode reads any answer: it is an error or an answer, never a panic, and
// no refusal reads as success.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"errcode":0,"errmsg":"ok","exist":1}`, `{"errcode":-1}`, `{"errcode":null}`, `{"errcode":40001,"errmsg":"x rid: 5f9a1b2c-3d4e5f60-7a8b9c0d"}`, `{}`, `[]`, ``, `{"ERRCODE":1}`, `{"errcode":1e3}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		var out struct {
			Exist *int `json:"exist"`
		}
		e := decode(answer, &out)
		var v struct {
			Code any `json:"errcode"`
		}
		if e == nil && (json.Unmarshal(answer, &v) != nil || v.Code != nil && v.Code != 0.0) {
			t.Errorf("%q reads as success", answer)
		}
		if e != nil && (e.Class() == Success || len(cleanMsg(e.Msg)) > maxMsg+len("…")) {
			t.Errorf("%q: %v", answer, e)
		}
	})
}
