package valve

import (
	"time"

	"scanrelay/configs/wait"
	"scanrelay/uplink/policy"
	"scanrelay/wechat"
)

// How long a breaker stays closed, and what closes it.
const (
	probeBase   = 5 * time.Second // a blocked account, then doubling
	probeCap    = 5 * time.Minute
	lookupPause = 30 * time.Second // when the reverse lookup fails
	lookupShare = 10               // of the last lookupWindow calls
	faultRun    = 5                // faults in a row that mean unreachable
	faultBase   = time.Second
	faultCap    = time.Minute
)

// Accepted tells that WeChat took the permit's token.
func (p *Permit) Accepted() {
	p.v.mu.Lock()
	defer p.v.mu.Unlock()
	p.token.trial = false
}

// Refused hands the permit back because WeChat did not accept its token. All
// calls with one token share one report to the centre. again is true when the
// call is to be made again with a fresh token; a token that came after a refusal
// and is refused as well blocks the account.
func (p *Permit) Refused(reason string) (again bool) {
	v := p.v
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.token == p.token {
		v.token, v.bad = nil, p.token.generation
		v.changedLocked()
	}
	if !p.token.trial {
		p.leaveLocked(policy.Signal{})
		return true
	}
	p.leaveLocked(policy.Signal{Kind: policy.Blocked, Reason: "WeChat refuses a fresh access_token as well: someone else refreshes this token, or the secret changed (" + reason + ")"})
	return false
}

// Leave hands the permit back with what the call taught.
func (p *Permit) Leave(s policy.Signal) {
	p.v.mu.Lock()
	defer p.v.mu.Unlock()
	p.leaveLocked(s)
}

// leave hands back a permit that was not used.
func (p *Permit) leave() { p.Leave(policy.Signal{}) }

// leaveLocked learns from a signal. Only calls that began after the last closing
// decide about it: those that were under way together count once.
func (p *Permit) leaveLocked(s policy.Signal) {
	v, now := p.v, time.Now()
	current := p.account == v.account.closed
	if p.probed {
		v.account.probe, p.limiter.breaker.probe = false, false
		defer v.changedLocked()
	}
	v.lookedUpLocked(p, s, current)
	switch s.Kind {
	case policy.Works, policy.Answered:
		v.recoveredLocked(p, s, now)
	case policy.Throttled:
		v.throttledLocked(p, s, now)
	case policy.Blocked:
		if current {
			v.blockLocked(s.Reason, now)
		}
	case policy.LookupFailed:
		v.faults = 0
		if current {
			v.lookupFailedLocked(s, now)
		}
	case policy.Fault:
		if current {
			v.faultLocked(s, now)
		}
	}
}

// lookedUpLocked counts a call in which WeChat looked the waybill up, or tried.
func (v *Valve) lookedUpLocked(p *Permit, s policy.Signal, current bool) {
	looked := s.Kind == policy.Works || s.Kind == policy.Answered || s.Kind == policy.LookupFailed
	if looked && current && p.limiter.api == wechat.APIPathNotify {
		v.lookups.add(s.Kind == policy.LookupFailed)
	}
}

// lookupFailedLocked pauses all calls when WeChat too often cannot reach the
// centre.
func (v *Valve) lookupFailedLocked(s policy.Signal, now time.Time) {
	if v.account.state == StateBlocked { // it looks waybills up for this account again
		v.account.open(now)
		v.changedLocked()
	}
	if v.lookups.count >= lookupShare || v.account.state == StateUnreachable {
		v.lookups = lookups{}
		v.closeLocked(&v.account, StateUnreachable, "reverse lookup fails: "+s.Reason, now, lookupPause)
	}
}

// recoveredLocked opens what the call was a probe of.
func (v *Valve) recoveredLocked(p *Permit, s policy.Signal, now time.Time) {
	v.faults = 0
	if b := &p.limiter.breaker; p.inAPI == b.closed && b.probing(now) {
		b.open(now)
		defer v.changedLocked()
	}
	if p.account != v.account.closed || !v.account.probing(now) {
		return
	}
	if v.account.state == StateBlocked && s.Kind != policy.Works {
		// WeChat answered this event, but nothing says that the account works.
		v.blockLocked(v.account.reason, now)
		return
	}
	v.account.open(now)
	v.changedLocked()
}

// throttledLocked pauses the API and lowers its rate. A longer pause wins.
func (v *Valve) throttledLocked(p *Permit, s policy.Signal, now time.Time) {
	v.faults = 0
	l := p.limiter
	l.slower(p.began, now)
	if !l.breaker.shut(now) || now.Add(s.Pause).After(l.breaker.until) {
		v.closeLocked(&l.breaker, StateThrottled, s.Reason, now, s.Pause)
	}
	l.rest(now, l.breaker.until)
}

// faultLocked counts calls without an answer: after some in a row every further
// one would only fail as well.
func (v *Valve) faultLocked(s policy.Signal, now time.Time) {
	v.faults++
	switch {
	case v.account.state == StateBlocked:
		v.blockLocked(v.account.reason, now)
	case v.faults >= faultRun || v.account.state != "":
		v.closeLocked(&v.account, StateUnreachable, s.Reason, now, wait.Jitter(v.account.failures(now), faultBase, faultCap))
	}
}

// blockLocked stops all calls until the next probe.
func (v *Valve) blockLocked(reason string, now time.Time) {
	d := min(probeBase<<min(v.account.failures(now), 10), probeCap)
	v.closeLocked(&v.account, StateBlocked, reason, now, d+wait.UpTo(d/10))
}

func (v *Valve) closeLocked(b *breaker, state, reason string, now time.Time, d time.Duration) {
	b.close(state, reason, now, now.Add(d))
	v.changedLocked()
}
