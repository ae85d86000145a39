package central_test

import (
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"scanrelay/configs/secret"
	"scanrelay/uplink/central"
	"scanrelay/uplink/central/internal/centraltest"
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
	config := centraltest.Config()
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
	b := centraltest.New(t, func(o *central.Options) { o.WeChat, o.Config.Callback.Mode = client, mode })
	for _, path := range []string{"//wechat/callback", "/wechat/callback/", "/wechat/callback"} {
		other.SetCallback(b.URL + path)
		if err := other.CheckURL(t.Context()); err != nil {
			t.Fatalf("URL check of %s: %v", path, err)
		}
	}
	b.Import(centraltest.Parcel)
	now := time.Now().Unix()
	var resp *syncapi.Response
	centraltest.Eventually(t, "a token", func() bool {
		resp = b.Sync(centraltest.TokenHZ, syncapi.Request{Events: []syncapi.Event{centraltest.Event(1, centraltest.Parcel, now), centraltest.Event(2, centraltest.Parcel, now-60)}})
		return resp.Token != nil
	})
	wantResults(t, resp, syncapi.Taken, syncapi.Late)
	known := resp.Waybills[0]
	n := wechat.Notification{
		WaybillID: string(known.WaybillID), CreateTime: known.CreateTime, Sender: party(known.Sender), Receiver: party(known.Receiver),
		Path: wechat.Node{ActionTime: now, ActionType: 200001, ActionMsg: centraltest.Event(1, centraltest.Parcel, now).ActionMsg},
	}
	if exist, err := client.PathNotify(t.Context(), secret.Text(resp.Token.Value), n); err != nil || !exist {
		t.Fatalf("pathnotify: %v, %v; lookups %+v", exist, err, other.Lookups())
	}
	if p := other.Pushes(); len(p) != 1 {
		t.Errorf("%d pushes", len(p))
	}
}

func party(p syncapi.Party) wechat.Party {
	return wechat.Party{Name: p.Name, Phone: p.Phone, Province: p.Province, City: p.City, Area: p.Area, Address: p.Address}
}
