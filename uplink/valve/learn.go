package valve

import (
	"fmt"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
	"scanrelay/uplink/policy"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat"
)

// How long a breaker stays open, and what trips it.
const (
	probeBase   = 5 * time.Second // a blocked account, then doubling
	probeCap    = 5 * time.Minute
	lookupPause = 30 * time.Second // when the reverse lookup fails
	lookupShare = 10               // of the last lookupWindow calls
	faultRun    = 5                // faults in a row that mean unreachable
	faultBase   = time.Second
	faultCap    = time.Minute
	lagPause    = 2 * time.Second // after a good token was refused
)

// Leave hands the permit back with what the answer means. account is true when it
// says nothing about the event: a code that nobody knows, which many waybills
// running were refused with.
func (p *Permit) Leave(d policy.Decision) (account bool) {
	p.v.mu.Lock()
	defer p.v.mu.Unlock()
	if d.Class == wechat.Success || d.Reply.ErrCode > 0 { // -1, busy, comes before WeChat looks at the token
		p.tookLocked(time.Now())
	}
	p.backLocked()
	account = p.v.strange.add(d)
	p.learnLocked(d)
	if account && p.v.account.state != syncapi.StateBlocked {
		p.v.blockLocked(fmt.Sprintf("%d waybills running were refused with a code that scanrelay does not know: it concerns the account; ask WeChat (%s)",
			strangeRun, d.Reply.Reason), time.Now())
	}
	return account
}

// strangeRun is how many different waybills running must be refused with the same
// unknown code, without a success between, for it to concern the account.
const strangeRun = 10

// strange are the waybills that each unknown code refused since the last success.
type strange map[int]map[scan.WaybillID]bool

// add counts an answer, and reports whether it concerns the account.
func (s strange) add(d policy.Decision) bool {
	switch d.Class {
	case wechat.Success, wechat.Mismatch: // it works for this account
		clear(s)
	case wechat.Unknown:
		code := d.Reply.ErrCode
		if s[code] == nil {
			s[code] = map[scan.WaybillID]bool{}
		}
		if len(s[code]) < strangeRun {
			s[code][d.Waybill] = true
		}
		return len(s[code]) >= strangeRun
	}
	return false
}

// Release hands back a permit that taught nothing.
func (p *Permit) Release() {
	p.v.mu.Lock()
	defer p.v.mu.Unlock()
	p.backLocked()
}

// Refused hands the permit back because WeChat did not accept its token. again is
// true when the call is to be made again with a fresh token; else its event is held,
// for that time if it is not 0.
//
// A token that WeChat took in a call of the same API since this one began is good:
// WeChat's own copies of it lag behind. Else all calls with it share one report to
// the centre, and one that came after a refusal and is refused as well blocks the
// account.
func (p *Permit) Refused(reason string) (again bool, after time.Duration) {
	v := p.v
	v.mu.Lock()
	defer v.mu.Unlock()
	p.backLocked()
	if last := p.limiter.accepted; last.generation == p.token.generation && last.at.After(p.began) {
		return false, wait.UpTo(lagPause)
	}
	if v.token == p.token {
		v.token, v.bad = nil, p.token.generation
		v.changedLocked()
	}
	if p.token.trial && p.account == v.account.openings {
		v.refusedFresh = p.token.generation
		v.blockLocked("WeChat refuses a fresh access_token as well: someone else refreshes this token, or the secret changed ("+reason+")", time.Now())
	}
	return !p.token.trial, 0
}

// backLocked lets the next probe through if this was one.
func (p *Permit) backLocked() {
	if p.tries && p.token.doubted {
		p.token.trying = false
		p.v.changedLocked()
	}
	if p.probed {
		p.v.account.probe, p.limiter.breaker.probe = false, false
		p.v.changedLocked()
	}
}

