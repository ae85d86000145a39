package callback_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"scanrelay/configs/secret"
	"scanrelay/wechat/callback"
)

// oneParcel knows one parcel and asserts nothing.
func oneParcel(_ context.Context, q callback.Query) callback.Answer {
	switch {
	case q.WaybillID != "YT1":
		return callback.Answer{Code: callback.CodeNoWaybill}
	case q.ReceiverPhone != "13800138000":
		return callback.Answer{Code: callback.CodeWrongPhone}
	}
	return callback.TwoNodes
}

func TestLookupEveryWay(t *testing.T) {
	everyWay(t, func(t *testing.T, s sender) {
		var got callback.Query
		h := newTestHandler(t, s.mode, func(ctx context.Context, q callback.Query) callback.Answer {
			got = q
			return oneParcel(ctx, q)
		})
		w := serve(h, s.request(lookupOf("waybill_notify_query", "YT1")))
		r := s.read(t, w)
		if want := (callback.Query{"YT1", "13800138001", "13800138000"}); got.WaybillID != want.WaybillID || got.SenderPhone != want.SenderPhone || got.ReceiverPhone != want.ReceiverPhone {
			t.Errorf("lookup got %s %s %s", got.WaybillID, got.SenderPhone, got.ReceiverPhone)
		}
		if r.ToUserName != "o9AgO5Kd5ggOC" || r.FromUserName != "gh_97417a04a28d" {
			t.Errorf("names %s, %s are not exchanged", r.ToUserName, r.FromUserName)
		}
		if r.CreateTime != testTime.Unix() || r.MsgType != "event" || r.Event != "waybill_notify_query" || r.ResultCode != 0 || r.ResultMsg != "OK" || r.WaybillCreateTime != 1714000000 {
			t.Errorf("reply %+v", r)
		}
		if len(r.Path) != 2 || r.Path[0].ActionTime != 1714000200 || r.Path[0].ActionMsg != "派件中]]>" || r.Path[1].PickupCourierPhone != "13800138002" {
			t.Errorf("path %+v", r.Path)
		}
		if want := "application/" + string(s.form) + "; charset=utf-8"; w.Header().Get("Content-Type") != want {
			t.Errorf("content type %s", w.Header().Get("Content-Type"))
		}
	})
}

func TestResultCodesEveryWay(t *testing.T) {
	everyWay(t, func(t *testing.T, s sender) {
		for code, msg := range map[int]string{
			callback.CodeNoWaybill: "no such waybill", callback.CodeWrongPhone: "phone does not belong to this waybill", callback.CodeTryAgain: "try again later",
		} {
			h := newTestHandler(t, s.mode, func(context.Context, callback.Query) callback.Answer {
				return callback.Answer{Code: code, CreateTime: 7, Path: callback.TwoNodes.Path} // more than may be told
			})
			r := s.read(t, serve(h, s.request(lookupOf("waybill_notify_query", "YT1"))))
			if r.ResultCode != code || r.ResultMsg != msg || r.WaybillCreateTime != 0 || len(r.Path) != 0 {
				t.Errorf("code %d: reply %+v", code, r)
			}
		}
	})
}

// The names of Event and of other events, in every case of letters.
func TestEvents(t *testing.T) {
	everyWay(t, func(t *testing.T, s sender) {
		h := newTestHandler(t, s.mode, oneParcel)
		for _, event := range []string{"waybill_notify_query", "WAYBILL_NOTIFY_QUERY", "Waybill_Notify_Query"} {
			if r := s.read(t, serve(h, s.request(lookupOf(event, "YT1")))); r.ResultCode != 0 || r.Event != event {
				t.Errorf("%s: reply %+v", event, r)
			}
		}
		for _, p := range []pairs{
			lookupOf("debug_demo", "YT1"), lookupOf("waybill_notify_query2", "YT1"), lookupOf("", "YT1"),
			{"ToUserName", "gh_1", "FromUserName", "o1", "MsgType", "text", "Content", "hello"},
		} {
			w := serve(h, s.request(p))
			if w.Code != http.StatusOK || w.Body.String() != "success" || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
				t.Errorf("other event: %d %q %s", w.Code, w.Body, w.Header().Get("Content-Type"))
			}
		}
	})
}

