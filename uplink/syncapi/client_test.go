package syncapi

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/configs/tlsfile"
	"scanrelay/uplink/syncapi/directive"
	"scanrelay/uplink/syncapi/order"
)

const testToken = "s3cret-depot-token"

// dial makes a client of a test server.
func dial(t *testing.T, url string) *Client {
	t.Helper()
	c, err := NewClient(Options{URL: url, Token: testToken})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.http.CloseIdleConnections)
	return c
}

func serve(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return dial(t, s.URL+"/base/")
}

const answerOK = `{"v":1,"store_id":"s","process":"p","time":1700000000,"have":7,"rate":2.5,"wechat":{"state":"ok"}}`

func TestSyncOnTheWire(t *testing.T) {
	var got Request
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/base/v1/sync" || r.Method != http.MethodPost {
			t.Errorf("%s %s", r.Method, r.URL.Path)
		}
		if r.Header.Get("Authorization") != "Bearer "+testToken || r.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("headers are %v", r.Header)
		}
		if _, ok := r.Header["Idempotency-Key"]; ok {
			t.Error("Idempotency-Key went over the wire")
		}
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		if err := json.NewDecoder(z).Decode(&got); err != nil {
			t.Error(err)
		}
		io.WriteString(w, answerOK)
	})
	want := Request{V: 1, Epoch: "00000000000000e1", NextSeq: 9, From: 8, Events: []Event{{Seq: 8, WaybillID: "A", ActionMsg: "派件<b>"}}, BadToken: "g"}
	resp, err := c.Sync(t.Context(), &want)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("sent %+v", got)
	}
	if resp.Have != 7 || resp.Rate != 2.5 {
		t.Errorf("answer %+v", resp)
	}
}

func TestGzippedAnswer(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		io.WriteString(z, answerOK)
		z.Close()
	})
	if resp, err := c.Sync(t.Context(), &Request{}); err != nil || resp.StoreID != "s" {
		t.Errorf("%+v, %v", resp, err)
	}
}

func TestFailures(t *testing.T) {
	for name, f := range map[string]struct {
		status       int
		body, header string
		refused      bool
		unauthorized bool
		retryAfter   time.Duration
		says         string
	}{
		"bad request":          {status: 400, body: `{"error":"event 3: seq 2 does not rise"}`, refused: true, says: "does not rise"},
		"too large":            {status: 413, body: "<html>nginx</html>", refused: true, says: "413"},
		"unauthorized":         {status: 401, body: `{"error":"unknown token"}`, unauthorized: true, says: "unknown token"},
		"forbidden":            {status: 403, unauthorized: true, says: "403"},
		"overloaded":           {status: 503, body: `{"error":"busy"}`, header: "7", retryAfter: 7 * time.Second, says: "busy"},
		"overloaded for a day": {status: 503, body: `{"error":"busy"}`, header: "90000", retryAfter: time.Hour, says: "busy"},
		"other version":        {status: 501, body: `{"error":"speaks version 2"}`, says: "version 2"},
		"redirect":             {status: 307, says: "307"},
		"echoes us":            {status: 500, body: `{"error":"token ` + testToken + ` of 李四 13800138000\nis odd"}`, says: "token *** of … *** is odd"},
		"no JSON":              {status: 200, body: "welcome to the hotel wifi", says: "central.url"},
		"another API":          {status: 200, body: `{"v":2,"store_id":"s","process":"p"}`, says: "version 2"},
		"something else":       {status: 200, body: `{}`, says: "version 0"},
		"no store":             {status: 200, body: `{"v":1}`, says: "store_id"},
		"too long":             {status: 200, body: strings.Repeat(" ", maxAnswer+1), says: "larger"},
		"a bomb":               {status: 200, body: `{"v":1,"store_id":"s","process":"p","answers":[` + strings.Repeat("{},", 5_000_000) + `{}]}`, says: "5000001 entries"},
		"a long token":         {status: 200, body: `{"v":1,"store_id":"s","process":"p","token":{"value":"` + strings.Repeat("x", 5000) + `"}}`, says: "longer"},
		"long complaint":       {status: 500, body: `{"error":"` + strings.Repeat("x", 2000) + `"}`, says: "…"},
		"retry after odd":      {status: 503, header: "soon"},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				calls++
				if f.header != "" {
					w.Header().Set("Retry-After", f.header)
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(f.status)
				io.WriteString(w, f.body)
			})
			_, err := c.Sync(t.Context(), &Request{})
			var e *Error
			if !errors.As(err, &e) || e.Status != f.status || e.Refused() != f.refused || e.Unauthorized() != f.unauthorized || e.RetryAfter != f.retryAfter {
				t.Errorf("error is %#v", err)
			}
			if !strings.Contains(err.Error(), f.says) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 500 {
				t.Errorf("error says %q, want %q in it", err, f.says)
			}
			if calls != 1 {
				t.Errorf("%d calls", calls)
			}
			checkNoSecret(t, err)
		})
	}
}

