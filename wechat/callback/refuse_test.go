package callback_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"scanrelay/wechat/callback"
)

// neverAsked fails the test when a call gets as far as the lookup.
func neverAsked(t *testing.T) callback.Lookup {
	return func(context.Context, callback.Query) callback.Answer {
		t.Error("the lookup was asked")
		return callback.Answer{}
	}
}

func wantRefused(t *testing.T, name string, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Code != http.StatusForbidden || w.Body.Len() != 0 || w.Header().Get("Content-Type") != "" {
		t.Errorf("%s: %d %q, want 403 and nothing", name, w.Code, w.Body)
	}
}

func TestURLCheck(t *testing.T) {
	good := func() url.Values {
		q := newSender(t, callback.Plain, formatJSON).query("")
		q.Set("echostr", "4375120948345356249<b>")
		return q
	}
	for _, m := range []callback.Mode{callback.Plain, callback.Compat, callback.Secure} {
		h := newTestHandler(t, m, neverAsked(t))
		get := func(rawQuery string) *httptest.ResponseRecorder {
			return serve(h, httptest.NewRequest(http.MethodGet, "/wechat/callback?"+rawQuery, nil))
		}
		w := get(good().Encode())
		if w.Code != http.StatusOK || w.Body.String() != "4375120948345356249<b>" || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %q", m, w.Code, w.Body)
		}
		for name, change := range map[string]func(url.Values){
			"wrong signature":          func(q url.Values) { q.Set("signature", strings.Repeat("0", 40)) },
			"signature in capitals":    func(q url.Values) { q.Set("signature", strings.ToUpper(q.Get("signature"))) },
			"signature cut":            func(q url.Values) { q.Set("signature", q.Get("signature")[:39]) },
			"no signature":             func(q url.Values) { q.Del("signature") },
			"msg_signature instead":    func(q url.Values) { q.Set("msg_signature", q.Get("signature")); q.Del("signature") },
			"another nonce":            func(q url.Values) { q.Set("nonce", "1") },
			"another time":             func(q url.Values) { q.Set("timestamp", "1714037060") },
			"two signatures":           func(q url.Values) { q.Add("signature", q.Get("signature")) },
			"two nonces":               func(q url.Values) { q.Add("nonce", "1") },
			"no echostr":               func(q url.Values) { q.Del("echostr") },
			"token of another carrier": func(q url.Values) { q.Set("signature", callback.Sign("other", q.Get("timestamp"), q.Get("nonce"))) },
			"no token":                 func(q url.Values) { q.Set("signature", callback.Sign("", q.Get("timestamp"), q.Get("nonce"))) },
		} {
			q := good()
			change(q)
			wantRefused(t, string(m)+" "+name, get(q.Encode()))
		}
		wantRefused(t, "nothing", get(""))
		wantRefused(t, "malformed query", get(good().Encode()+"&a=%zz"))
		wantRefused(t, "semicolon in the query", get(good().Encode()+";a=1"))
	}
}

func TestMethods(t *testing.T) {
	h := newTestHandler(t, callback.Plain, neverAsked(t))
	for _, m := range []string{http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		w := serve(h, httptest.NewRequest(m, "/", nil))
		if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, POST" || w.Body.Len() != 0 {
			t.Errorf("%s: %d %q", m, w.Code, w.Header().Get("Allow"))
		}
	}
}

// max_skew holds for GET and POST, before and after, to the second.
func TestMaxSkew(t *testing.T) {
	everyWay(t, func(t *testing.T, s sender) {
		for _, k := range []struct {
			skew, off time.Duration
			ok        bool
		}{
			{10 * time.Minute, 0, true},
			{10 * time.Minute, 10 * time.Minute, true},
			{10 * time.Minute, -10 * time.Minute, true},
			{10 * time.Minute, 10*time.Minute + time.Second, false},
			{10 * time.Minute, -10*time.Minute - time.Second, false},
			{10 * time.Minute, 50 * 365 * 24 * time.Hour, false}, // past 2038: no 32-bit time
			{0, 50 * 365 * 24 * time.Hour, true},
			{0, -50 * 365 * 24 * time.Hour, true},
		} {
			s := s
			s.at = testTime.Add(k.off)
			h := newTestHandler(t, s.mode, nothing, func(c *callback.Config) { c.MaxSkew = k.skew })
			q := s.query("")
			q.Set("echostr", "1")
			get := serve(h, httptest.NewRequest(http.MethodGet, "/?"+q.Encode(), nil))
			send := serve(h, s.request(lookupOf("waybill_notify_query", "YT1")))
			if (get.Code == http.StatusOK) != k.ok || (send.Code == http.StatusOK) != k.ok {
				t.Errorf("max_skew %v, off by %v: GET %d, POST %d", k.skew, k.off, get.Code, send.Code)
			}
		}
	})
}

