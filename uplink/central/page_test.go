package central

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"scanrelay/uplink/syncapi"
	"scanrelay/wechat"
)

// locked is a buffer that many goroutines write to.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestNothingPrivate makes every kind of call, good and bad, and finds nothing
// secret or personal in the log, the page, the metrics and the masked view.
func TestNothingPrivate(t *testing.T) {
	var log locked
	calls := 0
	b := newBench(t, func(o *Options) {
		o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		o.WeChat = &script{answer: func(n int) (wechat.AccessToken, error) {
			if calls = n; n%2 == 0 {
				return wechat.AccessToken{}, &wechat.Error{API: "stable_token", Code: 40125, Msg: "invalid appsecret"}
			}
			return wechat.AccessToken{Value: "token-text-very-secret", ExpiresIn: time.Hour}, nil
		}}
	})
	now := time.Now().Unix()
	b.importWaybills(parcel)
	b.admin("POST", "/v1/waybills", waybillLine(parcel, now*1000)+"\n{\"waybill_id\":\"x\"")
	e := event(5, parcel, now)
	e.ActionMsg, e.DeliverName, e.DeliverPhone = "派件中,派件人:王五,电话13700137000", "王五", "13700137000"
	resp := b.sync(tokenHZ, syncapi.Request{From: 1, Events: []syncapi.Event{e}})
	b.sync(tokenHZ, syncapi.Request{From: 1, Events: []syncapi.Event{e}, BadToken: generationOf("token-text-very-secret")})
	b.sync(tokenHZ, syncapi.Request{Events: []syncapi.Event{event(90, parcel, now)}})
	_, _ = b.trySync("wrong-token-13800138000", syncapi.Request{})
	b.call("POST", "/wechat/callback?signature=x&timestamp=1&nonce=2", `{"ReceiverPhone":"`+receiver+`"}`)
	b.jsonp(parcel, receiver)
	b.jsonp(parcel, "13800138001")
	_, page := b.admin("GET", "/", "")
	_, metricsText := b.call("GET", "/metrics", "")
	code, view := b.admin("GET", "/v1/waybills/"+parcel, "")
	if resp.Have != 5 || code != 200 || calls == 0 {
		t.Fatalf("%+v, %d", resp, code)
	}
	secrets := []string{
		"app-secret-text", "cb-token", "abcdefghijklmnopqrstuvwxyz0123456789", adminToken, tokenHZ, tokenSH, "token-text", "wrong-token",
		receiver, sender, "13700137000", "13800138001", "李四", "张三", "王五", "庄宅北区", "纺都路",
	}
	for what, text := range map[string]string{"log": log.String(), "page": page, "metrics": metricsText, "view": view} {
		for _, s := range secrets {
			if strings.Contains(text, s) && !(what == "view" && s == "王五") { // a name within a text cannot be told
				t.Errorf("%s shows %q", what, s)
			}
		}
		if strings.Contains(text, parcel) && what != "view" {
			t.Errorf("%s shows a waybill number", what)
		}
	}
	if !strings.Contains(log.String(), "from=1 to=4") {
		t.Errorf("the log does not name the gap: %s", log.String())
	}
}

func TestWaybillView(t *testing.T) {
	b := newBench(t, nil)
	now := time.Now().Unix()
	e := event(1, parcel, now)
	e.ActionMsg = "派件中,电话13700137000"
	b.sync(tokenHZ, syncapi.Request{Events: []syncapi.Event{e, event(2, parcel, now-9)}})
	get := func(path string) (v struct {
		WaybillID  string `json:"waybill_id"`
		CreateTime *int64 `json:"create_time"`
		Sender     *syncapi.Party
		Receiver   *syncapi.Party
		Nodes      []nodeView
	}) {
		t.Helper()
		code, out := b.admin("GET", path, "")
		if err := json.Unmarshal([]byte(out), &v); code != 200 || err != nil {
			t.Fatalf("%d %s", code, out)
		}
		return v
	}
	v := get("/v1/waybills/" + parcel)
	if v.CreateTime != nil || v.Sender != nil || len(v.Nodes) != 2 {
		t.Fatalf("%+v", v)
	}
	want := nodeView{"hz-01", e.EventID, now, 200001, "派件中,电话137******00", false}
	if v.Nodes[0] != want || !v.Nodes[1].Late {
		t.Errorf("nodes %+v", v.Nodes)
	}
	b.importWaybills(parcel)
	v = get("/v1/waybills/yt1234567890123")
	if v.CreateTime == nil || v.Receiver.Phone != "138******00" || v.Receiver.Name != "***" || v.Receiver.City != "泉州市" || v.Receiver.Address != "***" {
		t.Errorf("masked: %+v", v.Receiver)
	}
	v = get("/v1/waybills/" + parcel + "?reveal=true")
	if v.Receiver.Phone != receiver || v.Receiver.Name != "李四" || v.Nodes[0].ActionMsg != e.ActionMsg {
		t.Errorf("revealed: %+v", v)
	}
	if code, out := b.admin("GET", "/v1/waybills/UNKNOWN1", ""); code != 404 || !strings.Contains(out, "error") {
		t.Errorf("unknown: %d %s", code, out)
	}
}

