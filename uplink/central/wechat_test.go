package central

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"scanrelay/configs/secret"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat"
	"scanrelay/wechat/callback"
	"scanrelay/wechat/fake"
)

// TestWithWeChat lets a WeChat as strict as its documents ask back, in all modes
// and formats, for a node that a depot has just synced.
func TestWithWeChat(t *testing.T) {
	for _, mode := range []callback.Mode{callback.Plain, callback.Compat, callback.Secure} {
		for _, format := range []fake.Format{fake.JSON, fake.XML} {
			t.Run(fmt.Sprintf("%s %s", mode, format), func(t *testing.T) { withWeChat(t, mode, format) })
		}
	}
}

func withWeChat(t *testing.T, mode callback.Mode, format fake.Format) {
	config := testConfig()
	other, err := fake.New(fake.Options{
		AppID: config.AppID, Secret: config.Secret.Reveal(), Token: config.Callback.Token.Reveal(),
		AESKey: config.Callback.EncodingAESKey.Reveal(), Mode: mode, Format: format, BoundByDefault: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	api := httptest.NewServer(other)
	defer api.Close()
	client, err := wechat.NewClient(wechat.Options{BaseURL: api.URL})
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, func(o *Options) { o.WeChat, o.Config.Callback.Mode = client, mode })
	other.SetCallback(b.url + "/wechat/callback")
	if err := other.CheckURL(t.Context()); err != nil {
		t.Fatalf("URL check: %v", err)
	}
	b.importWaybills(parcel)
	now := time.Now().Unix()
	var resp *syncapi.Response
	eventually(t, "a token", func() bool {
		resp = b.sync(tokenHZ, syncapi.Request{Events: []syncapi.Event{event(1, parcel, now), event(2, parcel, now-60)}})
		return resp.Token != nil
	})
	wantResults(t, resp, syncapi.Taken, syncapi.Late)
	known := resp.Waybills[0]
	n := wechat.Notification{
		WaybillID: known.WaybillID, CreateTime: known.CreateTime, Sender: party(known.Sender), Receiver: party(known.Receiver),
		Path: wechat.Node{ActionTime: now, ActionType: 200001, ActionMsg: event(1, parcel, now).ActionMsg},
	}
	if exist, err := client.PathNotify(t.Context(), secret.Text(resp.Token.Value), n); err != nil || !exist {
		t.Fatalf("pathnotify: %v, %v; lookups %+v", exist, err, other.Lookups())
	}
	if p := other.Pushes(); len(p) != 1 {
		t.Errorf("%d pushes", len(p))
	}
}

// newFakeAPI returns a client of a fake WeChat.
func newFakeAPI(t *testing.T, o fake.Options) *wechat.Client {
	t.Helper()
	other, err := fake.New(o)
	if err != nil {
		t.Fatal(err)
	}
	api := httptest.NewServer(other)
	t.Cleanup(func() { other.Close(); api.Close() })
	client, err := wechat.NewClient(wechat.Options{BaseURL: api.URL})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func party(p syncapi.Party) wechat.Party {
	return wechat.Party{Name: p.Name, Phone: p.Phone, Province: p.Province, City: p.City, Area: p.Area, Address: p.Address}
}

// TestLookup: the codes, and that a phone which does not match learns nothing.
func TestLookup(t *testing.T) {
	b := newBench(t, nil)
	now := time.Now().Unix()
	b.importWaybills(parcel, "NONODES1")
	b.sync(tokenHZ, syncapi.Request{Events: []syncapi.Event{event(1, parcel, now), event(2, "NODATA01", now)}})
	for _, c := range []struct {
		name, id, phone string
		code, nodes     int
	}{
		{"right", parcel, receiver, 0, 1},
		{"right, written otherwise", " yt1234567890123", "+86 " + receiver, 0, 1},
		{"no node yet", "NONODES1", receiver, 0, 0},
		{"unknown", "UNKNOWN1", receiver, 1, 0},
		{"no data yet", "NODATA01", receiver, 1, 0},
		{"another phone", parcel, "13800138001", 2, 0},
		{"the sender's", parcel, sender, 2, 0},
		{"the last four", parcel, receiver[7:], 2, 0},
		{"none", parcel, "", 2, 0},
	} {
		a := b.lookup(t.Context(), callback.Query{WaybillID: c.id, ReceiverPhone: c.phone})
		if a.Code != c.code || len(a.Path) != c.nodes || (a.CreateTime != 0) != (c.code == 0) || a.Msg != "" {
			t.Errorf("%s: %+v", c.name, a)
		}
	}
}

type landing struct {
	ResultCode        int
	ResultMsg         string
	WaybillID         string `json:"WaybillId"`
	WaybillCreateTime int64
	Path              []map[string]any
	Cells             []map[string]string
}

// jsonp calls the landing page and returns what the function is called with.
func (b *bench) jsonp(id, phone string, header ...string) (int, string, landing) {
	b.t.Helper()
	q := url.Values{"waybill_id": {id}, "phone": {phone}, "callback": {"jQuery.cb_1"}}
	code, out := b.call("GET", "/jsonp/waybill?"+q.Encode(), "", header...)
	var l landing
	if code == 200 {
		body, ok := strings.CutPrefix(out, "/**/jQuery.cb_1(")
		body, ok2 := strings.CutSuffix(body, ");")
		if err := json.Unmarshal([]byte(body), &l); err != nil || !ok || !ok2 {
			b.t.Fatalf("%s: %v", out, err)
		}
	}
	return code, out, l
}

func unlimited(o *Options) {
	o.Config.PerWaybill, o.Config.PerAddress = Limit{1e6, time.Second}, Limit{1e6, time.Second}
}

func TestJSONP(t *testing.T) {
	b := newBench(t, func(o *Options) {
		unlimited(o)
		o.Config.Cells = []Cell{{"track", "查件", "https://example.com/t?id={waybill_id}&x=1"}, {"app", "小程序", "pages/t?w={waybill_id}"}}
	})
	now := time.Now().Unix()
	id := "YT 1&<"
	b.importWaybills(parcel)
	e := event(2, parcel, now)
	e.ActionMsg, e.DeliverName, e.DeliverPhone = "派件中</script>\u2028,电话13700137000", "王五", "13700137000"
	b.sync(tokenHZ, syncapi.Request{From: 1, Events: []syncapi.Event{event(1, parcel, now-100), e, event(3, parcel, now)}})
	refusal := ""
	for _, c := range []struct {
		id, phone string
		code      int
	}{
		{parcel, receiver, 0}, {parcel, receiver[7:], 0}, {parcel, sender, 0}, {parcel, sender[7:], 0}, {"yt1234567890123", "+86" + receiver, 0},
		{parcel, "", 2}, {parcel, "13800138001", 2}, {parcel, "8001", 2}, {parcel, receiver[6:], 2}, {parcel, receiver[8:], 2},
		{parcel, receiver + "0", 2}, {id, receiver, 2}, {id, "", 2}, {"", "", 2}, {strings.Repeat("X", 100), receiver, 2},
	} {
		code, out, l := b.jsonp(c.id, c.phone)
		if code != 200 || l.ResultCode != c.code {
			t.Errorf("%q %q: %d %s", c.id, c.phone, code, out)
		}
		if strings.ContainsAny(out, "<>&\u2028\u2029") {
			t.Errorf("not escaped: %s", out)
		}
		if c.code == 0 {
			checkLanding(t, out, l)
			continue
		}
		// All refusals are alike but for the number that was asked for.
		if l.WaybillID = ""; len(l.Path)+len(l.Cells) > 0 || l.WaybillCreateTime != 0 || refusal != "" && fmt.Sprint(l) != refusal {
			t.Errorf("%q %q tells more than others: %s", c.id, c.phone, out)
		}
		refusal = fmt.Sprint(l)
	}
}

func checkLanding(t *testing.T, out string, l landing) {
	t.Helper()
	if l.ResultMsg != "OK" || l.WaybillCreateTime == 0 || len(l.Path) != 3 || l.WaybillID != parcel {
		t.Fatalf("answer %s", out)
	}
	first, second := l.Path[0], l.Path[1]
	if first["ActionTime"].(float64) < l.Path[2]["ActionTime"].(float64) || first["DeliveryCourierName"] != nil || second["DeliveryCourierName"] != "王五" {
		t.Errorf("newest first, the one merged later before: %v", l.Path)
	}
	want := []map[string]string{
		{"Key": "track", "Name": "查件", "Link": "https://example.com/t?id=" + parcel + "&x=1"},
		{"Key": "app", "Name": "小程序", "Link": "pages/t?w=" + parcel},
	}
	if fmt.Sprint(l.Cells) != fmt.Sprint(want) {
		t.Errorf("cells %v", l.Cells)
	}
}

func TestJSONPCallback(t *testing.T) {
	b := newBench(t, unlimited)
	for name, want := range map[string]int{
		"cb": 200, "$": 200, "_a.b$1": 200, strings.Repeat("a", 64): 200, strings.Repeat("a", 65): 400, "": 400, "1a": 400,
		".a": 400, "a(b)": 400, "a;b": 400, "a\n": 400, "é": 400, "<script>": 400,
	} {
		code, out := b.call("GET", "/jsonp/waybill?waybill_id=X&callback="+url.QueryEscape(name), "")
		if code != want || code != 200 && strings.Contains(out, "<") {
			t.Errorf("callback %q: %d %s", name, code, out)
		}
	}
	resp, err := http.Get(b.url + "/jsonp/waybill?callback=f")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if h := resp.Header; h.Get("Content-Type") != "application/javascript; charset=utf-8" || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers %v", h)
	}
}

// TestJSONPLimits: per waybill and per address, right guesses count as wrong
// ones, and only a trusted proxy is believed.
func TestJSONPLimits(t *testing.T) {
	b := newBench(t, func(o *Options) {
		o.Config.PerWaybill, o.Config.PerAddress = Limit{3, time.Hour}, Limit{6, time.Hour}
		o.Config.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
	})
	b.importWaybills(parcel)
	from := func(address string) []string { return []string{"X-Forwarded-For", address} }
	tries := func(n int, id, address string) (allowed int) {
		for range n {
			if code, _, _ := b.jsonp(id, receiver, from(address)...); code == 200 {
				allowed++
			} else if code != 429 {
				t.Fatalf("%d", code)
			}
		}
		return allowed
	}
	if got := tries(5, parcel, "203.0.113.1"); got != 3 {
		t.Errorf("%d calls for one waybill, want 3", got)
	}
	if got := tries(5, parcel, "203.0.113.2"); got != 0 {
		t.Errorf("another address gets %d more for that waybill", got)
	}
	if got := tries(5, "UNKNOWN1", "203.0.113.3"); got != 3 {
		t.Errorf("%d calls for an unknown one, want 3", got)
	}
	if got := tries(3, "UNKNOWN2", "203.0.113.3"); got != 1 { // 5 of 6 are spent
		t.Errorf("%d more calls from one address, want 1", got)
	}
	if got := tries(3, "UNKNOWN3", "198.51.100.9, 203.0.113.3, 10.1.1.1"); got != 0 {
		t.Errorf("what the client wrote before it was believed: %d", got)
	}
	if got := tries(1, "UNKNOWN3", "2001:db8::1"); got != 1 {
		t.Errorf("a fresh address gets %d", got)
	}
	for i := range 5 {
		tries(1, fmt.Sprintf("UNKNOW%d", 4+i), fmt.Sprintf("2001:db8::%d", 2+i))
	}
	if got := tries(1, "UNKNOWN9", "2001:db8::ff"); got != 0 {
		t.Error("one /64 is one address")
	}
}

func TestClientAddress(t *testing.T) {
	c := &Central{}
	c.o.Config.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, x := range []struct {
		remote string
		header []string
		want   string
	}{
		{"203.0.113.1:99", nil, "203.0.113.1"},
		{"203.0.113.1:99", []string{"198.51.100.1"}, "203.0.113.1"},
		{"10.0.0.1:99", []string{"198.51.100.1"}, "198.51.100.1"},
		{"10.0.0.1:99", []string{"1.1.1.1, 198.51.100.1", "10.2.2.2"}, "198.51.100.1"},
		{"10.0.0.1:99", []string{"198.51.100.1:5000"}, "198.51.100.1"},
		{"10.0.0.1:99", []string{"nonsense"}, "10.0.0.1"},
		{"10.0.0.1:99", []string{"8.8.8.8, unknown"}, "10.0.0.1"},
		{"10.0.0.1:99", nil, "10.0.0.1"},
		{"[::ffff:10.0.0.1]:99", []string{"2001:db8::1"}, "2001:db8::1"},
		{"[fd00::1%eth0]:99", []string{"198.51.100.1"}, "198.51.100.1"},
		{"nonsense", []string{"198.51.100.1"}, "invalid IP"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = x.remote
		for _, h := range x.header {
			r.Header.Add("X-Forwarded-For", h)
		}
		if got := c.clientAddress(r).String(); got != x.want {
			t.Errorf("%s %q: %s, want %s", x.remote, x.header, got, x.want)
		}
	}
}
