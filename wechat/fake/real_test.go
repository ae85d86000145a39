package fake_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"scanrelay/wechat"
	"scanrelay/wechat/callback"
	"scanrelay/wechat/fake"
)

// The real client and the real callback against this WeChat: what the product
// runs must pass what the documents ask for, in every mode and format.
func TestRealClientAndCallback(t *testing.T) {
	eachWay(t, func(t *testing.T, m fake.Mode, fm fake.Format) {
		s, err := fake.New(fake.Options{Mode: m, Format: fm, BoundByDefault: true, KeepNames: m == fake.Compat})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		now := time.Now().Unix()
		path := []wechat.Node{
			{ActionTime: now - 60, ActionType: 100001, ActionMsg: "【网点】已收件 <&> ]]> \"'"},
			{ActionTime: now, ActionType: 300002, ActionMsg: "派件中", DeliveryCourierName: "王五", DeliveryCourierPhone: "13900139000"},
		}
		h, err := callback.NewHandler(callback.Config{Token: fake.DefaultToken, EncodingAESKey: fake.DefaultAESKey, AppID: fake.DefaultAppID,
			Mode: m, SwapNames: m != fake.Compat, MaxSkew: time.Minute}, func(_ context.Context, q callback.Query) callback.Answer {
			if q.WaybillID != testWaybill {
				return callback.Answer{Code: callback.CodeNoWaybill}
			}
			return callback.Answer{CreateTime: now - 5000, Path: path}
		})
		if err != nil {
			t.Fatal(err)
		}
		central, front := httptest.NewServer(h), httptest.NewServer(s)
		defer central.Close()
		defer front.Close()
		s.SetCallback(central.URL)
		pushWithRealClient(t, s, front.URL, now, path)
	})
}

func pushWithRealClient(t *testing.T, s *fake.Server, url string, now int64, path []wechat.Node) {
	ctx := context.Background()
	if err := errors.Join(s.CheckURL(ctx), s.SendTest()); err != nil {
		t.Error(err)
	}
	c, err := wechat.NewClient(wechat.Options{BaseURL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdleConnections()
	token, err := c.StableToken(ctx, fake.DefaultAppID, fake.DefaultSecret, false)
	if err != nil {
		t.Fatal(err)
	}
	exist, err := c.UserQuery(ctx, token.Value, testPhone)
	if err != nil || !exist {
		t.Errorf("userquery: %v, %v", exist, err)
	}
	quota, err := c.Quota(ctx, token.Value, wechat.UserQueryPath)
	if err != nil || quota.Used != 1 {
		t.Errorf("quota: %+v, %v", quota, err)
	}
	n := wechat.Notification{
		WaybillID: testWaybill, CreateTime: now - 5000,
		Sender:   wechat.Party{Province: "浙江省", City: "绍兴市", Area: "柯桥区"},
		Receiver: wechat.Party{Name: "李四", Phone: testPhone, Province: "福建省", City: "泉州市", Area: "晋江市"},
	}
	for _, n.Path = range path {
		if exist, err = c.PathNotify(ctx, token.Value, n); err != nil || !exist {
			t.Errorf("pathnotify: %v, %v; %+v", exist, err, s.Lookups())
		}
	}
	var refused *wechat.Error
	n.WaybillID = "YT0000000000000"
	if _, err = c.PathNotify(ctx, token.Value, n); !errors.As(err, &refused) || refused.Code != 932002 || refused.RID == "" {
		t.Errorf("an unknown waybill: %v", err)
	}
	if len(s.Pushes()) != 2 {
		t.Errorf("%d pushes, want 2", len(s.Pushes()))
	}
}
