package central

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/uplink/syncapi"
	"scanrelay/wechat"
	"scanrelay/wechat/fake"
)

// quotaBench runs broker and quota watch in synctest's time and returns the log.
func quotaBench(t *testing.T, s *script, rate float64, test func(c *Central)) string {
	t.Helper()
	var log bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		o := Options{Config: testConfig(), WeChat: s, Now: time.Now, Logger: slog.New(slog.NewTextHandler(&log, nil)), Metrics: metrics.NewSet()}
		c := &Central{o: o, shares: newShares(rate), meters: &meters{set: o.Metrics, badTokens: o.Metrics.NewCounter("bad")}}
		c.broker = newBroker(o, c.meters)
		c.quotas = newQuotas(c)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{}, 2)
		go func() { c.broker.run(ctx); done <- struct{}{} }()
		go func() { c.quotas.run(ctx); done <- struct{}{} }()
		test(c)
		cancel()
		<-done
		<-done
	})
	return log.String()
}

// TestQuotaBoundsTheRate: the smaller of wechat.rate and what WeChat allows is
// shared out, asked for every few minutes.
func TestQuotaBoundsTheRate(t *testing.T) {
	for _, c := range []struct {
		configured   float64
		calls        int64
		period       time.Duration
		want, shared float64
	}{
		{500, 6000, time.Minute, 100, 100},
		{50, 6000, time.Minute, 50, 50},
		{500, 0, 0, 500, 500}, // WeChat does not say
		{0, 600, time.Minute, 10, 10},
	} {
		asked := map[string]int{}
		s := always("token-one")
		s.quota = func(path string) (wechat.Quota, error) {
			asked[path]++
			return wechat.Quota{Daily: 100000, Used: 1, Remain: 99999, RateCalls: c.calls, RatePeriod: c.period}, nil
		}
		quotaBench(t, s, c.configured, func(b *Central) {
			time.Sleep(time.Hour)
			if got := b.shares.total(); got != c.want {
				t.Errorf("%+v: the fleet's rate is %v", c, got)
			}
			if got := b.shares.share("hz-01", 0, time.Now()); got != c.shared {
				t.Errorf("%+v: the only depot's share is %v", c, got)
			}
			if v, ok := b.quotas.view(wechat.APIUserQuery); !ok || v.Remain != 99999 {
				t.Errorf("userquery: %+v, %v", v, ok)
			}
		})
		if n := asked[wechat.PathNotifyPath]; n < 10 || n > 13 || asked[wechat.UserQueryPath] != n {
			t.Errorf("asked %v in an hour, want every five minutes", asked)
		}
	}
}

// TestQuotaNotGranted: without WeChat's word the configured rate holds, and the
// log says so once.
func TestQuotaNotGranted(t *testing.T) {
	log := quotaBench(t, always("token-one"), 500, func(b *Central) {
		time.Sleep(2 * time.Hour)
		if b.shares.total() != 500 {
			t.Errorf("the fleet's rate is %v", b.shares.total())
		}
	})
	if n := strings.Count(log, "wechat.rate holds"); n != 1 || !strings.Contains(log, "48001") {
		t.Errorf("logged %d times: %s", n, log)
	}
}

// TestQuotaRunsLow warns once, and again the next day.
func TestQuotaRunsLow(t *testing.T) {
	remain := int64(20000)
	s := always("token-one")
	s.quota = func(string) (wechat.Quota, error) {
		remain -= 1000
		if remain == 2000 {
			remain = 20000
		}
		return wechat.Quota{Daily: 100000, Remain: remain}, nil
	}
	log := quotaBench(t, s, 500, func(*Central) { time.Sleep(3 * time.Hour) })
	// Two APIs; within 36 rounds of 2000 each the day is over three times.
	if n := strings.Count(log, "runs low"); n < 4 || n > 9 || strings.Contains(log, "token-one") {
		t.Errorf("warned %d times: %s", n, log)
	}
}

// TestQuotaWithoutToken asks nothing while there is nothing to ask with.
func TestQuotaWithoutToken(t *testing.T) {
	s := &script{answer: func(int) (wechat.AccessToken, error) {
		return wechat.AccessToken{}, &wechat.Error{API: "stable_token", Code: 40125}
	}}
	s.quota = func(string) (wechat.Quota, error) { t.Error("asked without a token"); return wechat.Quota{}, nil }
	quotaBench(t, s, 500, func(*Central) { time.Sleep(time.Hour) })
}

// TestQuotaIsShown: the page and the metrics tell what is left today, once
// WeChat has said so.
func TestQuotaIsShown(t *testing.T) {
	b := newBench(t, nil)
	if _, page := b.admin("GET", "/?lang=en", ""); strings.Contains(page, "left today") {
		t.Error("the page tells a quota that nobody asked for")
	}
	b.quotas.take(wechat.APIPathNotify, wechat.Quota{Daily: 1000000, Used: 950001, Remain: 49999, RateCalls: 1200, RatePeriod: time.Minute}, nil)
	_, page := b.admin("GET", "/?lang=en", "")
	_, text := b.call("GET", "/metrics", "")
	for _, want := range []string{"left today, pathnotify", "49999", "of 1000000", "<b>20</b>"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, want := range []string{
		`scanrelay_central_quota_remain{api="pathnotify"} 49999`, `scanrelay_central_quota_daily{api="pathnotify"} 1000000`,
		"scanrelay_central_rate 20", `scanrelay_wechat_requests_total{api="quota",errcode="0"} 1`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics lack %q", want)
		}
	}
	if resp := b.sync(tokenHZ, syncapi.Request{}); resp.Rate != 20 {
		t.Errorf("the only depot's share is %v", resp.Rate)
	}
}

// TestQuotaOfWeChat asks a WeChat as its documents describe it.
func TestQuotaOfWeChat(t *testing.T) {
	w := newFakeAPI(t, fake.Options{Quotas: map[fake.API]fake.Quota{fake.PathNotify: {PerDay: 777}}})
	token, err := w.StableToken(t.Context(), fake.DefaultAppID, fake.DefaultSecret, false)
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.Quota(t.Context(), token.Value, wechat.PathNotifyPath)
	if err != nil || got.Daily != 777 || got.Remain != 777 || perSecond(got) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestPerSecond(t *testing.T) {
	for _, c := range []struct {
		calls  int64
		period time.Duration
		want   float64
	}{{100, time.Second, 100}, {90, time.Minute, 1.5}, {0, time.Second, 0}, {5, 0, 0}, {-1, time.Second, 0}} {
		if got := perSecond(wechat.Quota{RateCalls: c.calls, RatePeriod: c.period}); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
