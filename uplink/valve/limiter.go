package valve

import (
	"math"
	"time"

	"golang.org/x/time/rate"

	"scanrelay/configs/wait"
	"scanrelay/wechat"
)

const (
	// headroom keeps calls a little below the allowed rate: WeChat counts in
	// windows of its own, into which one call more may fall by chance.
	headroom = 0.98
	// cutFactor and regrow are AIMD: after a refusal half of the rate, grown
	// back evenly from the end of the pause: within regrow, or within pauses
	// times the pause where that is longer, at most slowRegrow. A minute's quota
	// must not be run into anew each minute.
	cutFactor  = 0.5
	regrow     = 30 * time.Second
	pauses     = 5
	slowRegrow = 5 * time.Minute
	// slowest is the rate below which no refusal drives an API.
	slowest = 1.0
)

// limiter is one API of WeChat: its pauses and its rate. The valve's lock guards
// it.
type limiter struct {
	api     string
	breaker breaker
	places  *rate.Limiter
	base    float64       // calls a second by share and configuration; +Inf: unlimited
	cut     float64       // rate right after the last refusal; 0: none in force
	cutAt   time.Time     // growth begins; calls begun before it were under way at the refusal
	growth  time.Duration // how long it takes
	meter   Meter
	// accepted is the token that a call of this API was last taken with.
	accepted accepted
}

func newLimiter(api string) *limiter {
	return &limiter{api: api, places: rate.NewLimiter(rate.Inf, 1), base: math.Inf(1)}
}

// allow sets the base rate.
func (l *limiter) allow(perSecond float64, now time.Time) {
	if l.base != perSecond {
		l.base = perSecond
		l.pace(now)
	}
}

// pace brings the places to the rate that holds now.
func (l *limiter) pace(now time.Time) {
	r := l.rate(now)
	if math.IsInf(r, 1) {
		l.places.SetLimitAt(now, rate.Inf)
		return
	}
	r *= headroom
	l.places.SetLimitAt(now, rate.Limit(r))
	l.places.SetBurstAt(now, max(1, int(r/1000))) // a millisecond's worth
}

// rate is how many calls a second are allowed at now.
func (l *limiter) rate(now time.Time) float64 {
	if l.cut == 0 {
		return l.base
	}
	passed := max(0, now.Sub(l.cutAt))
	grown := l.cut + l.cut/cutFactor*(1-cutFactor)*passed.Seconds()/l.growth.Seconds()
	if grown >= min(l.base, 2*l.cut/cutFactor) {
		l.cut = 0
		return l.base
	}
	return grown
}

// slower halves the rate, once for all calls that were under way together.
func (l *limiter) slower(began, now time.Time) {
	if !began.After(l.cutAt) {
		return
	}
	l.cut = max(slowest, cutFactor*min(l.rate(now), l.meter.Rate(now)))
	l.cutAt, l.growth = now, regrow
	l.pace(now)
}

// rest lets the rate grow only once a pause is over.
func (l *limiter) rest(now, until time.Time) {
	if l.cut != 0 && until.After(l.cutAt) {
		l.cutAt, l.growth = until, min(max(regrow, pauses*until.Sub(now)), slowRegrow)
	}
}

// reserve takes a place in the rate and returns when it comes.
func (l *limiter) reserve(now time.Time) *rate.Reservation {
	l.meter.Count(now)
	if l.cut != 0 {
		l.pace(now)
	}
	return l.places.ReserveN(now, 1)
}

// after is how long a call waits that may not be made before a moment. Window
// shows when pathnotify may be called; what waits for userquery alone, or for its
// place in a very low rate, must come back by itself.
func (l *limiter) after(until time.Time, slow bool) time.Duration {
	if slow || l.api == wechat.APIUserQuery {
		return max(0, time.Until(until)) + wait.UpTo(time.Second)
	}
	return 0
}

// Meter measures how much happens in a second. It is not for concurrent use.
type Meter struct {
	second   int64
	now, was float64
}

func (m *Meter) move(now time.Time) {
	switch s := now.Unix(); {
	case s == m.second+1:
		m.second, m.was, m.now = s, m.now, 0
	case s != m.second:
		m.second, m.was, m.now = s, 0, 0
	}
}

// Count adds one.
func (m *Meter) Count(now time.Time) { m.move(now); m.now++ }

// Rate is the larger count of this second and the last.
func (m *Meter) Rate(now time.Time) float64 { m.move(now); return max(m.was, m.now) }