func TestOddTimestamps(t *testing.T) {
	h := newTestHandler(t, callback.Plain, neverAsked(t))
	for _, stamp := range []string{"", "now", "1714037059.0", "0x662A1C03", "9223372036854775807", "-9223372036854775808", "99999999999999999999", "1714037059000"} {
		q := url.Values{"timestamp": {stamp}, "nonce": {"1"}, "echostr": {"1"}, "signature": {callback.Sign(testToken, stamp, "1")}}
		wantRefused(t, stamp, serve(h, httptest.NewRequest(http.MethodGet, "/?"+q.Encode(), nil)))
	}
}

// Each mode refuses the forms of the others, although they are signed.
func TestFormsOfOtherModes(t *testing.T) {
	modes := []callback.Mode{callback.Plain, callback.Compat, callback.Secure}
	for _, configured := range modes {
		for _, sent := range modes {
			for _, f := range []format{formatJSON, formatXML} {
				l := callback.Lookup(oneParcel)
				if sent != configured {
					l = neverAsked(t)
				}
				s := newSender(t, sent, f)
				w := serve(newTestHandler(t, configured, l), s.request(lookupOf("waybill_notify_query", "YT1")))
				name := string(sent) + " sent to " + string(configured) + " in " + string(f)
				if sent != configured {
					wantRefused(t, name, w)
				} else if w.Code != http.StatusOK {
					t.Errorf("%s: %d", name, w.Code)
				}
			}
		}
	}
}

func TestEncryptType(t *testing.T) {
	for _, k := range []struct {
		mode callback.Mode
		kind string
		ok   bool
	}{
		{callback.Plain, "", true}, {callback.Plain, "raw", true}, {callback.Plain, "aes", false},
		{callback.Secure, "", true}, {callback.Secure, "aes", true}, {callback.Secure, "raw", false}, {callback.Compat, "raw", false},
	} {
		s := newSender(t, k.mode, formatJSON)
		r := s.request(lookupOf("waybill_notify_query", "YT1"))
		q := r.URL.Query()
		q.Set("encrypt_type", k.kind)
		r.URL.RawQuery = q.Encode()
		if w := serve(newTestHandler(t, k.mode, nothing), r); (w.Code == http.StatusOK) != k.ok {
			t.Errorf("%s with encrypt_type %q: %d", k.mode, k.kind, w.Code)
		}
	}
}

// A message that was changed in any way does not verify, in any mode; in plain
// mode the signature covers the URL only.
func TestForgeries(t *testing.T) {
	everyWay(t, func(t *testing.T, s sender) {
		h := newTestHandler(t, s.mode, neverAsked(t))
		forge := func(name string, change func(url.Values)) {
			r := s.request(lookupOf("waybill_notify_query", "YT1"))
			q := r.URL.Query()
			change(q)
			r.URL.RawQuery = q.Encode()
			wantRefused(t, name, serve(h, r))
		}
		which := "signature"
		if s.mode != callback.Plain {
			which = "msg_signature"
			forge("signature in place of msg_signature", func(q url.Values) { q.Set(which, q.Get("signature")) })
			forge("signature only", func(q url.Values) { q.Del(which) })
		}
		forge("no signature", func(q url.Values) { q.Del(which) })
		forge("empty signature", func(q url.Values) { q.Set(which, "") })
		forge("zero signature", func(q url.Values) { q.Set(which, strings.Repeat("0", 40)) })
		forge("another nonce", func(q url.Values) { q.Set("nonce", "1") })
		forge("another time", func(q url.Values) { q.Set("timestamp", "1714037060") })
		forge("signature twice", func(q url.Values) { q.Add(which, q.Get(which)) })

		wrong := s
		wrong.token = "another"
		wantRefused(t, "another token", serve(h, wrong.request(lookupOf("waybill_notify_query", "YT1"))))
	})
}