// checkNoSecret looks through an error and everything it wraps.
func checkNoSecret(t *testing.T, err error) {
	t.Helper()
	for ; err != nil; err = errors.Unwrap(err) {
		for _, form := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
			if strings.Contains(form, testToken) {
				t.Errorf("the credential stands in %q", form)
			}
		}
	}
}

func TestTransportErrors(t *testing.T) {
	s := httptest.NewServer(nil)
	s.Close()
	_, err := dial(t, s.URL).Sync(t.Context(), &Request{})
	var e *Error
	if !errors.As(err, &e) || e.Status != 0 || e.Refused() || e.Unauthorized() {
		t.Errorf("error is %#v", err)
	}
	checkNoSecret(t, err)

	broken := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, answerOK)
	})
	if _, err = broken.Sync(t.Context(), &Request{}); !errors.As(err, &e) {
		t.Errorf("an answer that breaks off: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = broken.Sync(ctx, &Request{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a call of a cancelled ctx: %v", err)
	}

	checkNoSecret(t, redact(errors.New("header Bearer "+testToken+" is odd"), testToken))
}

// silent is a transport whose peer never answers.
type silent struct{}

func (silent) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestWholeCallIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := NewClient(Options{URL: "http://central", Transport: silent{}})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := c.Sync(t.Context(), &Request{}); err == nil || time.Since(start) != Timeout {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	for url, says := range map[string]string{
		"":                                "http",
		"central.example":                 "http",
		"ftp://central":                   "http",
		"https://":                        "http",
		"http://user:" + testToken + "@h": "central.token",
		"http://h\x7f" + testToken:        "no URL",
	} {
		_, err := NewClient(Options{URL: url})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", url, err)
		}
		checkNoSecret(t, err)
	}
	for name, o := range map[string]tlsfile.Client{
		"no such file":     {CAFile: "testdata/none.pem"},
		"no PEM":           {CAFile: "client_test.go"},
		"key without cert": {KeyFile: "client_test.go"},
		"no key":           {CertFile: "client_test.go", KeyFile: "client_test.go"},
	} {
		if _, err := NewClient(Options{URL: "https://central", TLS: o}); err == nil || !strings.Contains(err.Error(), "central.tls") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEventsSurviveTheWire(t *testing.T) {
	e := scan.Event{
		EventID: "e", Waybill: "YT1", ActionTime: 5, ActionType: 300002, ActionMsg: "派件中", ReceivedAt: time.Unix(9, 0),
		Pickup: scan.Courier{Name: "a", Phone: "1"}, Delivery: scan.Courier{Name: "b", Phone: "2"},
		Data: &scan.Waybill{CreateTime: 4, Sender: scan.Party{Name: "s", Province: "p", City: "c", Area: "d", Street: "e", Address: "f", ID: "g", Phone: "h"}},
	}
	body, err := encodeRequest(&Request{Events: []Event{FromEvent(3, e, true)}})
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(body)
	if err != nil {
		t.Fatal(err)
	}
	var r Request
	if err := json.NewDecoder(z).Decode(&r); err != nil {
		t.Fatal(err)
	}
	if got := r.Events[0].Event(); !reflect.DeepEqual(got, e) || !r.Events[0].Muted || r.Events[0].Seq != 3 {
		t.Errorf("came out as %+v", r.Events[0])
	}
}

func FuzzDecodeResponse(f *testing.F) {
	f.Add([]byte(answerOK))
	f.Add([]byte(`{"v":1,"store_id":"s","process":"p","answers":[{"epoch":"1","seq":1,"result":"taken"}],"token":{"value":"x"}}`))
	f.Add([]byte(`{"v":1e9}`))
	f.Add([]byte(`[`))
	f.Add([]byte(`{"v":1,"store_id":"s","process":"p","orders":[{"id":"a","do":"retry","all":true},{"id":""}],"look":["W1",""],"directives":{"update":{"version":"1.1.0","rollout":"r","back":true},"hold":true,"config":{"name":"n","revision":1,"sha256":"0"}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := decodeResponse(body)
		if (r == nil) == (err == nil) {
			t.Fatalf("%v, %v", r, err)
		}
		if r != nil && (len(r.Orders) > order.MaxOpen || len(r.Look) > order.MaxLooks || r.Directives != nil && r.Directives.Bounded() == nil) {
			t.Fatalf("beyond its bounds: %d orders, %d looks, %+v", len(r.Orders), len(r.Look), r.Directives)
		}
		if err != nil && len(body) > 40 && bytes.Contains([]byte(err.Error()), body) {
			t.Fatalf("the error quotes the body: %v", err)
		}
	})
}

// What a centre says is shown by agents, in status and with dead letters: of names and
// phones in it nothing is left, and what our own centre says stays as it is.
func TestReasonsAreMasked(t *testing.T) {
	body := `{"v":1,"store_id":"s","process":"p","wechat":{"state":"blocked","reason":"李四 13800138000"},` +
		`"answers":[{"epoch":"1","seq":1,"result":"refused","reason":"receiver 李四"},` +
		`{"epoch":"1","seq":2,"result":"late","reason":"a parcel's number: its scans go into the path of its waybill, whose own are pushed"}]}`
	r, err := decodeResponse([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if r.WeChat.Reason != "… ***" || r.Answers[0].Reason != "receiver …" {
		t.Errorf("%q, %q", r.WeChat.Reason, r.Answers[0].Reason)
	}
	if !strings.HasSuffix(r.Answers[1].Reason, "whose own are pushed") || strings.Contains(r.Answers[1].Reason, "…") {
		t.Errorf("%q", r.Answers[1].Reason)
	}
}

// What is no HTTP is quoted by net/http: nothing personal of it is left either.
func TestQuotedAnswersAreMasked(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = http.ReadRequest(bufio.NewReader(conn)) // what comes before is logged, and no answer
			_, _ = io.WriteString(conn, "李四 zhangsan 13800138000\r\n\r\n")
			_ = conn.Close()
		}
	}()
	c, err := NewClient(Options{URL: "http://" + ln.Addr().String(), Token: testToken})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Sync(t.Context(), &Request{})
	if err == nil || !strings.Contains(err.Error(), "malformed") || strings.Contains(err.Error(), "李") || strings.Contains(err.Error(), "zhang") || strings.Contains(err.Error(), "138") {
		t.Errorf("%v", err)
	}
}

// TestDirectives: what the centre wants comes with an answer, and with a 409 alone of
// what is no answer; nothing that is larger than it may be.
func TestDirectives(t *testing.T) {
	status, wants := 200, ""
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		if status == 200 {
			io.WriteString(w, strings.TrimSuffix(answerOK, "}")+wants+"}")
			return
		}
		io.WriteString(w, `{"error":"no version in common"`+wants+"}")
	})
	const update = `,"directives":{"update":{"version":"1.2.3","rollout":"r"},"hold":true}`
	for _, x := range []struct {
		status int
		wants  string
		comes  bool
	}{{200, update, true}, {409, update, true}, {200, "", false}, {409, "", false}, {503, update, false}, {401, update, false},
		{200, strings.Replace(update, "1.2.3", strings.Repeat("1", directive.MaxBytes), 1), false},
		{409, strings.Replace(update, "1.2.3", strings.Repeat("1", directive.MaxBytes), 1), false}} {
		status, wants = x.status, x.wants
		var d *directive.Directives
		if resp, err := c.Sync(t.Context(), &Request{}); err == nil {
			d = resp.Directives
		} else if e := asError(err); e.Status != status {
			t.Fatal(err)
		} else {
			d = e.Directives
		}
		if comes := d != nil && d.Update != nil && d.Update.Version == "1.2.3" && d.Hold; comes != x.comes {
			t.Errorf("%d, %.60s: %+v", x.status, x.wants, d)
		}
	}
}

// renewed gives another token once one was refused.
type renewed struct{ refused int }

func (r *renewed) Token(context.Context) (secret.Text, error) {
	return secret.Text(fmt.Sprint("token-", r.refused)), nil
}
func (r *renewed) Refused(secret.Text) bool { r.refused++; return true }

// TestFiles: the credential is shown below the centre's address, with another where it is
// refused, and does not follow a redirect.
func TestFiles(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("somebody else is asked, with %q", r.Header.Get("Authorization"))
	}))
	defer elsewhere.Close()
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch token := r.Header.Get("Authorization"); {
		case token != "Bearer token-1":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/base/v1/updates/away":
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
		default:
			fmt.Fprint(w, r.URL.Path, " ", r.Header.Get("Range"))
		}
	})
	c.Use(&renewed{})
	address, client := c.Files(directive.UpdatesPath)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+"timestamp.json", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Range", "bytes=7-")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "/base/v1/updates/timestamp.json bytes=7-" || req.Header.Get("Authorization") != "" {
		t.Errorf("%s, %v", body, err)
	}
	away, err := client.Get(address + "away")
	if err != nil || away.StatusCode != http.StatusFound {
		t.Errorf("a redirect: %+v, %v", away, err)
	}
	if err == nil {
		_ = away.Body.Close()
	}
	c.Use(&renewed{refused: 7})
	resp, err = client.Get(address)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("none is good: %+v, %v", resp, err)
	}
	if err == nil {
		_ = resp.Body.Close()
	}
}
