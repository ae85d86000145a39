package lookup_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"scanrelay/configs/secret"
	"scanrelay/uplink/central"
	"scanrelay/uplink/central/internal/centraltest"
	"scanrelay/uplink/central/lookup"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat/callback"
)

// TestLookup: the codes, and that a phone which does not match learns nothing.
func TestLookup(t *testing.T) {
	b := centraltest.New(t, nil)
	now := time.Now().Unix()
	b.Import(centraltest.Parcel, "NONODES1")
	b.Sync(centraltest.TokenHZ, syncapi.Request{Events: []syncapi.Event{centraltest.Event(1, centraltest.Parcel, now), centraltest.Event(2, "NODATA01", now)}})
	for _, c := range []struct {
		name, id, phone string
		code, nodes     int
	}{
		{"right", centraltest.Parcel, centraltest.Receiver, 0, 1},
		{"right, written otherwise", " yt1234567890123", "+86 " + centraltest.Receiver, 0, 1},
		{"no node yet", "NONODES1", centraltest.Receiver, 0, 0},
		{"unknown", "UNKNOWN1", centraltest.Receiver, 1, 0},
		{"no data yet", "NODATA01", centraltest.Receiver, 1, 0},
		{"another phone", centraltest.Parcel, "13800138001", 2, 0},
		{"the sender's", centraltest.Parcel, centraltest.Sender, 2, 0},
		{"the last four", centraltest.Parcel, centraltest.Receiver[7:], 2, 0},
		{"none", centraltest.Parcel, "", 2, 0},
	} {
		a := lookup.Reverse(b.Store)(t.Context(), callback.Query{WaybillID: c.id, ReceiverPhone: c.phone})
		if a.Code != c.code || len(a.Path) != c.nodes || (a.CreateTime != 0) != (c.code == 0) || a.Msg != "" {
			t.Errorf("%s: %+v", c.name, a)
		}
	}
}

func unlimited(o *central.Options) {
	o.Config.PerWaybill, o.Config.PerAddress = central.Limit{Count: 1e6, Per: time.Second}, central.Limit{Count: 1e6, Per: time.Second}
}

