package lately

import (
	"context"
	"math"
	"strings"
	"sync"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store"
)

// Bounds of what is remembered.
const (
	maxScans    = 100
	minutes     = 60
	quarters    = 96 // of an hour: a day
	perQuarter  = 15 // minutes
	waitBuckets = 44 // each √2 times the one before, from a millisecond on: the last from 49 minutes on
)

// Scan is one of the last scans.
type Scan struct {
	Waybill    string    `json:"waybill_id"`
	Action     int       `json:"action_type"`
	ActionTime int64     `json:"action_time"`
	Device     string    `json:"device_id"`
	Received   time.Time `json:"received_at"`
	State      string    `json:"state"` // "": it is on its way
	eventID    string
}

// Span is what happened in a minute or a quarter of an hour.
type Span struct {
	Received uint64  `json:"received"`
	Pushed   uint64  `json:"pushed"`
	Waiting  uint64  `json:"waiting"` // at its end
	P50      float64 `json:"p50"`     // seconds from scan to push, of those that were pushed; 0: none was
	P99      float64 `json:"p99"`
}

// History is what happened, the oldest first.
type History struct {
	Minutes  []Span `json:"minutes"`
	Quarters []Span `json:"quarters"`
}

// Lately remembers. Its methods may be called concurrently.
type Lately struct {
	mu            sync.Mutex // guards what follows
	scans         []Scan     // a ring
	next          int        // where the next scan goes
	waited, whole [waitBuckets]uint64
	hist          History
	last          store.Counts // at the last sample
	begun         store.Counts // when this quarter began
	sampled       int
}

// New begins to remember; counts are those of now.
func New(counts store.Counts) *Lately { return &Lately{last: counts, begun: counts} }

// Stored is told of a batch that is on disk. What was known already is no scan more, and no
// outcome will be told of it.
func (l *Lately) Stored(b scan.Batch, stored scan.Stored) {
	if stored.Events == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := max(0, len(b.Events)-maxScans); i < len(b.Events); i++ {
		e := &b.Events[i]
		if stored.Duplicate > 0 && l.find(e) != nil {
			continue
		}
		// Copies: a part of a message would keep all of it in memory.
		s := Scan{strings.Clone(string(e.Waybill)), int(e.ActionType), e.ActionTime, strings.Clone(e.DeviceID), e.ReceivedAt, "", strings.Clone(e.EventID)}
		if len(l.scans) < maxScans {
			l.scans = append(l.scans, s)
		} else {
			l.scans[l.next] = s
		}
		l.next = (l.next + 1) % maxScans
	}
}

// find finds an event among the last scans; nil: it is none. The caller holds mu.
func (l *Lately) find(e *scan.Event) *Scan {
	for i := range l.scans {
		if l.scans[i].Waybill == string(e.Waybill) && l.scans[i].eventID == e.EventID {
			return &l.scans[i]
		}
	}
	return nil
}

// Ended is told of an event that has its outcome.
func (l *Lately) Ended(r store.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if took := r.FinishedAt.Sub(r.Event.ReceivedAt); r.State == store.Pushed && r.Event.Clockless == nil {
		l.waited[bucketOf(took)]++
	}
	if s := l.find(&r.Event); s != nil {
		s.State = r.State.String()
	}
}

func bucketOf(d time.Duration) int {
	ms := float64(d) / float64(time.Millisecond)
	if ms <= 1 {
		return 0
	}
	return min(waitBuckets-1, int(math.Ceil(2*math.Log2(ms))))
}

// quantile is the bound below which that part of what was counted lies, in seconds.
func quantile(counts *[waitBuckets]uint64, part float64) float64 {
	sum := uint64(0)
	for _, n := range counts {
		sum += n
	}
	want, seen := uint64(math.Ceil(part*float64(sum))), uint64(0)
	for i, n := range counts {
		if seen += n; sum > 0 && seen >= want {
			return math.Round(math.Pow(2, float64(i)/2)) / 1000
		}
	}
	return 0
}

// Run samples the counts each minute until ctx ends.
func (l *Lately) Run(ctx context.Context, counts func() store.Counts) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			l.sample(counts())
		}
	}
}

func (l *Lately) sample(now store.Counts) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hist.Minutes = append(l.hist.Minutes, spanOf(l.last, now, &l.waited))
	l.hist.Minutes = l.hist.Minutes[max(0, len(l.hist.Minutes)-minutes):]
	for i, n := range l.waited {
		l.whole[i] += n
	}
	l.waited, l.last = [waitBuckets]uint64{}, now
	if l.sampled++; l.sampled%perQuarter == 0 {
		l.hist.Quarters = append(l.hist.Quarters, spanOf(l.begun, now, &l.whole))
		l.hist.Quarters = l.hist.Quarters[max(0, len(l.hist.Quarters)-quarters):]
		l.whole, l.begun = [waitBuckets]uint64{}, now
	}
}

func spanOf(from, to store.Counts, waited *[waitBuckets]uint64) Span {
	return Span{
		Received: to.Received - min(from.Received, to.Received), Pushed: to.Settled[store.Pushed] - min(from.Settled[store.Pushed], to.Settled[store.Pushed]),
		Waiting: to.State[store.Unsynced] + to.State[store.AwaitingWaybill] + to.State[store.ToPush],
		P50:     quantile(waited, 0.5), P99: quantile(waited, 0.99),
	}
}

// History is what happened in the last hour and day.
func (l *Lately) History() History {
	l.mu.Lock()
	defer l.mu.Unlock()
	return History{append([]Span{}, l.hist.Minutes...), append([]Span{}, l.hist.Quarters...)}
}

// Scans are the last ones, the newest first. What devices say of themselves is masked
// here, once somebody looks.
func (l *Lately) Scans() []Scan {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Scan, len(l.scans))
	for i := range out {
		out[i] = l.scans[(l.next-1-i+2*maxScans)%maxScans]
		out[i].Device = scan.MaskPayload(out[i].Device)
	}
	return out
}
