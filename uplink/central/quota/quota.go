package quota

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/configs/secret"
	"scanrelay/configs/wait"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat"
)

// Times of the watch: WeChat wants to be asked every few minutes at most.
const (
	first = 10 * time.Second // after the start: the token comes first
	every = 5 * time.Minute
	// lowQuota is the part of a day's quota below which the log warns, once a day.
	lowQuota = 0.1
)

// APIs are what the depots call; their quotas are the whole fleet's.
var APIs = []struct{ Name, path string }{
	{wechat.APIPathNotify, wechat.PathNotifyPath},
	{wechat.APIUserQuery, wechat.UserQueryPath},
}

// Source is WeChat's quota/get; a *wechat.Client is one.
type Source interface {
	Quota(ctx context.Context, token secret.Text, cgiPath string) (wechat.Quota, error)
}

// Tokens give the token to ask with.
type Tokens interface {
	Current(ctx context.Context) (secret.Text, syncapi.WeChatView, error)
}

// Shares are what the answer bounds.
type Shares interface {
	Bound(ctx context.Context, allowed float64) error
}

// Options is what Quotas are made of.
type Options struct {
	Source  Source
	Tokens  Tokens
	Shares  Shares
	Now     func() time.Time
	Logger  *slog.Logger
	Metrics *metrics.Set
}

// Quotas are what WeChat said, in the memory of one process.
type Quotas struct {
	o Options

	mu     sync.Mutex // guards what follows
	known  map[string]View
	failed string // errcode of the last failure: each is logged once
}

// View is one API's quota of today.
type View struct {
	wechat.Quota
	At  time.Time // when WeChat said so
	Low bool      // hardly any is left
}

// New makes Quotas of which WeChat has not told.
func New(o Options) *Quotas { return &Quotas{o: o, known: map[string]View{}} }

// Run asks until ctx ends.
func (q *Quotas) Run(ctx context.Context) {
	for rest := first; wait.Sleep(ctx, rest+wait.UpTo(rest/5)); rest = every {
		token, view, err := q.o.Tokens.Current(ctx)
		if err != nil || view.State != syncapi.StateOK {
			continue // there is nothing to ask with; depots cannot call either
		}
		for _, api := range APIs {
			got, err := q.o.Source.Quota(ctx, token, api.path)
			if ctx.Err() != nil {
				return
			}
			q.take(ctx, api.Name, got, err)
		}
	}
}

// take keeps an answer; a failure changes nothing.
func (q *Quotas) take(ctx context.Context, api string, got wechat.Quota, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err == nil && api == wechat.APIPathNotify {
		err = q.o.Shares.Bound(ctx, perSecond(got))
	}
	if err != nil {
		q.failedLocked(err)
		return
	}
	q.count("0")
	q.failed = ""
	old, told := q.known[api]
	v := View{Quota: got, At: q.o.Now()}
	v.Low = old.Low && got.Remain <= old.Remain // more is left: another day
	if low := float64(got.Remain) < lowQuota*float64(got.Daily); low && !v.Low {
		v.Low = true
		q.o.Logger.Warn("today's quota runs low; beyond it WeChat refuses until midnight in Beijing",
			"api", api, "remain", got.Remain, "daily", got.Daily)
	}
	q.known[api] = v
	if !told {
		q.gauge("daily", api, func(v View) int64 { return v.Daily })
		q.gauge("remain", api, func(v View) int64 { return v.Remain })
	}
}

func (q *Quotas) failedLocked(err error) {
	e := wechat.AsError(wechat.APIQuota, err)
	code := cmp.Or(e.Label(), "network")
	q.count(code)
	if q.failed != code {
		q.failed = code
		q.o.Logger.Warn("ask for the quota; wechat.rate holds without it", "error", e)
	}
}

// perSecond is the rate that WeChat allows, 0 where it does not say.
func perSecond(q wechat.Quota) float64 {
	if q.RateCalls <= 0 || q.RatePeriod <= 0 {
		return 0
	}
	return float64(q.RateCalls) / q.RatePeriod.Seconds()
}

// Of returns what is known of an API; ok is false before WeChat has told.
func (q *Quotas) Of(api string) (v View, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	v, ok = q.known[api]
	return v, ok
}

// count counts a request for a quota.
func (q *Quotas) count(errcode string) {
	q.o.Metrics.GetOrCreateCounter(`scanrelay_wechat_requests_total{api="quota",errcode="` + errcode + `"}`).Inc()
}

func (q *Quotas) gauge(name, api string, pick func(View) int64) {
	q.o.Metrics.GetOrCreateGauge(`scanrelay_central_quota_`+name+`{api="`+api+`"}`, func() float64 {
		v, _ := q.Of(api)
		return float64(pick(v))
	})
}
