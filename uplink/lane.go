package uplink

import (
	"math"
	"time"

	"golang.org/x/time/rate"
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
	// slowest is the rate below which no refusal drives a lane.
	slowest = 1.0
)

// shutter is open, or closed until a moment, or lets one probe at a time
// through until one of them succeeds. Its owner's lock guards it.
type shutter struct {
	state  string // "" when open; else what Status shows
	reason string
	until  time.Time
	probe  bool // one is out
	tries  int  // closed how often without a success in between
	closed int  // counts closings: tells calls that began before the last one
	opened time.Time
}

// shut reports whether nothing may pass at now.
func (s *shutter) shut(now time.Time) bool { return s.state != "" && now.Before(s.until) }

// probing reports whether only probes may pass.
func (s *shutter) probing(now time.Time) bool { return s.state != "" && !now.Before(s.until) }

// close shuts it. A shutter that closes again soon after it opened counts on.
func (s *shutter) close(state, reason string, now, until time.Time) {
	if s.state == "" {
		s.closed++
		if now.Sub(s.opened) > time.Minute {
			s.tries = 0
		}
	}
	s.state, s.reason, s.until, s.probe = state, reason, until, false
	s.tries++
}

// open lets everything pass.
func (s *shutter) open(now time.Time) {
	if s.state != "" {
		s.state, s.reason, s.probe, s.opened = "", "", false, now
	}
}

// lane is one API of WeChat: its pauses and its rate. The valve's lock guards it.
type lane struct {
	api     string
	shutter shutter
	limiter *rate.Limiter
	base    float64       // calls a second by share and configuration; +Inf: unlimited
	cut     float64       // rate right after the last refusal; 0: none in force
	cutAt   time.Time     // growth begins; calls begun before it were under way at the refusal
	growth  time.Duration // how long it takes
	meter   meter
}

func newLane(api string) *lane {
	return &lane{api: api, limiter: rate.NewLimiter(rate.Inf, 1), base: math.Inf(1)}
}

// allow sets the base rate.
func (l *lane) allow(perSecond float64, now time.Time) {
	if l.base != perSecond {
		l.base = perSecond
		l.pace(now)
	}
}

// pace brings the limiter to the rate that holds now.
func (l *lane) pace(now time.Time) {
	r := l.rate(now)
	if math.IsInf(r, 1) {
		l.limiter.SetLimitAt(now, rate.Inf)
		return
	}
	r *= headroom
	l.limiter.SetLimitAt(now, rate.Limit(r))
	l.limiter.SetBurstAt(now, max(1, int(r/1000))) // a millisecond's worth
}

// rate is how many calls a second are allowed at now.
func (l *lane) rate(now time.Time) float64 {
	if l.cut == 0 {
		return l.base
	}
	passed := max(0, now.Sub(l.cutAt))
	grown := l.cut + l.cut/cutFactor*(1-cutFactor)*passed.Seconds()/l.growth.Seconds()
	whole := min(l.base, 2*l.cut/cutFactor)
	if grown >= whole {
		l.cut = 0
		return l.base
	}
	return grown
}

// slower halves the rate, once for all calls that were under way together.
func (l *lane) slower(began, now time.Time) {
	if !began.After(l.cutAt) {
		return
	}
	l.cut = max(slowest, cutFactor*min(l.rate(now), l.meter.rate(now)))
	l.cutAt, l.growth = now, regrow
	l.pace(now)
}

// rest lets the rate grow only once a pause is over.
func (l *lane) rest(now, until time.Time) {
	if l.cut != 0 && until.After(l.cutAt) {
		l.cutAt, l.growth = until, min(max(regrow, pauses*until.Sub(now)), slowRegrow)
	}
}

// reserve takes a place in the lane's rate and returns when it comes.
func (l *lane) reserve(now time.Time) *rate.Reservation {
	l.meter.count(now)
	if l.cut != 0 {
		l.pace(now)
	}
	return l.limiter.ReserveN(now, 1)
}

// meter measures calls a second.
type meter struct {
	second   int64
	now, was float64
}

func (m *meter) move(now time.Time) {
	switch s := now.Unix(); {
	case s == m.second+1:
		m.second, m.was, m.now = s, m.now, 0
	case s != m.second:
		m.second, m.was, m.now = s, 0, 0
	}
}

func (m *meter) count(now time.Time) { m.move(now); m.now++ }

func (m *meter) rate(now time.Time) float64 { m.move(now); return max(m.was, m.now) }
