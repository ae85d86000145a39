package wechat_test

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
	"scanrelay/wechat"
)

// maxAnswer bounds an answer in bytes.
const maxAnswer = 64 << 10

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

func newTestClient(t testing.TB, base string, transport http.RoundTripper) *wechat.Client {
	t.Helper()
	c, err := wechat.NewClient(wechat.Options{BaseURL: base, Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// apis is every call, with what it returned in words.
func apis(n wechat.Notification) map[string]func(context.Context, *wechat.Client) (string, error) {
	return map[string]func(context.Context, *wechat.Client) (string, error){
		wechat.APIStableToken: func(ctx context.Context, c *wechat.Client) (string, error) {
			a, err := c.StableToken(ctx, "wx1", testSecret, false)
			return fmt.Sprint(a.Value.Reveal(), " ", a.ExpiresIn), err
		},
		wechat.APIUserQuery: func(ctx context.Context, c *wechat.Client) (string, error) {
			exist, err := c.UserQuery(ctx, testSecret, "13800138000")
			return fmt.Sprint(exist), err
		},
		wechat.APIPathNotify: func(ctx context.Context, c *wechat.Client) (string, error) {
			exist, err := c.PathNotify(ctx, testSecret, n)
			return fmt.Sprint(exist), err
		},
		wechat.APIQuota: func(ctx context.Context, c *wechat.Client) (string, error) {
			q, err := c.Quota(ctx, testSecret, wechat.PathNotifyPath)
			return fmt.Sprintf("%d %d %d, %d in %v", q.Daily, q.Used, q.Remain, q.RateCalls, q.RatePeriod), err
		},
	}
}

// What each call puts on the wire, to the byte.
func TestRequests(t *testing.T) {
	n := wechat.SampleNotification(t)
	body, err := json.Marshal(n) // there is nothing in it to escape
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]struct{ path, body string }{
		wechat.APIStableToken: {wechat.StableTokenPath, `{"grant_type":"client_credential","appid":"wx1","secret":"` + testSecret.Reveal() + `","force_refresh":false}`},
		wechat.APIUserQuery:   {wechat.UserQueryPath, `{"phone":"13800138000"}`},
		wechat.APIPathNotify:  {wechat.PathNotifyPath, string(body)},
		wechat.APIQuota:       {wechat.QuotaPath, `{"cgi_path":"/cgi-bin/express/delivery/pathnotify"}`},
	}
	for api, call := range apis(n) {
		t.Run(api, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got, _ := io.ReadAll(r.Body)
				if r.Method != http.MethodPost || r.URL.Path != want[api].path || string(got) != want[api].body || r.Header.Get("Content-Type") != "application/json" {
					t.Errorf("%s %s %s %s", r.Method, r.URL.Path, r.Header.Get("Content-Type"), got)
				}
				token := []string{testSecret.Reveal()}
				if api == wechat.APIStableToken {
					token = nil
				}
				if q := r.URL.Query(); fmt.Sprint(q["access_token"]) != fmt.Sprint(token) || len(q) != len(token) {
					t.Errorf("query %v", q)
				}
				fmt.Fprint(w, `{"access_token":"T2","expires_in":7200,"exist":1,"quota":{"daily_limit":3,"used":1,"remain":2},"rate_limit":{"call_count":600,"refresh_second":60}}`)
			}))
			defer server.Close()
			got, err := call(t.Context(), newTestClient(t, server.URL+"/", nil))
			if want := map[string]string{wechat.APIStableToken: "T2 2h0m0s", wechat.APIUserQuery: "true", wechat.APIPathNotify: "true", wechat.APIQuota: "3 1 2, 600 in 1m0s"}[api]; err != nil || got != want {
				t.Errorf("got %s, %v; want %s", got, err, want)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	n := wechat.SampleNotification(t)
	for _, k := range []struct {
		api, answer, want string
		class             wechat.Class // Success: no error
	}{
		{wechat.APIPathNotify, `{"errcode":0,"errmsg":"ok","exist":1}`, "true", wechat.Success},
		{wechat.APIPathNotify, `{"errcode":0,"errmsg":"ok","exist":0}`, "false", wechat.Success},
		{wechat.APIPathNotify, `{"errcode":0,"errmsg":"ok"}`, "true", wechat.Success},
		{wechat.APIPathNotify, `{"exist":0}`, "false", wechat.Success},
		{wechat.APIPathNotify, " \r\n{\"exist\":1}\n", "true", wechat.Success},
		{wechat.APIPathNotify, `{}`, "", wechat.Transient},
		{wechat.APIPathNotify, `{"errcode":932001,"exist":0}`, "", wechat.Transient},
		{wechat.APIPathNotify, `{"errcode":932002,"exist":"odd"}`, "", wechat.Mismatch},
		{wechat.APIPathNotify, `{"errcode":40097}`, "", wechat.Permanent},
		{wechat.APIPathNotify, `{"errcode":40097,"errmsg":{"odd":1}}`, "", wechat.Permanent},
		{wechat.APIPathNotify, `{"errcode":4711}`, "", wechat.Unknown},
		{wechat.APIPathNotify, `{"errcode":45009}`, "", wechat.Throttled},
		{wechat.APIPathNotify, `{"errcode":150004}`, "", wechat.Blocked},
		{wechat.APIPathNotify, `{"errcode":0,"exist":"1"}`, "", wechat.Transient},
		{wechat.APIPathNotify, `{"errcode":"0"}`, "", wechat.Transient},
		{wechat.APIPathNotify, `{"errcode":99999999999999999999}`, "", wechat.Transient},
		{wechat.APIUserQuery, `{"errcode":0,"exist":1}`, "true", wechat.Success},
		{wechat.APIUserQuery, `{"errcode":0,"exist":0}`, "false", wechat.Success},
		{wechat.APIUserQuery, `{"errcode":0}`, "", wechat.Transient}, // never "not bound" by omission
		{wechat.APIUserQuery, `{"errcode":42001}`, "", wechat.BadToken},
		{wechat.APIStableToken, `{"access_token":"T","expires_in":300}`, "T 5m0s", wechat.Success},
		{wechat.APIStableToken, `{"access_token":"T","expires_in":99999999999999}`, "T 24h0m0s", wechat.Success},
		{wechat.APIStableToken, `{"access_token":"T"}`, "", wechat.Transient},
		{wechat.APIStableToken, `{"expires_in":7200}`, "", wechat.Transient},
		{wechat.APIStableToken, `{"access_token":"T","expires_in":-1}`, "", wechat.Transient},
		{wechat.APIStableToken, `{"errcode":40125}`, "", wechat.Blocked},
		{wechat.APIStableToken, `{"errcode":40001}`, "", wechat.Blocked},
		{wechat.APIQuota, `{"errcode":0,"quota":{"daily_limit":9,"used":4,"remain":5}}`, "9 4 5, 0 in 0s", wechat.Success},
		{wechat.APIQuota, `{"errcode":0}`, "", wechat.Transient},
		{wechat.APIQuota, `{"errcode":48001}`, "", wechat.Blocked},
		{wechat.APIUserQuery, ``, "", wechat.Transient},
		{wechat.APIUserQuery, `null`, "", wechat.Transient},
		{wechat.APIUserQuery, `[{"exist":1}]`, "", wechat.Transient},
		{wechat.APIUserQuery, `{"exist":1}{"exist":0}`, "", wechat.Transient},
		{wechat.APIUserQuery, `{"exist":1`, "", wechat.Transient},
		{wechat.APIUserQuery, `<html>502</html>`, "", wechat.Transient},
	} {
		got, err := apis(n)[k.api](t.Context(), newTestClient(t, "http://wechat.test", answering(200, k.answer)))
		if k.class == wechat.Success {
			if err != nil || got != k.want {
				t.Errorf("%s %s: %s, %v; want %s", k.api, k.answer, got, err, k.want)
			}
			continue
		}
		var e *wechat.Error
		if !errors.As(err, &e) || e.Class() != k.class || e.API != k.api || e.Status != 200 || !e.Sent {
			t.Errorf("%s %s: %s, %#v; want class %v", k.api, k.answer, got, err, k.class)
		}
	}
}

func TestErrorFields(t *testing.T) {
	const answer = `{"errcode":40164,"errmsg":"invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist rid: 5f9a1b2c-3d4e5f60-7a8b9c0d"}`
	_, err := newTestClient(t, "http://wechat.test", answering(200, answer)).StableToken(t.Context(), "wx1", testSecret, false)
	want := wechat.Error{API: wechat.APIStableToken, Status: 200, Code: 40164, Msg: "invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist", RID: "5f9a1b2c-3d4e5f60-7a8b9c0d", Sent: true}
	var e *wechat.Error
	if !errors.As(err, &e) || *e != want {
		t.Errorf("got  %+v\nwant %+v", err, want)
	}
}

func TestStatusIsATransportFault(t *testing.T) {
	for status, want := range map[int]wechat.Class{301: wechat.Transient, 400: wechat.Transient, 401: wechat.Transient, 404: wechat.Transient, 429: wechat.Throttled, 500: wechat.Transient, 502: wechat.Transient, 503: wechat.Transient} {
		// Whatever stands in the body: it need not be WeChat's.
		_, err := newTestClient(t, "http://wechat.test", answering(status, `{"errcode":40097}`)).UserQuery(t.Context(), testSecret, "1")
		var e *wechat.Error
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
		{[]string{"Retry-After", "999999999"}, 24 * time.Hour},
		{[]string{"Retry-After", "99999999999999999999"}, 0},
		{[]string{"Retry-After", "Mon, 23 Nov 2026 08:01:30 GMT", "Date", date}, 90 * time.Second},
		{[]string{"Retry-After", "Mon, 23 Nov 2026 07:00:00 GMT", "Date", date}, 0},
		{[]string{"Retry-After", "Mon, 23 Nov 2099 07:00:00 GMT", "Date", date}, 24 * time.Hour},
	} {
		_, err := newTestClient(t, "http://wechat.test", answering(429, "", k.header...)).UserQuery(t.Context(), testSecret, "1")
		var e *wechat.Error
		if !errors.As(err, &e) || e.RetryAfter != k.want || e.Class() != wechat.Throttled {
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
	var e *wechat.Error
	if _, err := c.PathNotify(t.Context(), testSecret, wechat.Notification{}); !errors.As(err, &e) || e.Class() != wechat.Permanent || e.Sent || !errors.Is(err, wechat.ErrInvalid) {
		t.Errorf("invalid notification: %v", err)
	}
	if _, err := c.UserQuery(t.Context(), testSecret, ""); !errors.As(err, &e) || e.Class() != wechat.Permanent || e.Sent {
		t.Errorf("no phone: %v", err)
	}
	for api, call := range map[string]func() error{
		wechat.APIUserQuery:  func() error { _, err := c.UserQuery(t.Context(), "", "1"); return err },
		wechat.APIPathNotify: func() error { _, err := c.PathNotify(t.Context(), "", wechat.SampleNotification(t)); return err },
		wechat.APIQuota:      func() error { _, err := c.Quota(t.Context(), "", wechat.PathNotifyPath); return err },
	} {
		if err := call(); !errors.As(err, &e) || e.Class() != wechat.BadToken || !errors.Is(err, wechat.ErrNoToken) || e.API != api || e.Sent {
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
	limits := map[string]time.Duration{wechat.APIStableToken: wechat.TokenLimit, wechat.APIUserQuery: wechat.UserQueryLimit, wechat.APIPathNotify: wechat.PathNotifyLimit, wechat.APIQuota: wechat.QuotaLimit}
	for api, call := range apis(wechat.SampleNotification(t)) {
		synctest.Test(t, func(t *testing.T) {
			started := time.Now()
			_, err := call(t.Context(), newTestClient(t, "http://wechat.test", hang))
			var e *wechat.Error
			if took := time.Since(started); took != limits[api] || !errors.As(err, &e) || e.Class() != wechat.Transient || !errors.Is(err, context.DeadlineExceeded) || !e.Sent {
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
	if wechat.UserQueryLimit != 10*time.Second || wechat.PathNotifyLimit != 25*time.Second {
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
		var e *wechat.Error
		if !errors.As(err, &e) || e.Status != status || e.Class() != wechat.Transient {
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
		_, err := newTestClient(t, url, nil).PathNotify(t.Context(), testSecret, wechat.SampleNotification(t))
		var e *wechat.Error
		if !errors.As(err, &e) || e.Sent != want || e.Class() != wechat.Transient || strings.Contains(err.Error(), wechat.PathNotifyPath) {
			t.Errorf("sent %v, want %v: %v", e.Sent, want, err)
		}
	}
}

// TestTime: what time it is by WeChat's answers, also by those that are refusals.
func TestTime(t *testing.T) {
	told := time.Now().Add(-31 * 24 * time.Hour).Truncate(time.Second)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", told.UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusBadGateway)
	}))
	defer server.Close()
	c := newTestClient(t, server.URL, nil)
	if got := c.Time(); !got.IsZero() {
		t.Errorf("heard %v before any answer", got)
	}
	_, _ = c.StableToken(t.Context(), "wx1", testSecret, false)
	if got := c.Time(); got.Before(told) || got.After(told.Add(time.Hour)) {
		t.Errorf("it is %v, told was %v", got, told)
	}
}