// learnLocked trips and resets breakers. Only calls that began after the last
// opening decide about it: those that were under way together count once.
func (p *Permit) learnLocked(d policy.Decision) {
	v, now := p.v, time.Now()
	current := p.account == v.account.openings
	lookup := d.Reply.ErrCode == wechat.CodeLookupFailed
	switch d.Class {
	case wechat.Success, wechat.Mismatch, wechat.Permanent, wechat.Unknown:
		v.countLocked(p, lookup)
		// After a mismatch as well: it looked the waybill up for this account.
		v.recoveredLocked(p, d.Class == wechat.Success || d.Class == wechat.Mismatch, now)
	case wechat.Throttled:
		v.throttledLocked(p, d, now)
	case wechat.Blocked:
		if current {
			v.blockLocked(d.Reply.Reason, now)
		}
	default: // transient
		switch {
		case lookup:
			v.countLocked(p, lookup)
			v.faults = 0
			if current {
				v.lookupFailedLocked(d.Reply.Reason, now)
			}
		case current:
			v.faultLocked(d.Reply.Reason, now)
		}
	}
}

// countLocked counts a call in which WeChat looked the waybill up, or tried.
func (v *Valve) countLocked(p *Permit, failed bool) {
	if p.limiter.api == wechat.APIPathNotify && p.account == v.account.openings {
		v.lookups.add(failed)
	}
}

// lookupFailedLocked pauses all calls when WeChat too often cannot reach the
// centre.
func (v *Valve) lookupFailedLocked(reason string, now time.Time) {
	if v.account.state == syncapi.StateBlocked { // it looks waybills up for this account again
		v.account.reset(now)
		v.changedLocked()
	}
	if v.lookups.failed() >= lookupShare || v.account.state == syncapi.StateUnreachable {
		v.lookups = 0
		v.tripLocked(&v.account, syncapi.StateUnreachable, "reverse lookup fails: "+reason, now, lookupPause)
	}
}

// recoveredLocked resets what the call was a probe of. An answer about one event
// alone does not say that a blocked account works.
func (v *Valve) recoveredLocked(p *Permit, works bool, now time.Time) {
	v.faults = 0
	if b := &p.limiter.breaker; p.inAPI == b.openings && b.halfOpen(now) {
		b.reset(now)
		defer v.changedLocked()
	}
	if p.account != v.account.openings || !v.account.halfOpen(now) {
		return
	}
	if v.account.state == syncapi.StateBlocked && !works {
		v.blockLocked(v.account.reason, now)
		return
	}
	v.account.reset(now)
	v.changedLocked()
}

// throttledLocked pauses the API and lowers its rate. A longer pause wins.
func (v *Valve) throttledLocked(p *Permit, d policy.Decision, now time.Time) {
	v.faults = 0
	l := p.limiter
	l.slower(p.began, now)
	if !l.breaker.open(now) || now.Add(d.Pause).After(l.breaker.until) {
		v.tripLocked(&l.breaker, syncapi.StateThrottled, d.Reply.Reason, now, d.Pause)
	}
	l.rest(now, l.breaker.until)
}

// faultLocked counts calls without an answer: after some in a row every further
// one would only fail as well.
func (v *Valve) faultLocked(reason string, now time.Time) {
	v.faults++
	switch {
	case v.account.state == syncapi.StateBlocked: // a probe that says nothing about it
		v.account.until, v.account.probe = now.Add(probeBase+wait.UpTo(probeBase/10)), false
		v.changedLocked()
	case v.faults >= faultRun || v.account.state != "":
		v.tripLocked(&v.account, syncapi.StateUnreachable, reason, now, wait.Jitter(v.account.failures(now), faultBase, faultCap))
	}
}

// blockLocked stops all calls until the next probe.
func (v *Valve) blockLocked(reason string, now time.Time) {
	d := min(probeBase<<min(v.account.failures(now), 10), probeCap)
	v.tripLocked(&v.account, syncapi.StateBlocked, reason, now, d+wait.UpTo(d/10))
}

func (v *Valve) tripLocked(b *breaker, state, reason string, now time.Time, d time.Duration) {
	b.trip(state, reason, now, now.Add(d))
	v.changedLocked()
}
