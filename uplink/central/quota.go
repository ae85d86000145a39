package central

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"scanrelay/configs/wait"
	"scanrelay/wechat"
)

// Times of the quota watch; errcodes.md: every few minutes at most.
const (
	quotaFirst = 10 * time.Second // after the start: the token comes first
	quotaEvery = 5 * time.Minute
	// lowQuota is the part of a day's quota below which the log warns, once a day.
	lowQuota = 0.1
)

// quotaAPIs are what the depots call; their quotas are the whole fleet's.
var quotaAPIs = []struct{ name, path string }{
	{wechat.APIPathNotify, wechat.PathNotifyPath},
	{wechat.APIUserQuery, wechat.UserQueryPath},
}

// quotas knows what WeChat last said about the fleet's quotas. It asks for
// itself, seldom, and bounds the rate that shares hands out.
type quotas struct {
	source TokenSource
	broker *broker
	shares *shares
	meters *meters
	now    func() time.Time
	log    *slog.Logger

	mu     sync.Mutex // guards what follows
	known  map[string]quotaView
	failed string // errcode of the last failure: each is logged once
}

// quotaView is one API's quota of today; the zero value: WeChat has not told.
type quotaView struct {
	Daily, Used, Remain int64
	at                  time.Time
	warned              bool // that it runs low
}

func newQuotas(c *Central) *quotas {
	return &quotas{
		source: c.o.WeChat, broker: c.broker, shares: c.shares, meters: c.meters, now: c.o.Now, log: c.o.Logger,
		known: map[string]quotaView{},
	}
}

// run asks until ctx ends.
func (q *quotas) run(ctx context.Context) {
	for rest := quotaFirst; wait.Sleep(ctx, rest+wait.UpTo(rest/5)); rest = quotaEvery {
		token, ok := q.broker.current()
		if !ok {
			continue // there is nothing to ask with; depots cannot call either
		}
		for _, api := range quotaAPIs {
			got, err := q.source.Quota(ctx, token, api.path)
			if ctx.Err() != nil {
				return
			}
			q.take(api.name, got, err)
		}
	}
}

// take keeps an answer. A failure changes nothing: the configured rate holds
// without WeChat's word, and depots obey its refusals anyway.
func (q *quotas) take(api string, got wechat.Quota, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err != nil {
		q.failedLocked(err)
		return
	}
	q.meters.quota("0")
	q.failed = ""
	now := q.now()
	v := quotaView{Daily: got.Daily, Used: got.Used, Remain: got.Remain, at: now}
	v.warned = q.known[api].warned && got.Remain <= q.known[api].Remain // more is left: another day
	if low := float64(got.Remain) < lowQuota*float64(got.Daily); low && !v.warned {
		v.warned = true
		q.log.Warn("today's quota runs low; beyond it WeChat refuses until midnight in Beijing",
			"api", api, "remain", got.Remain, "daily", got.Daily)
	}
	if _, ok := q.known[api]; !ok {
		q.meters.quotaGauges(api, q.view)
	}
	q.known[api] = v
	if api == wechat.APIPathNotify {
		q.shares.bound(perSecond(got))
	}
}

func (q *quotas) failedLocked(err error) {
	var e *wechat.Error
	if !errors.As(err, &e) {
		e = &wechat.Error{API: wechat.APIQuota, Err: err}
	}
	code := errcode(e)
	q.meters.quota(code)
	if q.failed != code {
		q.failed = code
		q.log.Warn("ask for the quota; wechat.rate holds without it", "err", e)
	}
}

// perSecond is the rate that WeChat allows, 0 where it does not say.
func perSecond(q wechat.Quota) float64 {
	if q.RateCalls <= 0 || q.RatePeriod <= 0 {
		return 0
	}
	return float64(q.RateCalls) / q.RatePeriod.Seconds()
}

// view returns what is known of an API; ok is false before WeChat has told.
func (q *quotas) view(api string) (v quotaView, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	v, ok = q.known[api]
	return v, ok
}
