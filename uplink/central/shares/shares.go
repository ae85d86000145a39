package shares

import (
	"context"
	"sync"
	"time"

	"scanrelay/agent/scan"
)

const (
	// shareLife is how long a depot that stays silent keeps its share. An
	// idle depot syncs every 5 s.
	shareLife = 30 * time.Second
	// evenPart of the rate goes to all depots alike, so that a new scan need
	// not wait for another sync; the rest goes by backlog.
	evenPart = 0.2
	// leastPart of an even share is given even where the others have not yet
	// given theirs back: it bounds how far the fleet may pass its rate.
	leastPart = 0.05
)

// Shares are kept in the memory of one process.
type Shares struct {
	asked float64 // calls a second as configured
	now   func() time.Time

	mu    sync.Mutex
	rate  float64 // calls a second that are shared out; guarded by mu
	given map[scan.DepotID]grant
}

type grant struct {
	rate    float64
	backlog int64
	at      time.Time
}

// New shares out that many calls a second.
func New(rate float64, now func() time.Time) *Shares {
	return &Shares{asked: rate, now: now, rate: rate, given: map[scan.DepotID]grant{}}
}

// Bound keeps the rate within what WeChat allows; 0: it does not say.
func (s *Shares) Bound(_ context.Context, allowed float64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rate = s.asked
	if allowed > 0 && (s.asked == 0 || allowed < s.asked) {
		s.rate = allowed
	}
	return nil
}

// Total returns the fleet's rate in calls a second.
func (s *Shares) Total(context.Context) (float64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rate, nil
}

// Share returns a depot's part until its next sync, in calls a second.
func (s *Shares) Share(_ context.Context, depot scan.DepotID, backlog int64) (float64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	backlog = max(0, backlog)
	s.given[depot] = grant{backlog: backlog, at: now}
	var need, others float64 // all backlogs, and what the others hold
	for id, g := range s.given {
		if now.Sub(g.at) > shareLife {
			delete(s.given, id)
			continue
		}
		need += float64(g.backlog)
		others += g.rate
	}
	even := s.rate / float64(len(s.given))
	want := even
	if need > 0 {
		want = evenPart*even + (1-evenPart)*s.rate*float64(backlog)/need
	}
	got := max(leastPart*even, min(want, s.rate-others))
	s.given[depot] = grant{rate: got, backlog: backlog, at: now}
	return got, nil
}

// Of returns a depot's present share and backlog.
func (s *Shares) Of(_ context.Context, depot scan.DepotID) (rate float64, backlog int64, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.given[depot]
	if s.now().Sub(g.at) > shareLife {
		g.rate = 0
	}
	return g.rate, g.backlog, nil
}
