package central_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/uplink/central"
	"scanrelay/uplink/central/caller"
	"scanrelay/uplink/central/internal/centraltest"
	"scanrelay/uplink/central/waybills"
	"scanrelay/uplink/syncapi"
	"scanrelay/uplink/syncapi/order"
	"scanrelay/wechat/callback"
)

// lookUp makes WeChat's reverse lookup.
func lookUp(t *testing.T, b *centraltest.Bench, id, phone string) {
	t.Helper()
	stamp := fmt.Sprint(time.Now().Unix())
	body := fmt.Sprintf(`{"ToUserName":"a","FromUserName":"b","CreateTime":%s,"MsgType":"event","Event":"waybill_notify_query","WaybillId":%q,"SenderPhone":"","ReceiverPhone":%q}`, stamp, id, phone)
	path := "/wechat/callback?signature=" + callback.Sign(centraltest.Config().Callback.Token.Reveal(), stamp, "7") + "&timestamp=" + stamp + "&nonce=7"
	if code, out := b.Call("POST", path, body); code != http.StatusOK {
		t.Fatalf("%d %s", code, out)
	}
}

// TestLookAtWaybill: who looks at a waybill sees the path over all depots, what WeChat was
// answered, and, once the depots have said so, what became of each push.
func TestLookAtWaybill(t *testing.T) {
	g := newRegistry(t, t.TempDir(), nil)
	look := func() (v waybills.View) {
		t.Helper()
		_, out := g.Admin("GET", "/v1/waybills/"+centraltest.Parcel, "")
		if err := json.Unmarshal([]byte(out), &v); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return v
	}
	born := func(at time.Time) {
		t.Helper()
		if code, out := g.Admin("POST", "/v1/waybills", centraltest.Line(centraltest.Parcel, at.Unix())); code != 200 || !strings.Contains(out, `"stored":1`) {
			t.Fatal(out)
		}
	}
	born(time.Now().AddDate(0, 0, -100))
	hz := centraltest.Event(1, centraltest.Parcel, time.Now().Unix()-60)
	g.Sync(centraltest.TokenHZ, syncapi.Request{Events: []syncapi.Event{hz}})
	g.Sync(centraltest.TokenSH, syncapi.Request{Events: []syncapi.Event{centraltest.Event(1, centraltest.Parcel, time.Now().Unix()-30)}})
	lookUp(t, g.Bench, centraltest.Parcel, centraltest.Receiver)
	lookUp(t, g.Bench, centraltest.Parcel, "13000000000")
	v := look()
	if len(v.Nodes) != 2 || len(v.Pushes) != 0 || fmt.Sprint(v.Asked) != "[hz-01 sh-01]" || v.Life.Since != nil || v.Life.Until.Sub(v.Life.Changed) != 720*time.Hour {
		t.Errorf("at first: %+v", v)
	}
	if len(v.Lookups) != 2 || v.Lookups[0].Result != "ok" || v.Lookups[1].Result != "wrong_phone" {
		t.Errorf("lookups: %+v", v.Lookups)
	}
	ask := g.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 2}).Look
	if len(ask) != 1 || ask[0] != centraltest.Parcel {
		t.Fatalf("the depot is asked about %v", ask)
	}
	said := []order.Looked{
		{Waybill: "another", Fate: order.Fate{EventID: "x", Outcome: "pushed"}},
		{Waybill: centraltest.Parcel, Fate: order.Fate{EventID: hz.EventID, Outcome: "pushed", Time: 7, Attempts: 1}},
		{Waybill: centraltest.Parcel, Fate: order.Fate{EventID: "y", Outcome: "李四 13800138000", Attempts: -4}},
	}
	if ask = g.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 2, Looked: said}).Look; len(ask) != 0 {
		t.Errorf("asked again about %v", ask)
	}
	g.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 2, Looked: said[1:2]}) // nobody asks any more
	v = look()
	if len(v.Pushes) != 2 || v.Pushes[0].Depot != "hz-01" || v.Pushes[0].Fate != said[1].Fate || v.Pushes[1].Outcome != "unknown" || v.Pushes[1].Attempts != 0 || fmt.Sprint(v.Asked) != "[sh-01]" {
		t.Errorf("once one depot has answered: %+v", v)
	}
	g.Sync(centraltest.TokenSH, syncapi.Request{NextSeq: 2, Looked: []order.Looked{{Waybill: centraltest.Parcel}}})
	if v = look(); len(v.Pushes) != 2 || len(v.Asked) != 0 {
		t.Errorf("the other has none: %+v", v)
	}
	g.pass(time.Hour)
	if v = look(); len(v.Pushes) != 2 || len(v.Asked) != 2 {
		t.Errorf("later both are asked again, and what was told stays: %+v", v)
	}
	if _, err := g.TrySync(centraltest.TokenHZ, syncapi.Request{NextSeq: 2, Looked: make([]order.Looked, order.MaxLooks*order.MaxFates+1)}); centraltest.Status(err) != 413 {
		t.Errorf("more than there can be: %v", err)
	}
	born(time.Now())
	if v = look(); v.Life.Since == nil || len(v.Nodes) != 2 {
		t.Errorf("the number is used anew: %+v", v)
	}
}

