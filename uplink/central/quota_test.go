package central_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/store/snapshot/bolt"
	"scanrelay/uplink/central"
	"scanrelay/uplink/central/internal/account"
	"scanrelay/uplink/central/internal/centraltest"
	"scanrelay/wechat"
)

// TestQuotaIsShown: the page, the metrics and the depots' shares follow what
// WeChat says is left today, once it has said so.
func TestQuotaIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := account.Always("token-one")
		s.OfQuotas = func(path string) (wechat.Quota, error) {
			if path == wechat.UserQueryPath {
				return wechat.Quota{}, &wechat.Error{API: wechat.APIQuota, Code: 48001}
			}
			return wechat.Quota{Daily: 1000000, Used: 950001, Remain: 49999, RateCalls: 1200, RatePeriod: time.Minute}, nil
		}
		store, err := bolt.Open(t.TempDir(), bolt.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		c, err := central.New(central.Options{Config: centraltest.Config(), Snapshot: store, WeChat: s})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		call := func(method, path, body, token string) string {
			r, w := httptest.NewRequest(method, path, strings.NewReader(body)), httptest.NewRecorder()
			r.Header.Set("Authorization", "Bearer "+token)
			c.Handler().ServeHTTP(w, r)
			return w.Body.String()
		}
		if strings.Contains(call("GET", "/?lang=en", "", centraltest.AdminToken), "left today") {
			t.Error("the page tells a quota that WeChat has not told")
		}
		time.Sleep(time.Minute)
		all := call("GET", "/?lang=en", "", centraltest.AdminToken) + call("GET", "/metrics", "", centraltest.AdminToken) +
			call("POST", "/v1/sync", `{"v":1,"epoch":"00000000000000aa","next_seq":1}`, centraltest.TokenHZ)
		for _, want := range []string{
			"left today, pathnotify", "49999", "of 1000000", "<b>20</b>", `scanrelay_central_quota_remain{api="pathnotify"} 49999`,
			`scanrelay_central_quota_daily{api="pathnotify"} 1000000`, "scanrelay_central_rate 20",
			`scanrelay_wechat_requests_total{api="quota",errcode="0"} 1`, `"rate":20`,
		} {
			if !strings.Contains(all, want) {
				t.Errorf("page, metrics and sync lack %q", want)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
