package clock

import (
	"sync"
	"time"
)

// Tolerance is how far the wall clock may be off the centre's.
const Tolerance = 5 * time.Minute

// Oldest is before any build of scanrelay: no clock that tells an earlier time
// is believed, whatever the build date says.
var Oldest = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Options are the sources of time. The zero value is the machine's own.
type Options struct {
	Built time.Time        // the build date; zero: unknown
	Now   func() time.Time // the wall clock; nil: time.Now
	// Boot returns the boot id and the time since boot, suspended time
	// included; nil: the kernel's.
	Boot func() (id string, since time.Duration)
	// Synced reports whether somebody keeps the wall clock right; nil: the
	// kernel says (adjtimex).
	Synced func() bool
}

// lookEvery is how often the kernel is asked again whose word holds.
const lookEvery = time.Second

// Clock is the gateway's clock. It is safe for concurrent use.
type Clock struct {
	now    func() time.Time
	boot   func() (string, time.Duration)
	synced func() bool
	floor  time.Time

	mu     sync.Mutex // guards what follows
	newest func() time.Time
	centre witness
	kernel witness
	look   time.Duration // since boot, when the kernel is asked again
}

// witness is who confirmed what time it is: at the moment of this boot it was
// zero, within slack; a zero zero: nobody did.
type witness struct {
	zero  time.Time
	slack time.Duration
}

// New returns a clock.
func New(o Options) *Clock {
	c := &Clock{now: o.Now, boot: o.Boot, synced: o.Synced, floor: Oldest}
	if c.now == nil {
		c.now = time.Now
	}
	if c.boot == nil {
		c.boot = kernelBoot
	}
	if c.synced == nil {
		c.synced = kernelSynced
	}
	if o.Built.After(c.floor) {
		c.floor = o.Built
	}
	return c
}

// SetNewest gives the newest time that the store holds; fn must be quick.
func (c *Clock) SetNewest(fn func() time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.newest = fn
}

// Now returns the wall clock, believable or not.
func (c *Clock) Now() time.Time { return c.now() }

// Boot returns the kernel's boot id and the time since that boot, suspended
// time included.
func (c *Clock) Boot() (id string, since time.Duration) { return c.boot() }

// BootZero returns the boot id and the wall time at that boot's moment 0,
// reckoned back from now.
func (c *Clock) BootZero() (id string, zero time.Time) {
	id, since := c.boot()
	return id, c.now().Round(0).Add(-since)
}

// Heard tells the centre's clock as it was a moment ago, off by at most slack.
func (c *Clock) Heard(centre time.Time, slack time.Duration) {
	if centre.IsZero() || slack < 0 {
		return
	}
	_, since := c.boot()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.centre = witness{centre.Round(0).Add(-since), slack}
}

// Offset returns how far the wall clock is ahead of the centre's; false while
// the centre was not heard.
func (c *Clock) Offset() (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, zero := c.BootZero()
	return zero.Sub(c.centre.zero), !c.centre.zero.IsZero()
}

// Believable reports whether the wall clock can be believed.
func (c *Clock) Believable() bool {
	_, zero := c.BootZero()
	now := c.now().Round(0)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case now.Before(c.floor):
		return false
	case !c.centre.zero.IsZero():
		return c.centre.agrees(zero)
	case c.newest != nil && now.Before(c.newest()):
		return false
	}
	c.askLocked(zero)
	return c.kernel.agrees(zero)
}

// askLocked asks the kernel. What it confirmed once holds on when it loses touch
// with who keeps it right: the clock of a machine goes on well for days.
func (c *Clock) askLocked(zero time.Time) {
	_, since := c.boot()
	if since < c.look && c.kernel.agrees(zero) {
		return
	}
	c.look = since + lookEvery
	if c.synced() {
		c.kernel.zero = zero
	}
}

// agrees reports whether a wall clock with this time at boot is confirmed.
func (w *witness) agrees(zero time.Time) bool {
	return !w.zero.IsZero() && zero.Sub(w.zero).Abs() <= Tolerance+w.slack
}
