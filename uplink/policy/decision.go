package policy

import (
	"errors"
	"time"

	"scanrelay/configs/wait"
	"scanrelay/store"
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

// Decision is what an answer of WeChat means: for the event, and for the valve.
type Decision struct {
	Next    Next
	Outcome store.State
	Delay   time.Duration
	Reply   store.Reply
	Class   wechat.Class
	Signal  Signal
	// Unsure: the call may have had its effect although no answer came.
	Unsure bool
}

// Mismatch reports whether WeChat's answer disagrees with the centre's: the
// waybill is synced again before the next try.
func (d *Decision) Mismatch() bool { return mismatch(d.Class) }

func mismatch(c wechat.Class) bool { return c == wechat.Mismatch || c == wechat.Unknown }

// WantsResync is Mismatch of what WeChat said last, as it was kept.
func WantsResync(last store.Reply) bool {
	return last.ErrCode != 0 && mismatch(wechat.ClassOf(last.ErrCode))
}

// Signal is what the valve learns from an answer.
type Signal struct {
	Kind   SignalKind
	Pause  time.Duration // of Throttled: how long
	Reason string        // for operators
}

// SignalKind is what an answer says about WeChat.
type SignalKind int

// What an answer can say about WeChat.
const (
	Nothing      SignalKind = iota // of its health
	Works                          // the account and the way to WeChat work
	Answered                       // WeChat answered; whether the account works is open
	Fault                          // no answer, or WeChat is busy
	LookupFailed                   // WeChat could not reach the centre
	Throttled                      // pause this API
	Blocked                        // the account or the network is set up wrongly
)

// Decide is the one place where an answer of WeChat becomes an outcome, a retry
// or a pause.
func Decide(c Call) Decision {
	if c.Err == nil {
		return decideSuccess(c)
	}
	e := asWeChat(c.Err)
	d := Decision{Class: e.Class(), Reply: reply(e), Unsure: e.Sent && e.Code == 0 && c.API == wechat.APIPathNotify}
	switch d.Class {
	case wechat.BadToken:
		d.Next = Again
	case wechat.Throttled:
		d.Next, d.Unsure = Hold, false
		d.Signal = Signal{Kind: Throttled, Pause: pauseOf(e, c.Now), Reason: throttleReason(e)}
	case wechat.Blocked:
		d.Next, d.Signal = Hold, Signal{Kind: Blocked, Reason: d.Reply.Reason}
	case wechat.Permanent:
		d.Next, d.Outcome, d.Signal.Kind = Settle, store.Dead, Answered
	case wechat.Mismatch: // it looked the waybill up for this account
		d.again(c.Mismatches)
		d.Signal.Kind = Works
	case wechat.Unknown:
		d.again(c.Mismatches)
		d.Signal.Kind = Answered
	default: // Transient, and whatever a later table may add
		d.Next, d.Delay = Retry, TransientDelay(c.Attempts)
		d.Signal = Signal{Kind: Fault, Reason: d.Reply.Reason}
		if e.Code == wechat.CodeLookupFailed {
			d.Signal.Kind = LookupFailed
		}
	}
	return d
}

// TransientDelay is how long an event waits that was tried so often before.
func TransientDelay(attempts int) time.Duration {
	return wait.Jitter(attempts, transientBase, transientCap)
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

// decideSuccess looks at exist: an unbound phone is an outcome, not an error.
func decideSuccess(c Call) Decision {
	d := Decision{Class: wechat.Success, Signal: Signal{Kind: Works}}
	switch {
	case !c.Exist:
		d.Next, d.Outcome = Settle, store.NotBound
		d.Reply.Reason = "the receiver's phone is not bound in WeChat"
	case c.API == wechat.APIPathNotify:
		d.Next, d.Outcome = Settle, store.Pushed
	}
	return d
}

// again bounds the retries of an event that WeChat refuses by itself.
func (d *Decision) again(mismatches int) {
	if mismatches+1 >= maxMismatches {
		d.Next, d.Outcome = Settle, store.Dead
		return
	}
	d.Next, d.Delay = Retry, wait.Jitter(mismatches, mismatchBase, mismatchCap)
}