// Signed, yet wrong inside: as if the token were known but not the key.
func TestWrongInside(t *testing.T) {
	s := newSender(t, callback.Secure, formatJSON)
	h := newTestHandler(t, callback.Secure, neverAsked(t))
	send := func(name, encrypted string) {
		wantRefused(t, name, serve(h, post(s.query(encrypted), s.write(pairs{"ToUserName", "gh_1", "Encrypt", encrypted}))))
	}
	random := [16]byte([]byte("0123456789abcdef"))
	other, err := callback.NewCrypt(testToken, testKey, testAppID+"x")
	if err != nil {
		t.Fatal(err)
	}
	query := s.write(lookupOf("waybill_notify_query", "YT1"))
	send("no base64", "%%%%")
	send("zeros", base64.StdEncoding.EncodeToString(make([]byte, 64)))
	send("another appid", other.Encrypt(random, []byte(query)))
	send("an empty message", s.crypt.Encrypt(random, nil))
	send("no message", s.crypt.Encrypt(random, []byte("hello")))
	send("a message cut off", s.crypt.Encrypt(random, []byte(query[:len(query)-1])))
	send("a message with DOCTYPE", s.crypt.Encrypt(random, []byte(`<!DOCTYPE xml><xml></xml>`)))
}

// Bodies that are none, or are too much, in every mode.
func TestOddBodies(t *testing.T) {
	everyWay(t, func(t *testing.T, s sender) {
		h := newTestHandler(t, s.mode, neverAsked(t))
		for name, body := range map[string]string{
			"empty": "", "space": "  \r\n", "text": "hello", "null": "null", "list": "[]", "number": "1",
			"cut off": `{"Encrypt":"`, "Encrypt twice": `{"Encrypt":"a","Encrypt":"b"}`,
			"Encrypt empty": `{"ToUserName":"gh_1","Encrypt":""}`, "Encrypt a list": `{"Encrypt":["a"]}`,
			"DOCTYPE":        `<!DOCTYPE x [<!ENTITY a "aaaa">]><xml><Encrypt>&a;</Encrypt></xml>`,
			"one byte over":  `{"a":"` + strings.Repeat("x", maxBody+1-len(`{"a":""}`)) + `"}`,
			"far over":       strings.Repeat("{", 1<<20),
			"deep JSON":      strings.Repeat(`{"a":`, 10000),
			"deep XML":       "<xml>" + strings.Repeat("<a>", 10000),
			"not UTF-8":      "{\"a\":\"\xff\"}",
			"byte order UTF": "\ufeff{}",
		} {
			wantRefused(t, name, serve(h, post(s.query("x"), body)))
			wantRefused(t, name, serve(h, post(s.query(""), body)))
		}
	})
}

func TestLargestBody(t *testing.T) {
	s := newSender(t, callback.Plain, formatJSON)
	h := newTestHandler(t, callback.Plain, neverAsked(t))
	body := `{"a":"` + strings.Repeat("x", maxBody-len(`{"a":""}`)) + `"}`
	if w := serve(h, post(s.query(""), body)); w.Code != http.StatusOK || w.Body.String() != "success" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

// Logs of refused calls say why, at most once a second, and show no content.
func TestRefusalsAreLoggedSparingly(t *testing.T) {
	var log bytes.Buffer
	h := newTestHandler(t, callback.Secure, nothing, func(c *callback.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	s := newSender(t, callback.Plain, formatJSON)
	for range 500 {
		serve(h, s.request(lookupOf("waybill_notify_query", "s3cr3t")))
	}
	if n := strings.Count(log.String(), "\n"); n < 1 || n > 3 {
		t.Errorf("%d lines for 500 refusals:\n%s", n, &log)
	}
	for _, private := range []string{"s3cr3t", "13800138000", testNonce, s.query("").Get("signature")} {
		if strings.Contains(log.String(), private) {
			t.Errorf("the log shows %q:\n%s", private, &log)
		}
	}
}
