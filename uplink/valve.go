package uplink

import (
	"context"
	"math"
	"sync"
	"time"

	"scanrelay/wechat"
)

// States of WeChat as interfaces.md names them.
const (
	StateOK          = "ok"
	StateThrottled   = "throttled"
	StateBlocked     = "blocked"
	StateNoToken     = "no_token"
	StateUnreachable = "unreachable"
)

// Numbers of design.md section 2 and errcodes.md.
const (
	probeBase   = 5 * time.Second // a blocked account, then doubling
	probeCap    = 5 * time.Minute
	lookupPause = 30 * time.Second // when the reverse lookup fails
	lookupShare = 10               // of the last lookupWindow calls
	faultRun    = 5                // faults in a row that mean unreachable
	faultBase   = time.Second
	faultCap    = time.Minute
)

// valve decides when calls to WeChat may be made, and how fast. It is safe for
// concurrent use.
type valve struct {
	mu      sync.Mutex
	account shutter // blocked or unreachable: all calls
	query   *lane
	notify  *lane
	lookups lookups
	faults  int           // in a row
	changed chan struct{} // closed when anything opens or closes
}

func newValve() *valve {
	return &valve{query: newLane(wechat.APIUserQuery), notify: newLane(wechat.APIPathNotify), changed: make(chan struct{})}
}

// held says that a call may not be made before a moment: calls are paused, or,
// with slow set, its place in a very low rate comes only then.
type held struct {
	until time.Time
	slow  bool
}

// longWait is how long a call may wait for its place in the rate.
const longWait = 20 * time.Second

func (h *held) Error() string { return "calls to WeChat are held" }

// pass is the permission for one call; it must be handed back with leave.
type pass struct {
	v              *valve
	lane           *lane
	began          time.Time
	account, inAPI int  // closings of both shutters when it entered
	probed         bool // it is the probe of a shutter
}

// setRate sets the calls a second; 0 or less means unlimited.
func (v *valve) setRate(perSecond float64) {
	if perSecond <= 0 {
		perSecond = math.Inf(1)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	v.query.allow(perSecond, now)
	v.notify.allow(perSecond, now)
}

// rate is the calls a second that pathnotify is allowed now; +Inf: unlimited.
func (v *valve) rate() float64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.notify.rate(time.Now())
}

func (v *valve) laneOf(api string) *lane {
	if api == wechat.APIUserQuery {
		return v.query
	}
	return v.notify
}

// enter waits until a call of api may be made. The error is a *held when calls
// are paused, or ctx's.
func (v *valve) enter(ctx context.Context, api string) (*pass, error) {
	for {
		p, wait, changed, err := v.tryEnter(api)
		if err != nil {
			return nil, err
		}
		if p == nil { // a probe is out: its answer decides
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if wait == 0 {
			return p, nil
		}
		if err := v.await(ctx, p, wait); err != nil {
			return nil, err
		}
		return p, nil
	}
}

// tryEnter takes a pass and says how long to wait before using it; no pass
// means that a probe is out.
func (v *valve) tryEnter(api string) (p *pass, wait time.Duration, changed <-chan struct{}, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now, l := time.Now(), v.laneOf(api)
	for _, s := range []*shutter{&v.account, &l.shutter} {
		if s.shut(now) {
			return nil, 0, nil, &held{until: s.until}
		}
	}
	probed := v.account.probing(now) || l.shutter.probing(now)
	if probed && (v.account.probe || l.shutter.probe) {
		return nil, 0, v.changed, nil
	}
	r := l.reserve(now)
	if wait = r.DelayFrom(now); wait > longWait {
		r.CancelAt(now)
		return nil, 0, nil, &held{until: now.Add(wait), slow: true}
	}
	if probed {
		v.account.probe, l.shutter.probe = v.account.probing(now), l.shutter.probing(now)
	}
	p = &pass{v: v, lane: l, account: v.account.closed, inAPI: l.shutter.closed, probed: probed}
	p.began = now.Add(wait)
	return p, wait, nil, nil
}

// await waits for the place in the rate, unless calls are paused meanwhile.
func (v *valve) await(ctx context.Context, p *pass, wait time.Duration) error {
	t := time.NewTimer(wait)
	defer t.Stop()
	for {
		v.mu.Lock()
		changed, until := v.changed, v.shutUntilLocked(p)
		v.mu.Unlock()
		if !until.IsZero() {
			p.leave(signal{})
			return &held{until: until}
		}
		select {
		case <-t.C:
			return nil
		case <-changed:
		case <-ctx.Done():
			p.leave(signal{})
			return ctx.Err()
		}
	}
}

// shutUntilLocked is when what closed after p entered opens; zero: nothing did.
func (v *valve) shutUntilLocked(p *pass) time.Time {
	now := time.Now()
	switch {
	case v.account.closed != p.account && v.account.shut(now):
		return v.account.until
	case p.lane.shutter.closed != p.inAPI && p.lane.shutter.shut(now):
		return p.lane.shutter.until
	}
	return time.Time{}
}

// window tells the dispatcher how many records may be under way: 0 until a
// moment, 1 while probing, or any number (-1).
func (v *valve) window() (n int, until time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	for _, s := range []*shutter{&v.account, &v.notify.shutter} {
		if s.shut(now) {
			return 0, s.until
		}
		if s.probing(now) {
			n = 1
		}
	}
	if n == 0 {
		n = -1
	}
	return n, time.Time{}
}

// next returns a channel that is closed at the next change.
func (v *valve) next() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.changed
}

func (v *valve) changedLocked() {
	close(v.changed)
	v.changed = make(chan struct{})
}

// state is how WeChat stands, without the token.
func (v *valve) state() (state, reason string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	if v.account.state == StateBlocked {
		return v.account.state, v.account.reason
	}
	for _, l := range []*lane{v.notify, v.query} {
		if l.shutter.shut(now) {
			return l.shutter.state, l.shutter.reason
		}
	}
	if v.account.state != "" {
		return v.account.state, v.account.reason
	}
	return StateOK, ""
}
