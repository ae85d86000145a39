package valve

import (
	"context"
	"math"
	"sync"
	"time"

	"scanrelay/configs/secret"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat"
)

// longWait is how long a call may wait for its place in the rate.
const longWait = 20 * time.Second

// Valve holds calls to WeChat back, or lets them through. It is safe for
// concurrent use.
type Valve struct {
	mu      sync.Mutex
	account breaker // blocked or unreachable: all calls
	query   *limiter
	notify  *limiter
	lookups lookups
	faults  int     // in a row
	strange strange // what unknown codes were met with
	token   *token  // nil: none came yet, or it was refused
	bad     string  // generation of the token that was refused; "" if none
	// accepted is the token that WeChat took last, refusedFresh the generation for
	// whose second refusal the account is blocked.
	accepted     accepted
	refusedFresh string
	changed      chan struct{} // closed when a breaker opens or closes, or a token comes or goes
}

// New makes a valve without a token and with no limit to the rate.
func New() *Valve {
	return &Valve{strange: strange{}, query: newLimiter(wechat.APIUserQuery), notify: newLimiter(wechat.APIPathNotify), changed: make(chan struct{})}
}

// SetRate sets the calls a second; 0 or less means unlimited.
func (v *Valve) SetRate(perSecond float64) {
	if perSecond <= 0 {
		perSecond = math.Inf(1)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	v.query.allow(perSecond, now)
	v.notify.allow(perSecond, now)
}

// Rate is the calls a second that pathnotify is allowed now; +Inf: unlimited.
func (v *Valve) Rate() float64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.notify.rate(time.Now())
}

// Window is how many events may be under way: 0 until a moment, 1 while probing,
// or any number (-1). It is looked at again after each Changed.
func (v *Valve) Window() (n int, until time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	if v.tokenLocked() == nil {
		return 0, now.Add(time.Second)
	}
	for _, b := range []*breaker{&v.account, &v.notify.breaker} {
		if b.open(now) {
			return 0, b.until
		}
		if b.halfOpen(now) {
			n = 1
		}
	}
	if n == 0 {
		n = -1
	}
	return n, time.Time{}
}

// Changed returns a channel that is closed at the next change.
func (v *Valve) Changed() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.changed
}

func (v *Valve) changedLocked() {
	close(v.changed)
	v.changed = make(chan struct{})
}

// State is how WeChat stands, with the reason in an operator's words.
func (v *Valve) State() (state, reason string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	switch {
	case v.account.state == syncapi.StateBlocked:
		return syncapi.StateBlocked, v.account.reason
	case v.tokenLocked() == nil:
		return syncapi.StateNoToken, ""
	}
	for _, l := range []*limiter{v.notify, v.query} {
		if l.breaker.open(now) {
			return l.breaker.state, l.breaker.reason
		}
	}
	if v.account.state != "" {
		return v.account.state, v.account.reason
	}
	return syncapi.StateOK, ""
}

// Permit is the permission for one call. It must be handed back, once, with
// Leave, Refused or Release.
type Permit struct {
	v              *Valve
	token          *token
	limiter        *limiter
	began          time.Time
	account, inAPI int  // openings of both breakers when it entered
	probed         bool // it is the probe of a breaker
	tries          bool // it tries a token that is in doubt
}

// Token is the access token to call with.
func (p *Permit) Token() secret.Text { return p.token.value }

// Enter waits until a call of api may be made. Without a permit calls are held,
// or ctx ended: try again after that time or, if it is 0, once Window allows any.
func (v *Valve) Enter(ctx context.Context, api string) (_ *Permit, after time.Duration) {
	if !v.awaitToken(ctx) {
		return nil, 0
	}
	p, after := v.enter(ctx, api)
	if p == nil {
		return nil, after
	}
	if !p.takeToken(ctx) { // it may have changed while we waited for our place
		p.Release()
		return nil, 0
	}
	return p, 0
}

// enter takes a place in the rate and waits for it.
func (v *Valve) enter(ctx context.Context, api string) (*Permit, time.Duration) {
	l := v.notify
	if api == wechat.APIUserQuery {
		l = v.query
	}
	for ctx.Err() == nil {
		p, delay, changed := v.tryEnter(l)
		switch {
		case p != nil && v.await(ctx, p, delay):
			return p, 0
		case p != nil: // paused meanwhile
			p.Release()
		case changed == nil:
			return nil, delay
		default: // a probe is out: its answer decides
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
	}
	return nil, 0
}

// tryEnter takes a permit and says how long to wait before using it. Without one
// either a probe is out and changed tells of its answer, or calls are held so long.
func (v *Valve) tryEnter(l *limiter) (p *Permit, delay time.Duration, changed <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	for _, b := range []*breaker{&v.account, &l.breaker} {
		if b.open(now) {
			return nil, l.after(b.until, false), nil
		}
	}
	inAccount, inAPI := v.account.halfOpen(now), l.breaker.halfOpen(now)
	if (inAccount || inAPI) && (v.account.probe || l.breaker.probe) {
		return nil, 0, v.changed
	}
	r := l.reserve(now)
	if delay = r.DelayFrom(now); delay > longWait {
		r.CancelAt(now)
		return nil, l.after(now.Add(delay), true), nil
	}
	if inAccount || inAPI {
		v.account.probe, l.breaker.probe = inAccount, inAPI
	}
	return &Permit{
		v: v, limiter: l, account: v.account.openings, inAPI: l.breaker.openings,
		probed: inAccount || inAPI, began: now.Add(delay),
	}, delay, nil
}

// await waits for the place in the rate; false if calls are paused meanwhile.
func (v *Valve) await(ctx context.Context, p *Permit, delay time.Duration) bool {
	if delay == 0 {
		return true
	}
	t := time.NewTimer(delay)
	defer t.Stop()
	for {
		v.mu.Lock()
		changed, opened := v.changed, v.openedLocked(p)
		v.mu.Unlock()
		if opened {
			return false
		}
		select {
		case <-t.C:
			return true
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// openedLocked reports whether a breaker opened after p entered.
func (v *Valve) openedLocked(p *Permit) bool {
	now, b := time.Now(), &p.limiter.breaker
	return v.account.openings != p.account && v.account.open(now) || b.openings != p.inAPI && b.open(now)
}
