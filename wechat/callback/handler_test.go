package callback

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
)

// oneParcel knows one parcel and asserts nothing.
func oneParcel(_ context.Context, q Query) Answer {
	switch {
	case q.WaybillID != "YT1":
		return Answer{Code: CodeNoWaybill}
	case q.ReceiverPhone != "13800138000":
		return Answer{Code: CodeWrongPhone}
	}
	return twoNodes
}

func TestLookupEveryWay(t *testing.T) {
	everyWay(t, func(t *testing.T, s sender) {
		var got Query
		h := newTestHandler(t, s.mode, func(ctx context.Context, q Query) Answer {
			got = q
			return oneParcel(ctx, q)
		})
		w := serve(h, s.request(lookupOf("waybill_notify_query", "YT1")))
		r := s.read(t, w)
		if want := (Query{"YT1", "13800138001", "13800138000"}); got.WaybillID != want.WaybillID || got.SenderPhone != want.SenderPhone || got.ReceiverPhone != want.ReceiverPhone {
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
		if want := map[format]string{formatJSON: typeJSON, formatXML: typeXML}[s.form]; w.Header().Get("Content-Type") != want {
			t.Errorf("content type %s", w.Header().Get("Content-Type"))
		}
	})
}

func TestResultCodesEveryWay(t *testing.T) {
	everyWay(t, func(t *testing.T, s sender) {
		for _, code := range []int{CodeNoWaybill, CodeWrongPhone, CodeTryAgain} {
			h := newTestHandler(t, s.mode, func(context.Context, Query) Answer {
				return Answer{Code: code, CreateTime: 7, Path: twoNodes.Path} // more than may be told
			})
			r := s.read(t, serve(h, s.request(lookupOf("waybill_notify_query", "YT1"))))
			if r.ResultCode != code || r.ResultMsg != resultMsgs[code] || r.WaybillCreateTime != 0 || len(r.Path) != 0 {
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
			if w.Code != http.StatusOK || w.Body.String() != "success" || w.Header().Get("Content-Type") != typeText {
				t.Errorf("other event: %d %q %s", w.Code, w.Body, w.Header().Get("Content-Type"))
			}
		}
	})
}

func TestSwapNames(t *testing.T) {
	s := newSender(t, Secure, formatXML)
	h := newTestHandler(t, Secure, oneParcel, func(c *Config) { c.SwapNames = false })
	r := s.read(t, serve(h, s.request(lookupOf("waybill_notify_query", "YT1"))))
	if r.ToUserName != "gh_97417a04a28d" || r.FromUserName != "o9AgO5Kd5ggOC" {
		t.Errorf("names %s, %s did not stay as they came", r.ToUserName, r.FromUserName)
	}
}

// A retry carries the same signature and is answered again.
func TestRepeat(t *testing.T) {
	s := newSender(t, Secure, formatJSON)
	h := newTestHandler(t, Secure, oneParcel)
	for range 3 {
		if r := s.read(t, serve(h, s.request(lookupOf("waybill_notify_query", "YT1")))); len(r.Path) != 2 {
			t.Errorf("reply %+v", r)
		}
	}
}

func TestSillyWaybillIsNotLookedUp(t *testing.T) {
	s := newSender(t, Plain, formatJSON)
	h := newTestHandler(t, Plain, func(context.Context, Query) Answer {
		t.Error("looked up")
		return Answer{}
	})
	for _, id := range []string{"", "  ", strings.Repeat("9", maxWaybill+1)} {
		if r := s.read(t, serve(h, s.request(lookupOf("waybill_notify_query", id)))); r.ResultCode != CodeNoWaybill {
			t.Errorf("%q: reply %+v", id, r)
		}
	}
}

// WeChat's published examples against a whole handler.
func TestOfficialCalls(t *testing.T) {
	config := func(m Mode) Config {
		return Config{Token: secret.Text(official.Token), EncodingAESKey: secret.Text(official.EncodingAESKey), AppID: official.AppID, Mode: m}
	}
	query := func(v officialRequest) url.Values {
		q := url.Values{"signature": {v.Signature}, "timestamp": {v.Timestamp}, "nonce": {v.Nonce}}
		for name, value := range map[string]string{"echostr": v.Echostr, "openid": v.OpenID, "encrypt_type": v.EncryptType, "msg_signature": v.MsgSignature} {
			if value != "" {
				q.Set(name, value)
			}
		}
		return q
	}
	secure := official.SecureRequest
	for _, k := range []struct {
		name string
		mode Mode
		r    *http.Request
		want string
	}{
		{"url check", Secure, httptest.NewRequest(http.MethodGet, "/?"+query(official.URLCheck).Encode(), nil), official.URLCheck.Echostr},
		{"plain", Plain, post(query(official.Plain), string(official.Plain.Body)), "success"},
		{"secure JSON", Secure, post(query(secure), `{"ToUserName":"gh_97417a04a28d","Encrypt":"`+secure.Encrypt+`"}`), "success"},
		{"secure XML", Secure, post(query(secure), `<xml><ToUserName><![CDATA[gh_97417a04a28d]]></ToUserName><Encrypt><![CDATA[`+secure.Encrypt+`]]></Encrypt></xml>`), "success"},
		{"compat", Compat, post(query(secure), strings.TrimSuffix(secure.Message, "}")+`,"Encrypt":"`+secure.Encrypt+`"}`), "success"},
	} {
		h, err := NewHandler(config(k.mode), nothing)
		if err != nil {
			t.Fatal(err)
		}
		if w := serve(h, k.r); w.Code != http.StatusOK || w.Body.String() != k.want || w.Header().Get("Content-Type") != typeText {
			t.Errorf("%s: %d %q", k.name, w.Code, w.Body)
		}
	}
}

func TestObserve(t *testing.T) {
	var seen []string
	observe := func(c *Config) {
		c.Observe = func(kind string, code int, took time.Duration) {
			seen = append(seen, fmt.Sprintf("%s %d", kind, code))
			if took < 0 {
				t.Errorf("took %v", took)
			}
		}
	}
	s := newSender(t, Secure, formatJSON)
	h := newTestHandler(t, Secure, oneParcel, observe)
	check := s.query("")
	check.Set("echostr", "1")
	serve(h, httptest.NewRequest(http.MethodGet, "/?"+check.Encode(), nil))
	serve(h, s.request(lookupOf("waybill_notify_query", "YT1")))
	serve(h, s.request(lookupOf("waybill_notify_query", "YT2")))
	serve(h, s.request(lookupOf("debug_demo", "YT1")))
	serve(h, httptest.NewRequest(http.MethodPost, "/", nil))
	serve(h, httptest.NewRequest(http.MethodPut, "/", nil))
	broken := newTestHandler(t, Secure, oneParcel, observe, func(c *Config) { c.Rand = strings.NewReader("") })
	if w := serve(broken, s.request(lookupOf("waybill_notify_query", "YT1"))); w.Code != http.StatusInternalServerError || w.Body.Len() != 0 {
		t.Errorf("without random bytes: %d %q", w.Code, w.Body)
	}
	want := "url_check 200, query 0, query 1, event 200, refused 403, refused 405, failed 500"
	if got := strings.Join(seen, ", "); got != want {
		t.Errorf("observed %s\nwant     %s", got, want)
	}
}

func TestNewHandlerRefuses(t *testing.T) {
	good := Config{Token: testToken, EncodingAESKey: testKey, AppID: testAppID, Mode: Secure}
	for _, k := range []struct {
		name   string
		change func(*Config)
		want   []string
	}{
		{"no token", func(c *Config) { c.Token = "" }, []string{"token is missing"}},
		{"unknown mode", func(c *Config) { c.Mode = "safe" }, []string{`mode is "safe", want secure, compat or plain`}},
		{"several at once", func(c *Config) { c.Token, c.Mode, c.MaxSkew, c.MaxInFlight = "", "", -1, -1 }, []string{"token", "mode", "max_skew", "in flight"}},
		{"no key", func(c *Config) { c.EncodingAESKey = "" }, []string{"encoding_aes_key has 0 characters"}},
		{"no appid", func(c *Config) { c.AppID = "" }, []string{"appid is missing"}},
	} {
		c := good
		k.change(&c)
		_, err := NewHandler(c, nothing)
		for _, want := range k.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", k.name, err, want)
			}
		}
	}
	if _, err := NewHandler(good, nil); err == nil {
		t.Error("no lookup: no error")
	}
	if _, err := NewHandler(Config{Token: testToken, Mode: Plain}, nothing); err != nil {
		t.Errorf("plain mode needs neither key nor appid: %v", err)
	}
}
