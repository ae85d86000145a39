package fake_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/wechat/fake"
)

var modes = []fake.Mode{fake.Plain, fake.Compat, fake.Secure}
var formats = []fake.Format{fake.JSON, fake.XML}

func eachWay(t *testing.T, f func(t *testing.T, m fake.Mode, fm fake.Format)) {
	for _, m := range modes {
		for _, fm := range formats {
			t.Run(string(m)+"/"+string(fm), func(t *testing.T) { f(t, m, fm) })
		}
	}
}

func TestPushEveryWay(t *testing.T) {
	eachWay(t, func(t *testing.T, m fake.Mode, fm fake.Format) {
		s, front, c := newPair(t, fake.Options{Mode: m, Format: fm, BoundByDefault: true})
		a, err := notify(t, front, goodPush())
		if err != nil || a.Errcode != 0 || a.Errmsg != "ok" || *a.Exist != 1 {
			t.Fatalf("answer %+v, %v; lookups %+v", a, err, s.Lookups())
		}
		p := s.Pushes()
		if len(p) != 1 || p[0].WaybillID != testWaybill || p[0].Node.DeliveryCourierName != "王五" || p[0].Receiver.Phone != testPhone {
			t.Fatalf("pushes %+v", p)
		}
		asked := c.asked[0]
		for k, v := range map[string]string{"WaybillId": testWaybill, "ReceiverPhone": testPhone, "SenderPhone": "13800138001",
			"ToUserName": fake.DefaultUserName, "FromUserName": fake.TeamOpenID, "MsgType": "event", "Event": "waybill_notify_query"} {
			if asked[k] != v {
				t.Errorf("asked %s=%q, want %q", k, asked[k], v)
			}
		}
		if l := s.Lookups(); len(l) != 1 || l[0].Tries != 1 || len(l[0].Reply.Path) != 2 {
			t.Errorf("lookups %+v", l)
		}
	})
}

func TestURLCheckAndTestEvent(t *testing.T) {
	eachWay(t, func(t *testing.T, m fake.Mode, fm fake.Format) {
		s, _, _ := newPair(t, fake.Options{Mode: m, Format: fm})
		if err := s.CheckURL(context.Background()); err != nil {
			t.Error(err)
		}
		if err := s.SendTest(); err != nil {
			t.Error(err)
		}
	})
}

func TestURLCheckRefusesWhatAcceptsAnything(t *testing.T) {
	s, _, c := newPair(t, fake.Options{})
	c.serve = func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Type", "text/plain")
		w.Write([]byte(r.URL.Query().Get("echostr")))
		return true
	}
	if err := s.CheckURL(context.Background()); err == nil || !strings.Contains(err.Error(), "wrong signature") {
		t.Errorf("a callback that checks nothing passed: %v", err)
	}
}

// Every lie about form is 932002, every lie about data 932003; nothing is pushed.
func TestLiesAreFound(t *testing.T) {
	node := func(r map[string]any) map[string]any { return r["Path"].([]any)[0].(map[string]any) }
	set := func(k string, v any) func(map[string]any) { return func(r map[string]any) { r[k] = v } }
	setNode := func(k string, v any) func(map[string]any) { return func(r map[string]any) { node(r)[k] = v } }
	for _, tc := range []struct {
		name string
		code int
		lie  func(map[string]any)
	}{
		{"result code", 932002, func(r map[string]any) {
			r["ResultCode"], r["ResultMsg"], r["Path"], r["WaybillCreateTime"] = 1, "no such waybill", []any{}, 0
		}},
		{"result code with data", 932002, set("ResultCode", 2)},
		{"names not exchanged", 932002, func(r map[string]any) {
			r["ToUserName"], r["FromUserName"] = r["FromUserName"], r["ToUserName"]
		}},
		{"no ToUserName", 932002, func(r map[string]any) { delete(r, "ToUserName") }},
		{"other MsgType", 932002, set("MsgType", "text")},
		{"other Event", 932002, set("Event", "WAYBILL_NOTIFY_QUERY")},
		{"no CreateTime", 932002, func(r map[string]any) { delete(r, "CreateTime") }},
		{"CreateTime in milliseconds", 932002, set("CreateTime", testTime*1000)},
		{"no ResultCode", 932002, func(r map[string]any) { delete(r, "ResultCode") }},
		{"no ResultMsg", 932002, func(r map[string]any) { delete(r, "ResultMsg") }},
		{"no WaybillCreateTime", 932002, func(r map[string]any) { delete(r, "WaybillCreateTime") }},
		{"node without a text", 932002, func(r map[string]any) { delete(node(r), "ActionMsg") }},
		{"other create_time", 932003, set("WaybillCreateTime", testTime-5001)},
		{"empty path", 932003, set("Path", []any{})},
		{"node missing", 932003, func(r map[string]any) { r["Path"] = r["Path"].([]any)[1:] }},
		{"oldest first", 932003, func(r map[string]any) {
			p := r["Path"].([]any)
			p[0], p[1] = p[1], p[0]
		}},
		{"other time", 932003, setNode("ActionTime", testTime+1)},
		{"other type", 932003, setNode("ActionType", 300003)},
		{"unknown type", 932003, setNode("ActionType", 300001)},
		{"other text", 932003, setNode("ActionMsg", "派件中")},
		{"masked text", 932003, setNode("ActionMsg", "派件中,派件人:王五,电话139******00")},
		{"courier missing", 932003, func(r map[string]any) { delete(node(r), "DeliveryCourierName") }},
		{"other courier phone", 932003, setNode("DeliveryCourierPhone", "139******00")},
		{"pick-up courier too many", 932003, setNode("PickupCourierName", "赵六")},
		{"time in milliseconds", 932003, setNode("ActionTime", testTime*1000)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, m fake.Mode, fm fake.Format) {
				s, front, c := newPair(t, fake.Options{Mode: m, Format: fm, BoundByDefault: true})
				c.lie(tc.lie)
				checkRefused(t, s, front.URL, tc.code, 1)
			})
		})
	}
}

