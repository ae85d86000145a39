package demo

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"scanrelay/wechat/fake"
)

// Options of a demo.
type Options struct {
	// Duration is how long scanners scan; then the demo drains for at most
	// DrainLimit and ends. 0: until ctx ends.
	Duration time.Duration
	Parcels  int           // in all; default 200
	Offline  time.Duration // the uplink is cut once for that long; 0: never
	// Rollout is Good or Bad: instead of scans a release goes to so many Depots.
	Rollout string
	Depots  int          // default 200
	Listen  net.Listener // the page's; Run closes it
	Out     io.Writer    // what a person reads
	// Faults makes the fake WeChat misbehave (wechat/fake, Script).
	Faults  fake.Script
	Version string
	Logger  *slog.Logger // default: nothing is logged
}

// DrainLimit bounds how long a demo with a duration waits for the last outcome.
const DrainLimit = 3 * time.Minute

const (
	defaultParcels = 200
	defaultDepots  = 200
	maxDepots      = 2000
)

// What becomes of the release that a demo rolls out.
const (
	Good = "good" // it reaches all
	Bad  = "bad"  // it crashes at one in three
)

func (o Options) withDefaults() (Options, error) {
	if o.Listen == nil || o.Out == nil {
		return o, errors.New("run demo: it needs a listener for the page and a writer")
	}
	if o.Duration < 0 || o.Offline < 0 || o.Parcels < 0 {
		return o, errors.New("run demo: duration, offline and parcels must not be negative")
	}
	if o.Rollout != "" && o.Rollout != Good && o.Rollout != Bad {
		return o, fmt.Errorf("run demo: rollout is %s or %s", Good, Bad)
	}
	if o.Depots < 0 || o.Depots > maxDepots {
		return o, fmt.Errorf("run demo: there can be %d depots at most", maxDepots)
	}
	o.Depots = cmp.Or(o.Depots, defaultDepots)
	o.Parcels = cmp.Or(o.Parcels, defaultParcels)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	o.Version = cmp.Or(o.Version, "demo")
	return o, nil
}

// pace is how fast parcels come and travel.
type pace struct {
	every  time.Duration // between two parcels' first scans
	travel time.Duration // from a parcel's first scan to its last, about
}

// The pace without a duration: slow enough to follow with the eyes.
const (
	calmTravel = 22 * time.Second
	calmEvery  = 1200 * time.Millisecond
	calmTotal  = 5 * time.Minute // for many parcels, about
)

// pace fits all parcels into the duration.
func (o Options) pace() pace {
	if o.Duration == 0 {
		return pace{every: min(calmEvery, calmTotal/time.Duration(o.Parcels)), travel: calmTravel}
	}
	travel := min(14*time.Second, o.Duration*45/100)
	room := o.Duration*9/10 - travel
	return pace{every: room / time.Duration(o.Parcels), travel: travel}
}

// cutAt is when the uplink is cut.
func (o Options) cutAt() time.Duration {
	if o.Duration == 0 {
		return 15 * time.Second
	}
	return max(o.Duration/10, min(o.Duration/4, o.Duration-o.Offline-o.Duration/10))
}

// wechatDelay is how long each of WeChat's answers takes: long enough to see,
// unless there is so much to do that it would hold everything up.
func (o Options) wechatDelay() time.Duration {
	if o.pace().every < 25*time.Millisecond {
		return 0
	}
	return 60 * time.Millisecond
}
