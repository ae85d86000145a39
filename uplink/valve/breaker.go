package valve

import "time"

// breaker is open, or closed until a moment, or lets one probe at a time
// through until one of them succeeds. Its owner's lock guards it.
type breaker struct {
	state  string // "" when open; else what Status shows
	reason string
	until  time.Time
	probe  bool // one is out
	tries  int  // closed how often without a success in between
	closed int  // counts closings: tells calls that began before the last one
	opened time.Time
}

// shut reports whether nothing may pass at now.
func (b *breaker) shut(now time.Time) bool { return b.state != "" && now.Before(b.until) }

// probing reports whether only probes may pass.
func (b *breaker) probing(now time.Time) bool { return b.state != "" && !now.Before(b.until) }

// failures is how often it closed without a lasting success.
func (b *breaker) failures(now time.Time) int {
	if b.state == "" && now.Sub(b.opened) > time.Minute {
		return 0
	}
	return b.tries
}

// close shuts it. One that closes again soon after it opened counts on.
func (b *breaker) close(state, reason string, now, until time.Time) {
	b.tries = b.failures(now) + 1
	if b.state == "" {
		b.closed++
	}
	b.state, b.reason, b.until, b.probe = state, reason, until, false
}

// open lets everything pass.
func (b *breaker) open(now time.Time) {
	if b.state != "" {
		b.state, b.reason, b.probe, b.opened = "", "", false, now
	}
}

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