func TestSwapNames(t *testing.T) {
	s := newSender(t, callback.Secure, formatXML)
	h := newTestHandler(t, callback.Secure, oneParcel, func(c *callback.Config) { c.SwapNames = false })
	r := s.read(t, serve(h, s.request(lookupOf("waybill_notify_query", "YT1"))))
	if r.ToUserName != "gh_97417a04a28d" || r.FromUserName != "o9AgO5Kd5ggOC" {
		t.Errorf("names %s, %s did not stay as they came", r.ToUserName, r.FromUserName)
	}
}

// A retry carries the same signature and is answered again.
func TestRepeat(t *testing.T) {
	s := newSender(t, callback.Secure, formatJSON)
	h := newTestHandler(t, callback.Secure, oneParcel)
	for range 3 {
		if r := s.read(t, serve(h, s.request(lookupOf("waybill_notify_query", "YT1")))); len(r.Path) != 2 {
			t.Errorf("reply %+v", r)
		}
	}
}

func TestSillyWaybillIsNotLookedUp(t *testing.T) {
	s := newSender(t, callback.Plain, formatJSON)
	h := newTestHandler(t, callback.Plain, func(context.Context, callback.Query) callback.Answer {
		t.Error("looked up")
		return callback.Answer{}
	})
	for _, id := range []string{"", "  ", strings.Repeat("9", maxWaybill+1)} {
		if r := s.read(t, serve(h, s.request(lookupOf("waybill_notify_query", id)))); r.ResultCode != callback.CodeNoWaybill {
			t.Errorf("%q: reply %+v", id, r)
		}
	}
}

// WeChat's published examples against a whole handler.
func TestOfficialCalls(t *testing.T) {
	config := func(m callback.Mode) callback.Config {
		return callback.Config{Token: secret.Text(callback.Official.Token), EncodingAESKey: secret.Text(callback.Official.EncodingAESKey), AppID: callback.Official.AppID, Mode: m}
	}
	query := func(v callback.OfficialRequest) url.Values {
		q := url.Values{"signature": {v.Signature}, "timestamp": {v.Timestamp}, "nonce": {v.Nonce}}
		for name, value := range map[string]string{"echostr": v.Echostr, "openid": v.OpenID, "encrypt_type": v.EncryptType, "msg_signature": v.MsgSignature} {
			if value != "" {
				q.Set(name, value)
			}
		}
		return q
	}
	secure := callback.Official.SecureRequest
	for _, k := range []struct {
		name string
		mode callback.Mode
		r    *http.Request
		want string
	}{
		{"url check", callback.Secure, httptest.NewRequest(http.MethodGet, "/?"+query(callback.Official.URLCheck).Encode(), nil), callback.Official.URLCheck.Echostr},
		{"plain", callback.Plain, post(query(callback.Official.Plain), string(callback.Official.Plain.Body)), "success"},
		{"secure JSON", callback.Secure, post(query(secure), `{"ToUserName":"gh_97417a04a28d","Encrypt":"`+secure.Encrypt+`"}`), "success"},
		{"secure XML", callback.Secure, post(query(secure), `<xml><ToUserName><![CDATA[gh_97417a04a28d]]></ToUserName><Encrypt><![CDATA[`+secure.Encrypt+`]]></Encrypt></xml>`), "success"},
		{"compat", callback.Compat, post(query(secure), strings.TrimSuffix(secure.Message, "}")+`,"Encrypt":"`+secure.Encrypt+`"}`), "success"},
	} {
		h, err := callback.NewHandler(config(k.mode), nothing)
		if err != nil {
			t.Fatal(err)
		}
		if w := serve(h, k.r); w.Code != http.StatusOK || w.Body.String() != k.want || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%s: %d %q", k.name, w.Code, w.Body)
		}
	}
}

