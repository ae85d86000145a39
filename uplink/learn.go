package uplink

import (
	"time"

	"scanrelay/configs/wait"
	"scanrelay/wechat"
)

// lookupWindow is how many pathnotify calls the share of failed reverse lookups
// is taken of.
const lookupWindow = 20

// lookups remembers of the last calls which ones ended because WeChat could not
// reach the centre.
type lookups struct {
	failed [lookupWindow]bool
	at     int
	count  int // of failed
}

func (r *lookups) add(failed bool) {
	if r.failed[r.at] {
		r.count--
	}
	if failed {
		r.count++
	}
	r.failed[r.at] = failed
	r.at = (r.at + 1) % lookupWindow
}

// leave hands the pass back with what the call taught. Only calls that began
// after the last closing decide about it: those that were under way together
// count once.
func (p *pass) leave(s signal) {
	v := p.v
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	current := p.account == v.account.closed
	if p.probed {
		v.account.probe, p.lane.shutter.probe = false, false
		defer v.changedLocked()
	}
	if p.lane.api == wechat.APIPathNotify && current && (s.kind == signalWorks || s.kind == signalAnswered || s.kind == signalLookup) {
		v.lookups.add(s.kind == signalLookup)
	}
	switch s.kind {
	case signalWorks, signalAnswered:
		v.recoveredLocked(p, s, now)
	case signalThrottled:
		v.throttledLocked(p, s, now)
	case signalBlocked:
		if current {
			v.blockLocked(s.reason, now)
		}
	case signalLookup:
		v.faults = 0
		if current && v.account.state == StateBlocked { // it looks waybills up for this account again
			v.account.open(now)
			v.changedLocked()
		}
		if current && (v.lookups.count >= lookupShare || v.account.state == StateUnreachable) {
			v.lookups = lookups{}
			v.closeLocked(&v.account, StateUnreachable, "reverse lookup fails: "+s.reason, now, lookupPause)
		}
	case signalFault:
		if current {
			v.faultLocked(s, now)
		}
	}
}

// triesLocked is how often the account closed without a lasting success.
func (v *valve) triesLocked(now time.Time) int {
	if v.account.state == "" && now.Sub(v.account.opened) > time.Minute {
		return 0
	}
	return v.account.tries
}

// recoveredLocked opens what the call was a probe of.
func (v *valve) recoveredLocked(p *pass, s signal, now time.Time) {
	v.faults = 0
	if p.inAPI == p.lane.shutter.closed && p.lane.shutter.probing(now) {
		p.lane.shutter.open(now)
		defer v.changedLocked()
	}
	if p.account != v.account.closed || !v.account.probing(now) {
		return
	}
	if v.account.state == StateBlocked && s.kind != signalWorks {
		// WeChat answered this event, but nothing says that the account works.
		v.blockLocked(v.account.reason, now)
		return
	}
	v.account.open(now)
	v.changedLocked()
}

// throttledLocked pauses the API and lowers its rate. A longer pause wins.
func (v *valve) throttledLocked(p *pass, s signal, now time.Time) {
	v.faults = 0
	p.lane.slower(p.began, now)
	if until := now.Add(s.pause); !p.lane.shutter.shut(now) || until.After(p.lane.shutter.until) {
		v.closeLocked(&p.lane.shutter, StateThrottled, s.reason, now, s.pause)
	}
	p.lane.rest(now, p.lane.shutter.until)
}

// faultLocked counts calls without an answer: after some in a row every further
// one would only fail as well.
func (v *valve) faultLocked(s signal, now time.Time) {
	v.faults++
	if v.faults < faultRun && v.account.state == "" {
		return
	}
	if v.account.state == StateBlocked {
		v.blockLocked(v.account.reason, now)
		return
	}
	v.closeLocked(&v.account, StateUnreachable, s.reason, now, wait.Jitter(v.triesLocked(now), faultBase, faultCap))
}

// blockLocked stops all calls until the next probe.
func (v *valve) blockLocked(reason string, now time.Time) {
	d := min(probeBase<<min(v.triesLocked(now), 10), probeCap)
	v.closeLocked(&v.account, StateBlocked, reason, now, d+wait.UpTo(d/10))
}

func (v *valve) closeLocked(s *shutter, state, reason string, now time.Time, d time.Duration) {
	s.close(state, reason, now, now.Add(d))
	v.changedLocked()
}
