package policy

import (
	"cmp"
	"net/http"
	"strconv"
	"time"

	"scanrelay/configs/wait"
	"scanrelay/store/event"
	"scanrelay/wechat"
)

// beijing is Asia/Shanghai, which has had no summer time since 1991: gateways
// have no zone files.
var beijing = time.FixedZone("Asia/Shanghai", 8*60*60)

// Spreads that keep a fleet from coming back in one moment.
const (
	daySpread    = 2 * time.Minute
	minuteSpread = 2 * time.Second
)

// pauseOf is how long an API rests: to the reset of its quota, or as long as
// WeChat asked for.
func pauseOf(e *wechat.Error, now time.Time) time.Duration {
	switch e.Code {
	case wechat.CodeDailyQuota:
		y, m, d := now.In(beijing).Date()
		return time.Date(y, m, d+1, 0, 0, 0, 0, beijing).Sub(now) + wait.UpTo(daySpread)
	case wechat.CodeMinuteQuota:
		return now.Truncate(time.Minute).Add(time.Minute).Sub(now) + wait.UpTo(minuteSpread)
	}
	if e.RetryAfter > 0 {
		return e.RetryAfter + wait.UpTo(e.RetryAfter/10)
	}
	return time.Second
}

// reply is what is kept with the event: a reason in an operator's words,
// WeChat's errcode and its request id.
func reply(e *wechat.Error) event.Reply {
	r := event.Reply{ErrCode: e.Code, RID: e.RID}
	switch {
	case e.Code != 0:
		r.Reason = e.API + ": " + meaning(e)
	case e.Status == http.StatusTooManyRequests:
		r.Reason = e.API + ": WeChat asks to call less often (HTTP 429)"
	case e.Err != nil:
		r.Reason = e.API + ": " + e.Err.Error()
	default:
		r.Reason = e.API + ": WeChat answered with HTTP status " + strconv.Itoa(e.Status)
	}
	return r
}

// meaning is the errcode in words, with WeChat's own text, which for 40164 holds
// the address that is not allowed.
func meaning(e *wechat.Error) string {
	words := wechat.Meaning(e.Code)
	if words == "" {
		words = "a code that scanrelay does not know"
	}
	words += " (errcode " + strconv.Itoa(e.Code) + ")"
	if e.Msg != "" {
		words += ": " + e.Msg
	}
	return words
}

// Label is the errcode of a call for metrics, or what stood in its place:
// http_503, none.
func Label(err error) string {
	if err == nil {
		return "0"
	}
	e := wechat.AsError("", err)
	if e.Code == 0 && e.Status == http.StatusOK { // an answer that could not be read
		return "none"
	}
	return cmp.Or(e.Label(), "none")
}