func TestObserve(t *testing.T) {
	var seen []string
	observe := func(c *callback.Config) {
		c.Observe = func(kind string, code int, took time.Duration) {
			seen = append(seen, fmt.Sprintf("%s %d", kind, code))
			if took < 0 {
				t.Errorf("took %v", took)
			}
		}
	}
	s := newSender(t, callback.Secure, formatJSON)
	h := newTestHandler(t, callback.Secure, oneParcel, observe)
	check := s.query("")
	check.Set("echostr", "1")
	serve(h, httptest.NewRequest(http.MethodGet, "/?"+check.Encode(), nil))
	serve(h, s.request(lookupOf("waybill_notify_query", "YT1")))
	serve(h, s.request(lookupOf("waybill_notify_query", "YT2")))
	serve(h, s.request(lookupOf("debug_demo", "YT1")))
	serve(h, httptest.NewRequest(http.MethodPost, "/", nil))
	serve(h, httptest.NewRequest(http.MethodPut, "/", nil))
	broken := newTestHandler(t, callback.Secure, oneParcel, observe, func(c *callback.Config) { c.Rand = strings.NewReader("") })
	if w := serve(broken, s.request(lookupOf("waybill_notify_query", "YT1"))); w.Code != http.StatusInternalServerError || w.Body.Len() != 0 {
		t.Errorf("without random bytes: %d %q", w.Code, w.Body)
	}
	want := "url_check 200, query 0, query 1, event 200, refused 403, refused 405, failed 500"
	if got := strings.Join(seen, ", "); got != want {
		t.Errorf("observed %s\nwant     %s", got, want)
	}
}

func TestNewHandlerRefuses(t *testing.T) {
	good := callback.Config{Token: testToken, EncodingAESKey: testKey, AppID: testAppID, Mode: callback.Secure}
	for _, k := range []struct {
		name   string
		change func(*callback.Config)
		want   []string
	}{
		{"no token", func(c *callback.Config) { c.Token = "" }, []string{"token is missing"}},
		{"unknown mode", func(c *callback.Config) { c.Mode = "safe" }, []string{`mode is "safe", want secure, compat or plain`}},
		{"several at once", func(c *callback.Config) { c.Token, c.Mode, c.MaxSkew, c.MaxInFlight = "", "", -1, -1 }, []string{"token", "mode", "max_skew", "in flight"}},
		{"no key", func(c *callback.Config) { c.EncodingAESKey = "" }, []string{"encoding_aes_key has 0 characters"}},
		{"no appid", func(c *callback.Config) { c.AppID = "" }, []string{"appid is missing"}},
	} {
		c := good
		k.change(&c)
		_, err := callback.NewHandler(c, nothing)
		for _, want := range k.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", k.name, err, want)
			}
		}
	}
	if _, err := callback.NewHandler(good, nil); err == nil {
		t.Error("no lookup: no error")
	}
	if _, err := callback.NewHandler(callback.Config{Token: testToken, Mode: callback.Plain}, nothing); err != nil {
		t.Errorf("plain mode needs neither key nor appid: %v", err)
	}
}

// FuzzHandler sends any body, rightly signed as far as the URL goes: it is
// answered, never with a 5xx.
func FuzzHandler(f *testing.F) {
	for _, form := range []format{formatJSON, formatXML} {
		f.Add([]byte(newSender(f, callback.Plain, form).write(lookupOf("waybill_notify_query", "YT1"))))
	}
	f.Add([]byte(`{"Encrypt":"a"}`))
	f.Add([]byte(`<xml><Encrypt>a</Encrypt></xml>`))
	handlers := map[callback.Mode]*callback.Handler{}
	for _, m := range []callback.Mode{callback.Plain, callback.Compat, callback.Secure} {
		handlers[m] = newTestHandler(f, m, oneParcel)
	}
	s := newSender(f, callback.Plain, formatJSON)
	f.Fuzz(func(t *testing.T, body []byte) {
		for m, h := range handlers {
			w := serve(h, post(s.query(""), string(body)))
			if w.Code != http.StatusOK && w.Code != http.StatusForbidden {
				t.Errorf("%s: %d", m, w.Code)
			}
			if m != callback.Plain && w.Code != http.StatusForbidden {
				t.Errorf("%s: took a body without msg_signature", m)
			}
		}
	})
}