// TestLooksAreBounded: who looks at one waybill after the other makes depots be asked so
// often, and so many at once.
func TestLooksAreBounded(t *testing.T) {
	g := newRegistry(t, t.TempDir(), nil)
	asked := 0
	for i := range 200 {
		id := fmt.Sprint("W-", i)
		g.Sync(centraltest.TokenHZ, syncapi.Request{Events: []syncapi.Event{centraltest.Event(uint64(i+1), id, time.Now().Unix())}})
		var v waybills.View
		_, out := g.Admin("GET", "/v1/waybills/"+id, "")
		if err := json.Unmarshal([]byte(out), &v); err != nil {
			t.Fatal(err)
		}
		asked += len(v.Asked)
	}
	if asked < 20 || asked > 60 {
		t.Errorf("asked %d times", asked)
	}
	if n := len(g.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 300}).Look); n != order.MaxLooks {
		t.Errorf("%d at once", n)
	}
}

// TestWaybillPage: the page has the same, in both languages, masked until an operator asks
// for it in clear, which is noted; and who may see the audit log sees it there.
func TestWaybillPage(t *testing.T) {
	g := newRegistry(t, t.TempDir(), func(o *central.Options) {
		o.Config.Operators = []caller.Operator{{Name: "ops-1", Token: "operator-token-1", Role: caller.Actor}, {Name: "eye-1", Token: "viewer-token-123", Role: caller.Viewer}}
	})
	g.Import(centraltest.Parcel)
	g.Sync(centraltest.TokenHZ, syncapi.Request{Events: []syncapi.Event{centraltest.Event(1, centraltest.Parcel, time.Now().Unix()-60)}})
	lookUp(t, g.Bench, centraltest.Parcel, centraltest.Receiver)
	g.Admin("GET", "/v1/waybills/"+centraltest.Parcel, "")
	g.Sync(centraltest.TokenHZ, syncapi.Request{NextSeq: 2, Looked: []order.Looked{{Waybill: scan.WaybillID(centraltest.Parcel), Fate: order.Fate{EventID: "e-1", Outcome: "not_bound", Time: 7}}}})
	get := func(token, path string, want int) string {
		t.Helper()
		code, out := g.Call("GET", path, "", "Authorization", "Bearer "+token)
		if code != want || strings.Contains(out, "ZgotmplZ") || strings.Contains(out, "no value") {
			t.Errorf("%s: %d %s", path, code, out)
		}
		return out
	}
	const path = "/waybills?id=" + centraltest.Parcel
	for lang, want := range map[string][]string{"en": {"not bound", "answered", "hz-01", "kept until", "138******00"}, "zh": {"未绑定", "已回答", "保留至"}} {
		page := get("viewer-token-123", path+"&lang="+lang, 200)
		for _, w := range want {
			if !strings.Contains(page, w) {
				t.Errorf("%s: the page lacks %q", lang, w)
			}
		}
		if strings.Contains(page, centraltest.Receiver) {
			t.Error("a phone is shown")
		}
	}
	get("viewer-token-123", path+"&reveal=1", 403)
	if g.audited("waybill.reveal", "", "ok") {
		t.Error("what was refused is noted as shown")
	}
	if page := get("operator-token-1", path+"&reveal=1", 200); !strings.Contains(page, centraltest.Receiver) || !g.audited("waybill.reveal", "", "ok") {
		t.Error("an operator is not shown the phone, or it is not noted")
	}
	if page := get("viewer-token-123", "/waybills?lang=en&id=none%3Cb%3E", 200); !strings.Contains(page, "No such waybill") || strings.Contains(page, "none<b>") {
		t.Error("an unknown waybill is not told")
	}
	get("viewer-token-123", "/waybills", 200)
	get("operator-token-1", "/audit", 403)
	for since, want := range map[string]bool{"": true, "1h": true, "nonsense": true} {
		if page := get(centraltest.AdminToken, "/audit?lang=en&since="+since, 200); strings.Contains(page, "waybill.reveal") != want || want && !strings.Contains(page, "ops-1") {
			t.Errorf("since %q: %v", since, page)
		}
	}
}
