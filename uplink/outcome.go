package uplink

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"scanrelay/configs/wait"
	"scanrelay/store"
	"scanrelay/wechat"
)

// maxDisagreed is how often a push may be refused by the reverse lookup, or
// with an unknown code, before it is a dead letter.
const maxDisagreed = 5

// answer is what came of one call for one event.
type answer struct {
	api      string
	exist    bool
	err      error // an *wechat.Error, or nil
	attempts int   // calls made for the event before this one
	// disagreed counts this answer as one that needs a re-sync, and returns
	// how many the event had.
	disagreed func() int
	now       time.Time // wall time
}

// next is what happens to the event.
type next int

const (
	nextGoOn   next = iota // userquery: the phone is bound
	nextSettle             // it ended, with verdict.outcome
	nextRetry              // it is due again after verdict.delay; this was an attempt
	nextAgain              // at once, with a fresh token; this was no attempt
	nextHold               // when the valve opens; this was no attempt
)

// signal is what the valve learns from an answer.
type signal struct {
	kind   signalKind
	pause  time.Duration // of throttled: how long
	reason string        // for operators
}

type signalKind int

const (
	signalNone      signalKind = iota // says nothing about WeChat's health
	signalWorks                       // the account and the way to WeChat work
	signalAnswered                    // WeChat answered; whether the account works is open
	signalFault                       // no answer, or WeChat is busy
	signalLookup                      // WeChat could not reach the centre
	signalThrottled                   // pause this API
	signalBlocked                     // the account or the network is set up wrongly
)

// verdict is what an answer means: for the event, and for the valve.
type verdict struct {
	next    next
	outcome store.State
	delay   time.Duration
	reply   store.Reply
	class   wechat.Class
	signal  signal
	// unsure: the call may have had its effect although no answer came.
	unsure bool
}

// judge is errcodes.md: the one place where an answer of WeChat becomes an
// outcome, a retry or a pause.
func judge(a answer) verdict {
	if a.err == nil {
		return judgeSuccess(a)
	}
	e := asWeChat(a.err)
	v := verdict{class: e.Class(), reply: reply(e), unsure: e.Sent && e.Code == 0 && a.api == wechat.APIPathNotify}
	switch v.class {
	case wechat.BadToken:
		v.next = nextAgain
	case wechat.Throttled:
		v.next = nextHold
		v.signal = signal{kind: signalThrottled, pause: pauseOf(e, a.now), reason: throttleReason(e)}
		v.unsure = false
	case wechat.Blocked:
		v.next = nextHold
		v.signal = signal{kind: signalBlocked, reason: v.reply.Reason}
	case wechat.Permanent:
		v.next, v.outcome = nextSettle, store.Dead
		v.signal.kind = signalAnswered
	case wechat.Mismatch, wechat.Unknown:
		v.next, v.outcome, v.delay = judgeDisagreed(a.disagreed())
		v.signal.kind = signalAnswered
		if v.class == wechat.Mismatch {
			v.signal.kind = signalWorks // it looked the waybill up for this account
		}
	default: // Transient, and whatever a later table may add
		v.next, v.delay = nextRetry, wait.Jitter(a.attempts, transientBase, transientCap)
		v.signal = signal{kind: signalFault, reason: v.reply.Reason}
		if e.Code == wechat.CodeLookupFailed {
			v.signal.kind = signalLookup
		}
	}
	return v
}

// asWeChat returns the *wechat.Error in err; any other error is a fault on the
// way.
func asWeChat(err error) *wechat.Error {
	var e *wechat.Error
	if errors.As(err, &e) {
		return e
	}
	return &wechat.Error{Err: err}
}

// judgeSuccess looks at exist: an unbound phone is an outcome, not an error.
func judgeSuccess(a answer) verdict {
	v := verdict{class: wechat.Success, signal: signal{kind: signalWorks}}
	switch {
	case !a.exist:
		v.next, v.outcome = nextSettle, store.NotBound
		v.reply.Reason = "the receiver's phone is not bound in WeChat"
	case a.api == wechat.APIPathNotify:
		v.next, v.outcome = nextSettle, store.Pushed
	}
	return v
}

// judgeDisagreed bounds the retries of an event that WeChat refuses by itself.
func judgeDisagreed(times int) (next, store.State, time.Duration) {
	if times >= maxDisagreed {
		return nextSettle, store.Dead, 0
	}
	return nextRetry, 0, wait.Jitter(times-1, mismatchBase, mismatchCap)
}

// wantsResync reports whether what WeChat said last is a disagreement with the
// centre's answer: the waybill is synced again before the next try.
func wantsResync(last store.Reply) bool {
	if last.ErrCode == 0 {
		return false
	}
	c := wechat.ClassOf(last.ErrCode)
	return c == wechat.Mismatch || c == wechat.Unknown
}

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
		return time.Date(y, m, d+1, 0, 0, 0, 0, beijing).Sub(now) + rand.N(daySpread)
	case wechat.CodeMinuteQuota:
		return now.Truncate(time.Minute).Add(time.Minute).Sub(now) + rand.N(minuteSpread)
	}
	if e.RetryAfter > 0 {
		return e.RetryAfter + rand.N(e.RetryAfter/10+1)
	}
	return time.Second
}

func throttleReason(e *wechat.Error) string {
	if e.Status == http.StatusTooManyRequests {
		return e.API + ": WeChat asks to call less often (HTTP 429)"
	}
	return e.API + ": " + meaning(e)
}

// reply is what is kept with the event: a reason in an operator's words,
// WeChat's errcode and its request id.
func reply(e *wechat.Error) store.Reply {
	r := store.Reply{ErrCode: e.Code, RID: e.RID}
	switch {
	case e.Code != 0:
		r.Reason = e.API + ": " + meaning(e)
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