func checkRefused(t *testing.T, s *fake.Server, url string, code, tries int) {
	t.Helper()
	tok, err := call(t, url+"/cgi-bin/stable_token", "application/json", map[string]any{
		"grant_type": "client_credential", "appid": fake.DefaultAppID, "secret": fake.DefaultSecret})
	if err != nil {
		t.Fatal(err)
	}
	a, err := call(t, url+"/cgi-bin/express/delivery/pathnotify?access_token="+tok.AccessToken, "application/json", goodPush())
	if err != nil || a.Errcode != code || a.Exist != nil {
		t.Fatalf("answer %+v, %v, want %d; lookups %+v", a, err, code, s.Lookups())
	}
	l := s.Lookups()
	if len(s.Pushes()) != 0 || len(l) != 1 || l[0].Errcode != code || l[0].Tries != tries || l[0].Problem == "" {
		t.Errorf("pushes %d, lookups %+v, want none and %d tries", len(s.Pushes()), l, tries)
	}
	if calls := s.Calls(); calls[len(calls)-1].Problem == "" || !strings.HasSuffix(a.Errmsg, " rid: "+calls[len(calls)-1].RID) {
		t.Errorf("errmsg %q, call %+v", a.Errmsg, calls[len(calls)-1])
	}
}

// What JSON alone can get wrong.
func TestJSONRepliesAreReadStrictly(t *testing.T) {
	for name, lie := range map[string]func(map[string]any){
		"Path is one object":    func(r map[string]any) { r["Path"] = r["Path"].([]any)[0] },
		"Path is null":          func(r map[string]any) { r["Path"] = nil },
		"no Path":               func(r map[string]any) { delete(r, "Path") },
		"number as text":        func(r map[string]any) { r["WaybillCreateTime"] = "1790000000" },
		"keys in lower case":    func(r map[string]any) { r["resultcode"] = 0; delete(r, "ResultCode") },
		"text as number":        func(r map[string]any) { r["ResultMsg"] = 0 },
		"no whole number":       func(r map[string]any) { r["CreateTime"] = 1790000000.5 },
		"a node that is a text": func(r map[string]any) { r["Path"] = []any{"x"} },
	} {
		t.Run(name, func(t *testing.T) {
			s, front, c := newPair(t, fake.Options{BoundByDefault: true})
			c.lie(lie)
			checkRefused(t, s, front.URL, 932002, 1)
		})
	}
}

func TestSealsAreChecked(t *testing.T) {
	for name, seal := range map[string]func(map[string]any){
		"signature":      func(e map[string]any) { e["MsgSignature"] = strings.Repeat("0", 40) },
		"no signature":   func(e map[string]any) { delete(e, "MsgSignature") },
		"other nonce":    func(e map[string]any) { e["Nonce"] = "1" },
		"other time":     func(e map[string]any) { e["TimeStamp"] = testTime },
		"cut ciphertext": func(e map[string]any) { e["Encrypt"] = e["Encrypt"].(string)[:40] },
		"no Encrypt":     func(e map[string]any) { delete(e, "Encrypt") },
	} {
		t.Run(name, func(t *testing.T) {
			for _, m := range []fake.Mode{fake.Compat, fake.Secure} {
				s, front, c := newPair(t, fake.Options{Mode: m, BoundByDefault: true})
				c.seal = seal
				checkRefused(t, s, front.URL, 932002, 1)
			}
		})
	}
}

