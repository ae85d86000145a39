package valve

import (
	"math/bits"
	"time"
)

// breaker is a circuit breaker. Closed it lets calls pass; open, until a moment,
// none; then half-open: one probe at a time, until one of them succeeds. Its
// owner's lock guards it.
type breaker struct {
	state    string // "" when closed; else what Status shows
	reason   string
	until    time.Time // open till then
	probe    bool      // one is out
	trips    int       // in a row without a success in between
	openings int       // tells calls that began before the last one
	closedAt time.Time
}

// open reports whether no call may pass at now.
func (b *breaker) open(now time.Time) bool { return b.state != "" && now.Before(b.until) }

// halfOpen reports whether only probes may pass.
func (b *breaker) halfOpen(now time.Time) bool { return b.state != "" && !now.Before(b.until) }

// failures is how often it tripped without a lasting success.
func (b *breaker) failures(now time.Time) int {
	if b.state == "" && now.Sub(b.closedAt) > time.Minute {
		return 0
	}
	return b.trips
}

// trip opens it. One that trips again soon after it closed counts on.
func (b *breaker) trip(state, reason string, now, until time.Time) {
	b.trips = b.failures(now) + 1
	if b.state == "" {
		b.openings++
	}
	b.state, b.reason, b.until, b.probe = state, reason, until, false
}

// reset closes it.
func (b *breaker) reset(now time.Time) {
	if b.state != "" {
		b.state, b.reason, b.probe, b.closedAt = "", "", false, now
	}
}

// lookupWindow is how many pathnotify calls the share of failed reverse lookups
// is taken of.
const lookupWindow = 20

// lookups remembers of the last calls, a bit each, which ones ended because WeChat
// could not reach the centre.
type lookups uint32

func (l *lookups) add(failed bool) {
	*l = *l << 1 & (1<<lookupWindow - 1)
	if failed {
		*l |= 1
	}
}

func (l lookups) failed() int { return bits.OnesCount32(uint32(l)) }
