package central_test

import (
	"context"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/uplink/central"
	"scanrelay/uplink/central/internal/account"
	"scanrelay/uplink/central/internal/centraltest"
	"scanrelay/wechat/callback"
)

// slow is a store on a disk that does not answer; all that it does not have is
// not asked for.
type slow struct{ snapshot.Store }

func (slow) Lookup(ctx context.Context, _ scan.WaybillID) (snapshot.Waybill, bool, error) {
	<-ctx.Done()
	return snapshot.Waybill{}, false, ctx.Err()
}

func (slow) Health(context.Context) error { return nil }

// TestSlowDisk: a lookup ends within two seconds though the disk does not answer,
// whoever asks, and health needs no disk.
func TestSlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := central.New(central.Options{Config: centraltest.Config(), Snapshot: slow{}, WeChat: account.Always("t")})
		if err != nil {
			t.Fatal(err)
		}
		at := strconv.FormatInt(time.Now().Unix(), 10)
		ask := "/wechat/callback?nonce=1&timestamp=" + at + "&signature=" + callback.Sign("cb-token", at, "1")
		question := `{"ToUserName":"gh_1","FromUserName":"o1","CreateTime":` + at + `,"MsgType":"event","Event":"waybill_notify_query",` +
			`"WaybillId":"X","SenderPhone":"` + centraltest.Sender + `","ReceiverPhone":"` + centraltest.Receiver + `"}`
		for path, want := range map[string]struct {
			code int
			text string
			took time.Duration
		}{
			ask:        {200, `"ResultCode":3`, 2 * time.Second},
			"/healthz": {200, "ok", 0},
			"/readyz":  {503, "cannot be read", 2 * time.Second},
			"/jsonp/waybill?waybill_id=X&phone=1&callback=f": {200, `"ResultCode":3`, 2 * time.Second},
			"/v1/waybills/X": {503, "cannot read its store", 2 * time.Second},
		} {
			r, w := httptest.NewRequest("GET", path, nil), httptest.NewRecorder()
			if path == ask {
				r = httptest.NewRequest("POST", path, strings.NewReader(question))
			}
			r.Header.Set("Authorization", "Bearer "+centraltest.AdminToken)
			start := time.Now()
			c.Handler().ServeHTTP(w, r)
			if took := time.Since(start); w.Code != want.code || !strings.Contains(w.Body.String(), want.text) || took != want.took {
				t.Errorf("%s: %d %s after %s", path, w.Code, w.Body, took)
			}
		}
	})
}