func TestPage(t *testing.T) {
	b := newBench(t, nil)
	b.sync(tokenHZ, syncapi.Request{From: 1, Events: []syncapi.Event{event(3, parcel, time.Now().Unix())}, Backlog: 41})
	code, en := b.admin("GET", "/?lang=en", "")
	if code != 200 {
		t.Fatalf("%d %s", code, en)
	}
	for _, want := range []string{"hz-01", "sh-01", "41", "Numbers that never came", ">1<", ">2<", epochA, "away", "here", `lang="en"`} {
		if !strings.Contains(en, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	_, zh := b.call("GET", "/", "", "Authorization", "Bearer "+adminToken, "Accept-Language", "zh-CN,zh;q=0.9")
	if !strings.Contains(zh, "从未到达的序号") || !strings.Contains(zh, "离线") {
		t.Error("no Chinese page")
	}
	if m := regexp.MustCompile(`(?i)(src|href)="?(https?:)?//|@import|url\(`).FindString(en); m != "" {
		t.Errorf("the page has an outside resource: %s", m)
	}
	if strings.Contains(en, "ZgotmplZ") || strings.Contains(en, "no value") {
		t.Error("the template went wrong")
	}
}

func TestTextsAgree(t *testing.T) {
	for lang, words := range texts {
		for _, other := range texts {
			for key := range other {
				if words[key] == "" {
					t.Errorf("%s lacks %q", lang, key)
				}
			}
		}
	}
}

func TestHealth(t *testing.T) {
	b := newBench(t, nil)
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ready", "/metrics": "scanrelay_central_waybills 0"} {
		if code, out := b.call("GET", path, ""); code != 200 || !strings.Contains(out, want) {
			t.Errorf("%s: %d %s", path, code, out)
		}
	}
	b.importWaybills(parcel)
	b.sync(tokenHZ, syncapi.Request{Events: []syncapi.Event{event(1, parcel, 1e9)}})
	_, out := b.call("GET", "/metrics", "")
	for _, want := range []string{
		`scanrelay_central_events_total{result="taken"} 1`, `scanrelay_central_sync_requests_total{code="200"} 1`,
		"scanrelay_central_waybills_imported_total 1", "scanrelay_central_depots_connected 1", `scanrelay_central_wechat_state{state="ok"}`,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	for _, line := range strings.Split(out, "\n") {
		name := strings.FieldsFunc(line, func(r rune) bool { return r == '{' || r == ' ' })
		if len(name) > 0 && name[0] != "#" && !strings.HasPrefix(name[0], "scanrelay_") && !strings.HasPrefix(name[0], "go_") && !strings.HasPrefix(name[0], "process_") {
			t.Errorf("metric %s", name[0])
		}
	}
	if code, _ := b.call("GET", "/nothing", ""); code != 404 {
		t.Errorf("/nothing: %d", code)
	}
}

func TestProblems(t *testing.T) {
	for says, change := range map[string]func(c *Config){
		"no depot id":        func(c *Config) { c.Depots[0].ID = "Hz 01" },
		"stands there twice": func(c *Config) { c.Depots[1].ID = "hz-01" },
		"the same token":     func(c *Config) { c.Depots[1].Token = tokenHZ },
		"the admin token":    func(c *Config) { c.Depots[1].Token = adminToken },
		"below 0":            func(c *Config) { c.Rate = -1 },
		"begin with /":       func(c *Config) { c.Callback.Path = "callback" },
		"is taken":           func(c *Config) { c.Callback.Path = "/v1/sync" },
		"encoding_aes_key":   func(c *Config) { c.Callback.Mode, c.Callback.EncodingAESKey = "secure", "short" },
	} {
		o := Options{Config: testConfig(), Snapshot: broken{}, WeChat: always("x")}
		change(&o.Config)
		if _, err := New(o); err == nil || !strings.Contains(fmt.Sprint(err), says) {
			t.Errorf("want %q: %v", says, err)
		} else if strings.Contains(err.Error(), tokenHZ) || strings.Contains(err.Error(), adminToken) {
			t.Errorf("a token is shown: %v", err)
		}
	}
}
