package central

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"scanrelay/wechat"
)

// secretCodes mean that appid or secret is wrong: asking again and again can
// freeze the secret (errcodes.md).
var secretCodes = map[int]bool{40013: true, 40125: true, 41002: true, 41004: true}

// dailyPause is how long a used-up daily quota is left alone; 500,000 token
// calls a day are never needed, so this is someone else's doing.
const dailyPause = 10 * time.Minute

// failedLocked decides what a failed request for a token means and when the
// next may go out.
func (b *broker) failedLocked(err error) {
	var e *wechat.Error
	if !errors.As(err, &e) {
		e = &wechat.Error{API: wechat.APIStableToken, Err: err}
	}
	b.meters.token(errcode(e))
	b.trouble.reason = explain(e)
	switch class := e.Class(); {
	case class == wechat.Blocked && secretCodes[e.Code]:
		b.trouble.state = stateBlocked
		b.pauseLocked(5*time.Minute, time.Hour)
	case class == wechat.Blocked:
		b.trouble.state = stateBlocked
		b.pauseLocked(5*time.Second, 5*time.Minute)
	case class == wechat.Throttled:
		b.trouble.state = stateNoToken
		b.trouble.wait = throttledFor(e)
		b.trouble.next = b.now().Add(b.trouble.wait + rand.N(5*time.Second))
	default:
		b.trouble.state = stateUnreachable
		b.pauseLocked(time.Second, time.Minute)
		// Full jitter: no herd after an outage.
		b.trouble.next = b.now().Add(rand.N(b.trouble.wait) + 100*time.Millisecond)
	}
	b.log.Error("fetch access token", "err", e, "state", b.trouble.state, "again_in", b.trouble.next.Sub(b.now()).Round(time.Millisecond))
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

// errcode is an error's label in metrics.
func errcode(e *wechat.Error) string {
	switch {
	case e.Code != 0:
		return strconv.Itoa(e.Code)
	case e.Status != 0:
		return "http_" + strconv.Itoa(e.Status)
	}
	return "network"
}