func TestClearReplyInSecureModeIsRefused(t *testing.T) {
	s, front, c := newPair(t, fake.Options{BoundByDefault: true})
	c.serve = func(w http.ResponseWriter, r *http.Request) bool { w.Write(encode(fake.JSON, c.reply)); return true }
	checkRefused(t, s, front.URL, 932002, 1)
}

func TestUnreachable(t *testing.T) {
	for name, serve := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"503": func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(503); return true },
		"403": func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(403); return true },
		"redirect": func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "/else", http.StatusFound)
			return true
		},
		"dropped": func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) },
		"too slow": func(_ http.ResponseWriter, r *http.Request) bool {
			io.Copy(io.Discard, r.Body) // only then does the server notice that the caller has gone
			<-r.Context().Done()
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, front, c := newPair(t, fake.Options{BoundByDefault: true, Lookup: fake.LookupRules{Timeout: 100 * time.Millisecond}, Now: time.Now})
			c.serve = serve
			checkRefused(t, s, front.URL, 932001, 3)
		})
	}
}

func TestThirdTryIsEnough(t *testing.T) {
	s, front, c := newPair(t, fake.Options{BoundByDefault: true})
	c.serve = func(w http.ResponseWriter, r *http.Request) bool {
		if c.hits < 3 {
			w.WriteHeader(500)
			return true
		}
		return false
	}
	if a, err := notify(t, front, goodPush()); err != nil || a.Errcode != 0 || len(s.Pushes()) != 1 {
		t.Errorf("answer %+v, %v", a, err)
	}
}

func TestMarkFail(t *testing.T) {
	now := time.Unix(testTime+100, 0)
	s, front, c := newPair(t, fake.Options{BoundByDefault: true, Lookup: fake.LookupRules{MarkFailAfter: 2}, Now: func() time.Time { return now }})
	c.serve = func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(500); return true }
	for range 3 {
		notify(t, front, goodPush())
	}
	if c.hits != 6 {
		t.Errorf("asked %d times, want 6: after two failures it rests", c.hits)
	}
	c.serve = nil
	now = now.Add(time.Minute)
	if a, err := notify(t, front, goodPush()); err != nil || a.Errcode != 0 {
		t.Errorf("after a minute: %+v, %v; %+v", a, err, s.Lookups())
	}
}

// A carrier that does not answer is asked three times, 5 s each; then the push
// is 932001. It waits for nothing real: this is WeChat's own pace.
func TestThreeTimesFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := fake.New(fake.Options{BoundByDefault: true, Callback: "http://central/wechat/callback", Now: time.Now, Transport: silent{}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		start := time.Now()
		if l := s.Ask(testWaybill, "", testPhone); l.Errcode != 932001 || l.Tries != 3 || time.Since(start) != 15*time.Second {
			t.Errorf("%+v after %v", l, time.Since(start))
		}
	})
}

// silent is a network on which nothing ever answers.
type silent struct{}

func (silent) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// A script sets the lookup's pace and MarkFail, and can be changed on the way.
func TestScriptedMarkFail(t *testing.T) {
	now := time.Unix(testTime+100, 0)
	s, front, c := newPair(t, fake.Options{BoundByDefault: true, Now: func() time.Time { return now },
		Script: parse(t, "lookup: {tries: 2, mark_fail_after: 1, mark_fail_for: 10s}")})
	c.serve = func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(500); return true }
	for range 3 {
		if a, err := notify(t, front, goodPush()); err != nil || a.Errcode != 932001 {
			t.Errorf("%+v, %v", a, err)
		}
	}
	if c.hits != 2 {
		t.Errorf("asked %d times, want 2: after one failure it rests", c.hits)
	}
	c.serve = nil
	now = now.Add(10 * time.Second)
	if err := s.SetScript(fake.Script{}); err != nil {
		t.Fatal(err)
	}
	if a, err := notify(t, front, goodPush()); err != nil || a.Errcode != 0 {
		t.Errorf("after 10 s: %+v, %v", a, err)
	}
}

func TestUnboundIsLookedUpToo(t *testing.T) {
	for _, skip := range []bool{false, true} {
		s, front, c := newPair(t, fake.Options{SkipUnbound: skip})
		a, err := notify(t, front, goodPush())
		if err != nil || a.Errcode != 0 || *a.Exist != 0 || len(s.Pushes()) != 0 {
			t.Errorf("answer %+v, %v", a, err)
		}
		if want := map[bool]int{false: 1, true: 0}[skip]; c.hits != want {
			t.Errorf("skip %v: %d lookups, want %d", skip, c.hits, want)
		}
	}
}

func TestAsk(t *testing.T) {
	s, _, c := newPair(t, fake.Options{Format: fake.XML})
	if l := s.Ask(testWaybill, "", testPhone); l.Errcode != 0 || len(l.Reply.Path) != 2 || c.asked[0]["SenderPhone"] != "" {
		t.Errorf("%+v", l)
	}
}