func TestJSONP(t *testing.T) {
	b := centraltest.New(t, func(o *central.Options) {
		unlimited(o)
		o.Config.Cells = []central.Cell{{"track", "查件", "https://example.com/t?id={waybill_id}&x=1"}, {"app", "小程序", "pages/t?w={waybill_id}"}}
	})
	now := time.Now().Unix()
	id := "YT 1&<"
	b.Import(centraltest.Parcel)
	e := centraltest.Event(2, centraltest.Parcel, now)
	e.ActionMsg, e.DeliverName, e.DeliverPhone = "派件中</script>\u2028,电话13700137000", "王五", "13700137000"
	b.Sync(centraltest.TokenHZ, syncapi.Request{From: 1, Events: []syncapi.Event{centraltest.Event(1, centraltest.Parcel, now-100), e, centraltest.Event(3, centraltest.Parcel, now)}})
	refusal := ""
	for _, c := range []struct {
		id, phone string
		code      int
	}{
		{centraltest.Parcel, centraltest.Receiver, 0}, {centraltest.Parcel, centraltest.Receiver[7:], 0}, {centraltest.Parcel, centraltest.Sender, 0}, {centraltest.Parcel, centraltest.Sender[7:], 0}, {"yt1234567890123", "+86" + centraltest.Receiver, 0},
		{centraltest.Parcel, "", 2}, {centraltest.Parcel, "13800138001", 2}, {centraltest.Parcel, "8001", 2}, {centraltest.Parcel, centraltest.Receiver[6:], 2}, {centraltest.Parcel, centraltest.Receiver[8:], 2},
		{centraltest.Parcel, centraltest.Receiver + "0", 2}, {id, centraltest.Receiver, 2}, {id, "", 2}, {"", "", 2}, {strings.Repeat("X", 100), centraltest.Receiver, 2},
	} {
		code, out, l := b.JSONP(c.id, c.phone)
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

func checkLanding(t *testing.T, out string, l centraltest.Landing) {
	t.Helper()
	if l.ResultMsg != "OK" || l.WaybillCreateTime == 0 || len(l.Path) != 3 || l.WaybillID != centraltest.Parcel {
		t.Fatalf("answer %s", out)
	}
	first, second := l.Path[0], l.Path[1]
	if first["ActionTime"].(float64) < l.Path[2]["ActionTime"].(float64) || first["DeliveryCourierName"] != nil || second["DeliveryCourierName"] != "王五" {
		t.Errorf("newest first, the one merged later before: %v", l.Path)
	}
	want := []map[string]string{
		{"Key": "track", "Name": "查件", "Link": "https://example.com/t?id=" + centraltest.Parcel + "&x=1"},
		{"Key": "app", "Name": "小程序", "Link": "pages/t?w=" + centraltest.Parcel},
	}
	if fmt.Sprint(l.Cells) != fmt.Sprint(want) {
		t.Errorf("cells %v", l.Cells)
	}
}

func TestJSONPCallback(t *testing.T) {
	b := centraltest.New(t, unlimited)
	for name, want := range map[string]int{
		"cb": 200, "$": 200, "_a.b$1": 200, strings.Repeat("a", 64): 200, strings.Repeat("a", 65): 400, "": 400, "1a": 400,
		".a": 400, "a(b)": 400, "a;b": 400, "a\n": 400, "é": 400, "<script>": 400,
	} {
		code, out := b.Call("GET", "/jsonp/waybill?waybill_id=X&callback="+url.QueryEscape(name), "")
		if code != want || code != 200 && strings.Contains(out, "<") {
			t.Errorf("callback %q: %d %s", name, code, out)
		}
	}
	resp, err := http.Get(b.URL + "/jsonp/waybill?callback=f")
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
	b := centraltest.New(t, func(o *central.Options) {
		o.Config.PerWaybill, o.Config.PerAddress = central.Limit{Count: 3, Per: time.Hour}, central.Limit{Count: 6, Per: time.Hour}
		o.Config.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
	})
	b.Import(centraltest.Parcel)
	from := func(address string) []string { return []string{"X-Forwarded-For", address} }
	tries := func(n int, id, address string) (allowed int) {
		for range n {
			if code, _, _ := b.JSONP(id, centraltest.Receiver, from(address)...); code == 200 {
				allowed++
			} else if code != 429 {
				t.Fatalf("%d", code)
			}
		}
		return allowed
	}
	if got := tries(5, centraltest.Parcel, "203.0.113.1"); got != 3 {
		t.Errorf("%d calls for one waybill, want 3", got)
	}
	if got := tries(5, centraltest.Parcel, "203.0.113.2"); got != 0 {
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

// TestJSONPGuessesADay: whoever goes through the last four digits of a waybill's
// phone, from however many addresses, is soon shut out for the day; who has the
// whole number is not, and the log tells.
func TestJSONPGuessesADay(t *testing.T) {
	var log bytes.Buffer
	begun, passed := time.Now(), atomic.Int64{}
	b := centraltest.New(t, func(o *central.Options) {
		unlimited(o)
		o.Now, o.Logger = func() time.Time { return begun.Add(time.Duration(passed.Load())) }, slog.New(slog.NewTextHandler(&log, nil))
	})
	b.Import(centraltest.Parcel, "OTHER001")
	right := centraltest.Receiver[7:]
	answered := 0
	for i := range 200 {
		passed.Add(int64(6 * time.Second)) // as slowly as per_waybill wants it
		if code, _, _ := b.JSONP(centraltest.Parcel, fmt.Sprintf("%04d", i+1)); code == 200 {
			answered++
		}
	}
	if answered > 32 {
		t.Errorf("%d guesses were answered", answered)
	}
	if code, _, _ := b.JSONP(centraltest.Parcel, right); code != 429 {
		t.Errorf("the right digits among them: %d", code)
	}
	for _, c := range []struct{ id, phone string }{{centraltest.Parcel, centraltest.Receiver}, {"OTHER001", right}} {
		if _, _, l := b.JSONP(c.id, c.phone); l.ResultCode != 0 {
			t.Errorf("%s of %s: %+v", c.phone, c.id, l)
		}
	}
	if !strings.Contains(log.String(), "somebody guesses phones") || strings.Contains(log.String(), centraltest.Parcel) {
		t.Errorf("the log: %s", log.String())
	}
	passed.Add(int64(24 * time.Hour))
	if _, _, l := b.JSONP(centraltest.Parcel, right); l.ResultCode != 0 {
		t.Errorf("the next day: %+v", l)
	}
}

// TestWrongPhoneLearnsNothing: to a phone that does not match, a waybill with
// one node and one with a hundred answer in the same words and the same length,
// in every mode: neither its data nor how much there is of it can be told.
func TestWrongPhoneLearnsNothing(t *testing.T) {
	for _, mode := range []callback.Mode{callback.Plain, callback.Compat, callback.Secure} {
		t.Run(string(mode), func(t *testing.T) {
			b := centraltest.New(t, func(o *central.Options) { o.Config.Callback.Mode = mode })
			now := time.Now().Unix()
			b.Import("SHORTWAY1", "LONGWAY01")
			events := []syncapi.Event{centraltest.Event(1, "SHORTWAY1", now)}
			for n := range 100 {
				events = append(events, centraltest.Event(uint64(n+2), "LONGWAY01", now-int64(100-n)))
			}
			b.Sync(centraltest.TokenHZ, syncapi.Request{Events: events})
			for _, id := range []string{"SHORTWAY1", "LONGWAY01"} {
				if a := askBack(b, mode, id, centraltest.Receiver); len(a) < 250 {
					t.Errorf("%s: the right phone got %d bytes: %s", id, len(a), a)
				}
			}
			short, long := askBack(b, mode, "SHORTWAY1", "13900000000"), askBack(b, mode, "LONGWAY01", "13900000000")
			if len(short) != len(long) {
				t.Errorf("%d and %d bytes: %s %s", len(short), len(long), short, long)
			}
			if mode == callback.Plain && (!strings.Contains(long, `"ResultCode":2`) || !strings.Contains(long, `"Path":[]`) || !strings.Contains(long, `"WaybillCreateTime":0`)) {
				t.Errorf("the wrong phone was told %s", long)
			}
		})
	}
}

// askBack makes one reverse lookup over HTTP.
func askBack(b *centraltest.Bench, mode callback.Mode, id, phone string) string {
	b.T.Helper()
	msg := fmt.Sprintf(`{"ToUserName":"gh_1","FromUserName":"o1","CreateTime":%d,"MsgType":"event","Event":"waybill_notify_query","WaybillId":%q,"SenderPhone":%q,"ReceiverPhone":%q}`,
		time.Now().Unix(), id, centraltest.Sender, phone)
	cb := centraltest.Config().Callback
	at, nonce := fmt.Sprint(time.Now().Unix()), "415670741"
	query := "timestamp=" + at + "&nonce=" + nonce + "&signature=" + callback.Sign(cb.Token.Reveal(), at, nonce)
	if mode != callback.Plain {
		encrypted := encrypt(b.T, cb.Token, cb.EncodingAESKey, msg)
		query += "&encrypt_type=aes&msg_signature=" + callback.Sign(cb.Token.Reveal(), at, nonce, encrypted)
		body := map[string]string{"ToUserName": "gh_1", "Encrypt": encrypted}
		out, err := json.Marshal(body)
		if err != nil {
			b.T.Fatal(err)
		}
		msg = string(out)
		if mode == callback.Compat {
			msg = strings.Replace(msg, "{", `{"MsgType":"event",`, 1)
		}
	}
	code, out := b.Call("POST", "/wechat/callback?"+query, msg)
	if code != 200 {
		b.T.Fatalf("HTTP %d: %s", code, out)
	}
	return out
}

func encrypt(t testing.TB, token, key secret.Text, msg string) string {
	t.Helper()
	crypt, err := callback.NewCrypt(token, key, centraltest.Config().AppID)
	if err != nil {
		t.Fatal(err)
	}
	var random [16]byte
	rand.Read(random[:])
	return crypt.Encrypt(random, []byte(msg))
}
