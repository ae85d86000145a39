package tokens

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"time"

	"scanrelay/uplink/syncapi"
	"scanrelay/wechat"
)

// secretCodes mean that appid or secret is wrong, or one of them frozen: asking
// again and again can freeze the secret, and unfreezes nothing.
var secretCodes = map[int]bool{40013: true, 40125: true, 41002: true, 41004: true, 40243: true, 50004: true, 50007: true}

// wrongSecret mean that it is another AppSecret: the old one may still be the one.
var wrongSecret = map[int]bool{40001: true, 40125: true}

// dailyPause is how long a used-up daily quota is left alone; 500,000 token
// calls a day are never needed, so this is someone else's doing.
const dailyPause = 10 * time.Minute

// failedLocked decides what a failed request for a token means and when the
// next may go out.
func (t *Tokens) failedLocked(err error) {
	e := wechat.AsError(wechat.APIStableToken, err)
	t.count(cmp.Or(e.Label(), "network"))
	t.trouble.reason, t.trouble.secret = explain(e), secretCodes[e.Code] || wrongSecret[e.Code]
	t.trouble.of = t.secrets.name()
	switch class := e.Class(); {
	case class == wechat.Blocked && secretCodes[e.Code]:
		t.trouble.state = syncapi.StateBlocked
		t.pauseLocked(5*time.Minute, time.Hour)
	case class == wechat.Blocked:
		t.trouble.state = syncapi.StateBlocked
		t.pauseLocked(5*time.Second, 5*time.Minute)
	case class == wechat.Throttled:
		t.trouble.state = syncapi.StateNoToken
		t.trouble.wait = throttledFor(e)
		t.trouble.next = t.now().Add(t.trouble.wait + rand.N(5*time.Second))
	default:
		t.trouble.state = syncapi.StateUnreachable
		t.pauseLocked(time.Second, time.Minute)
		// Full jitter: no herd after an outage.
		t.trouble.next = t.now().Add(rand.N(t.trouble.wait) + 100*time.Millisecond)
	}
	t.o.Logger.Error("fetch access token", "error", e, "state", t.trouble.state, "again_in", t.trouble.next.Sub(t.now()).Round(time.Millisecond))
}

func throttledFor(e *wechat.Error) time.Duration {
	switch {
	case e.RetryAfter > 0:
		return e.RetryAfter
	case e.Code == wechat.CodeDailyQuota:
		return dailyPause
	}
	return time.Minute
}

// explain says in an operator's words why there is no token. The address that
// WeChat does not allow stands in its message (40164).
func explain(e *wechat.Error) string {
	meaning := wechat.Meaning(e.Code)
	switch {
	case e.Code != 0 && meaning != "":
		return fmt.Sprintf("stable_token: %d %s: %s", e.Code, e.Msg, meaning)
	case e.Code != 0:
		return fmt.Sprintf("stable_token: %d %s", e.Code, e.Msg)
	}
	return e.Error()
}

// count counts a request for a token.
func (t *Tokens) count(errcode string) {
	t.o.Metrics.GetOrCreateCounter(`scanrelay_wechat_requests_total{api="stable_token",errcode="` + errcode + `"}`).Inc()
}
