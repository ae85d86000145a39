package quota

import (
	"bytes"
	"context"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/uplink/central/internal/account"
	"scanrelay/uplink/central/shares"
	"scanrelay/uplink/central/tokens"
	"scanrelay/wechat"
	"scanrelay/wechat/fake"
)

// bench is tokens, shares and quotas of one script.
type bench struct {
	quotas *Quotas
	shares *shares.Shares
}

// run lets them work in synctest's time and returns the log.
func run(t *testing.T, s *account.Script, rate float64, test func(b *bench)) string {
	t.Helper()
	var log bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		logger, set := slog.New(slog.NewTextHandler(&log, nil)), metrics.NewSet()
		tok := tokens.New(tokens.Options{Source: s, AppID: "wx1", Secrets: tokens.Secrets{Secret: "s"}, Now: time.Now, Logger: logger, Metrics: set})
		b := &bench{shares: shares.New(rate, time.Now)}
		b.quotas = New(Options{Source: s, Tokens: tok, Shares: b.shares, Now: time.Now, Logger: logger, Metrics: set})
		ctx, cancel := context.WithCancel(t.Context())
		var loops sync.WaitGroup
		loops.Go(func() { tok.Run(ctx) })
		loops.Go(func() { b.quotas.Run(ctx) })
		test(b)
		cancel()
		loops.Wait()
	})
	return log.String()
}

func (b *bench) total(t *testing.T) float64 {
	t.Helper()
	total, err := b.shares.Total(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return total
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
		s := account.Always("token-one")
		s.OfQuotas = func(path string) (wechat.Quota, error) {
			asked[path]++
			return wechat.Quota{Daily: 100000, Used: 1, Remain: 99999, RateCalls: c.calls, RatePeriod: c.period}, nil
		}
		run(t, s, c.configured, func(b *bench) {
			time.Sleep(time.Hour)
			if got := b.total(t); got != c.want {
				t.Errorf("%+v: the fleet's rate is %v", c, got)
			}
			if got, _ := b.shares.Share(t.Context(), "hz-01", 0); got != c.shared {
				t.Errorf("%+v: the only depot's share is %v", c, got)
			}
			if v, ok := b.quotas.Of(wechat.APIUserQuery); !ok || v.Remain != 99999 {
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
	log := run(t, account.Always("token-one"), 500, func(b *bench) {
		time.Sleep(2 * time.Hour)
		if b.total(t) != 500 {
			t.Errorf("the fleet's rate is %v", b.total(t))
		}
	})
	if n := strings.Count(log, "wechat.rate holds"); n != 1 || !strings.Contains(log, "48001") {
		t.Errorf("logged %d times: %s", n, log)
	}
}

// TestQuotaRunsLow warns once, and again the next day.
func TestQuotaRunsLow(t *testing.T) {
	remain := int64(20000)
	s := account.Always("token-one")
	s.OfQuotas = func(string) (wechat.Quota, error) {
		remain -= 1000
		if remain == 2000 {
			remain = 20000
		}
		return wechat.Quota{Daily: 100000, Remain: remain}, nil
	}
	log := run(t, s, 500, func(*bench) { time.Sleep(3 * time.Hour) })
	// Two APIs; within 36 rounds of 2000 each the day is over three times.
	if n := strings.Count(log, "runs low"); n < 4 || n > 9 || strings.Contains(log, "token-one") {
		t.Errorf("warned %d times: %s", n, log)
	}
}

// TestQuotaWithoutToken asks nothing while there is nothing to ask with.
func TestQuotaWithoutToken(t *testing.T) {
	s := &account.Script{Answer: func(int) (wechat.AccessToken, error) {
		return wechat.AccessToken{}, &wechat.Error{API: "stable_token", Code: 40125}
	}}
	s.OfQuotas = func(string) (wechat.Quota, error) { t.Error("asked without a token"); return wechat.Quota{}, nil }
	run(t, s, 500, func(*bench) { time.Sleep(time.Hour) })
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
