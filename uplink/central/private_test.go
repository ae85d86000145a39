package central_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"scanrelay/uplink/central"
	"scanrelay/uplink/central/internal/account"
	"scanrelay/uplink/central/internal/centraltest"
	"scanrelay/uplink/central/tokens"
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
	b := centraltest.New(t, func(o *central.Options) {
		o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		o.WeChat = &account.Script{Answer: func(n int) (wechat.AccessToken, error) {
			if calls = n; n%2 == 0 {
				return wechat.AccessToken{}, &wechat.Error{API: "stable_token", Code: 40125, Msg: "invalid appsecret"}
			}
			return wechat.AccessToken{Value: "token-text-very-secret", ExpiresIn: time.Hour}, nil
		}}
	})
	now := time.Now().Unix()
	b.Import(centraltest.Parcel)
	b.Admin("POST", "/v1/waybills", centraltest.Line(centraltest.Parcel, now*1000)+"\n{\"waybill_id\":\"x\"")
	e := centraltest.Event(5, centraltest.Parcel, now)
	e.ActionMsg, e.DeliverName, e.DeliverPhone = "派件中,派件人:王五,电话13700137000", "王五", "13700137000"
	resp := b.Sync(centraltest.TokenHZ, syncapi.Request{From: 1, Events: []syncapi.Event{e}})
	b.Sync(centraltest.TokenHZ, syncapi.Request{From: 1, Events: []syncapi.Event{e}, BadToken: tokens.Generation("token-text-very-secret")})
	b.Sync(centraltest.TokenHZ, syncapi.Request{Events: []syncapi.Event{centraltest.Event(90, centraltest.Parcel, now)}})
	_, _ = b.TrySync("wrong-token-13800138000", syncapi.Request{})
	b.Call("POST", "/wechat/callback?signature=x&timestamp=1&nonce=2", `{"ReceiverPhone":"`+centraltest.Receiver+`"}`)
	b.JSONP(centraltest.Parcel, centraltest.Receiver)
	b.JSONP(centraltest.Parcel, "13800138001")
	_, page := b.Admin("GET", "/", "")
	_, metricsText := b.Admin("GET", "/metrics", "")
	code, view := b.Admin("GET", "/v1/waybills/"+centraltest.Parcel, "")
	if resp.Have != 5 || code != 200 || calls == 0 {
		t.Fatalf("%+v, %d", resp, code)
	}
	secrets := []string{
		"app-secret-text", "cb-token", "abcdefghijklmnopqrstuvwxyz0123456789", centraltest.AdminToken, centraltest.TokenHZ, centraltest.TokenSH, "token-text", "wrong-token",
		centraltest.Receiver, centraltest.Sender, "13700137000", "13800138001", "李四", "张三", "王五", "庄宅北区", "纺都路",
	}
	for what, text := range map[string]string{"log": log.String(), "page": page, "metrics": metricsText, "view": view} {
		for _, s := range secrets {
			if strings.Contains(text, s) && !(what == "view" && s == "王五") { // a name within a text cannot be told
				t.Errorf("%s shows %q", what, s)
			}
		}
		if strings.Contains(text, centraltest.Parcel) && what != "view" {
			t.Errorf("%s shows a waybill number", what)
		}
	}
	if !strings.Contains(log.String(), "from=1 to=4") {
		t.Errorf("the log does not name the gap: %s", log.String())
	}
}

func TestHealth(t *testing.T) {
	b := centraltest.New(t, nil)
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ready", "/metrics": "scanrelay_central_waybills 0"} {
		if code, out := b.Admin("GET", path, ""); code != 200 || !strings.Contains(out, want) {
			t.Errorf("%s: %d %s", path, code, out)
		}
	}
	b.Import(centraltest.Parcel)
	b.Sync(centraltest.TokenHZ, syncapi.Request{Events: []syncapi.Event{centraltest.Event(1, centraltest.Parcel, 1e9)}})
	_, out := b.Admin("GET", "/metrics", "")
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
	if code, _ := b.Call("GET", "/nothing", ""); code != 404 {
		t.Errorf("/nothing: %d", code)
	}
}

func TestProblems(t *testing.T) {
	for says, change := range map[string]func(c *central.Config){
		"no depot id":           func(c *central.Config) { c.Depots[0].ID = "Hz 01" },
		"stands there twice":    func(c *central.Config) { c.Depots[1].ID = "hz-01" },
		"the same token":        func(c *central.Config) { c.Depots[1].Token = centraltest.TokenHZ },
		"admin_token and depot": func(c *central.Config) { c.Depots[1].Token = centraltest.AdminToken },
		"below 0":               func(c *central.Config) { c.Rate = -1 },
		"begin with /":          func(c *central.Config) { c.Callback.Path = "callback" },
		"is taken":              func(c *central.Config) { c.Callback.Path = "/v1/sync" },
		`"//healthz/" is taken`: func(c *central.Config) { c.Callback.Path = "//healthz/" },
		"encoding_aes_key":      func(c *central.Config) { c.Callback.Mode, c.Callback.EncodingAESKey = "secure", "short" },
	} {
		o := central.Options{Config: centraltest.Config(), Snapshot: broken{}, WeChat: account.Always("x")}
		change(&o.Config)
		if _, err := central.New(o); err == nil || !strings.Contains(fmt.Sprint(err), says) {
			t.Errorf("want %q: %v", says, err)
		} else if strings.Contains(err.Error(), centraltest.TokenHZ) || strings.Contains(err.Error(), centraltest.AdminToken) {
			t.Errorf("a token is shown: %v", err)
		}
	}
}
