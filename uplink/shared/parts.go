package shared

import (
	"log/slog"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/store/event"
	"scanrelay/uplink/policy"
)

// Clock is the gateway's clock. While it is not believable nothing is synced or
// pushed.
type Clock interface {
	Now() time.Time
	Believable() bool
	// Heard tells the centre's clock as it was a moment ago, off by at most
	// about slack.
	Heard(centre time.Time, slack time.Duration)
}

// Buckets are those of calls in seconds, up to the longest.
var Buckets = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25}

// WaitBuckets are those of what a scan waits for, in seconds, up to a day.
var WaitBuckets = []float64{0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 21600, 86400}

// Parts are what both relays are made of.
type Parts struct {
	Clock     Clock
	Gate      *policy.Gate
	Answers   *Answers
	Bindings  *Bindings
	Questions *Questions
	Log       *slog.Logger
	Metrics   *metrics.Set
	OnEnded   func(event.Record) // an event ended, durably; nil: nobody asks
}

// Today is the moment by which ages are judged. While the clock is not believable it
// is zero, by which nothing is old: the clock may jump while an answer is on its way.
func (p *Parts) Today() time.Time {
	now := p.Clock.Now()
	if !p.Clock.Believable() {
		return time.Time{}
	}
	return now
}

// Ended tells OnEnded.
func (p *Parts) Ended(ended []policy.Ending) {
	if p.OnEnded == nil {
		return
	}
	for _, e := range ended {
		p.OnEnded(e.Finished(p.Clock.Now()))
	}
}
