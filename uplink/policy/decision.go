package policy

import (
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
	"scanrelay/store/event"
	"scanrelay/wechat"
)

// Intervals between the tries of one event, and how often WeChat may disagree
// about it, or answer with an unknown code, before it is a dead letter.
const (
	transientBase = time.Second
	transientCap  = 5 * time.Minute
	mismatchBase  = time.Second
	mismatchCap   = 30 * time.Second
	maxMismatches = 5
)

// Call is one call for one event, and what came of it.
type Call struct {
	API        string
	Exist      bool
	Err        error // an *wechat.Error, or nil
	Attempts   int   // calls made for the event before this one
	Mismatches int   // answers that needed a re-sync before this one
	Now        time.Time
}

// Next is what happens to the event.
type Next int

// What can happen to an event after a call.
const (
	GoOn   Next = iota // userquery: the phone is bound
	Settle             // it ended, with Decision.Outcome
	Retry              // it is due again after Decision.Delay; this was an attempt
	Again              // at once, with a fresh token; this was no attempt
	Hold               // when calls may be made; this was no attempt
)

// Decision is what an answer of WeChat means. Class and Pause are for the valve.
type Decision struct {
	Next    Next
	Outcome event.State
	Delay   time.Duration
	Reply   event.Reply
	Class   wechat.Class
	Pause   time.Duration // of wechat.Throttled: how long the API rests
	// Waybill is the event's: an unknown code on many of them concerns the account.
	Waybill scan.WaybillID
	// Unsure: the call may have had its effect although no answer came.
	Unsure bool
}

// Mismatch reports whether WeChat's last word about an event disagrees with the
// centre's: its waybill is synced again before the next try.
func Mismatch(last event.Reply) bool {
	c := wechat.ClassOf(last.ErrCode)
	return last.ErrCode != 0 && (c == wechat.Mismatch || c == wechat.Unknown)
}

// Decide is the one place where an answer of WeChat becomes an outcome, a retry
// or a pause.
func Decide(c Call) Decision {
	if c.Err == nil {
		return decideSuccess(c)
	}
	e := wechat.AsError(c.API, c.Err)
	d := Decision{Class: e.Class(), Reply: reply(e), Unsure: e.Sent && e.Code == 0 && c.API == wechat.APIPathNotify}
	switch d.Class {
	case wechat.BadToken:
		d.Next = Again
	case wechat.Throttled:
		d.Next, d.Pause, d.Unsure = Hold, pauseOf(e, c.Now), false
	case wechat.Blocked:
		d.Next = Hold
	case wechat.Permanent:
		d.Next, d.Outcome = Settle, event.Dead
	case wechat.Mismatch, wechat.Unknown: // bounded: WeChat refuses the event by itself
		if d.Next, d.Delay = Retry, wait.Jitter(c.Mismatches, mismatchBase, mismatchCap); c.Mismatches+1 >= maxMismatches {
			d.Next, d.Delay, d.Outcome = Settle, 0, event.Dead
		}
	default: // Transient, and whatever a later table may add
		d.Next, d.Delay = Retry, TransientDelay(c.Attempts)
	}
	return d
}

// TransientDelay is how long an event waits that was tried so often before.
func TransientDelay(attempts int) time.Duration {
	return wait.Jitter(attempts, transientBase, transientCap)
}

// decideSuccess looks at exist: an unbound phone is an outcome, not an error.
func decideSuccess(c Call) Decision {
	d := Decision{Class: wechat.Success}
	switch {
	case !c.Exist:
		d.Next, d.Outcome = Settle, event.NotBound
		d.Reply.Reason = "the receiver's phone is not bound in WeChat"
	case c.API == wechat.APIPathNotify:
		d.Next, d.Outcome = Settle, event.Pushed
	}
	return d
}
