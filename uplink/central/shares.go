package central

import (
	"sync"
	"time"

	"scanrelay/agent/scan"
)

const (
	// shareLife is how long a depot that stays silent keeps its share. An
	// idle depot syncs every 5 s (design.md section 2, Sync).
	shareLife = 30 * time.Second
	// evenPart of the rate goes to all depots alike, so that a new scan need
	// not wait for another sync; the rest goes by backlog.
	evenPart = 0.2
	// leastPart of an even share is given even where the others have not yet
	// given theirs back: it bounds how far the fleet may pass its rate.
	leastPart = 0.05
)

// shares divides the fleet's rate. What was handed out and not given back is
// never handed out again, so the sum stays within the rate but for leastPart.
type shares struct {
	mu    sync.Mutex
	asked float64 // calls a second as configured
	rate  float64 // calls a second that are shared out
	given map[scan.DepotID]grant
}

type grant struct {
	rate    float64
	backlog int64
	at      time.Time
}

func newShares(rate float64) *shares {
	return &shares{asked: rate, rate: rate, given: map[scan.DepotID]grant{}}
}

// bound keeps the rate within what WeChat allows; 0: it does not say.
func (s *shares) bound(allowed float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rate = s.asked
	if allowed > 0 && (s.asked == 0 || allowed < s.asked) {
		s.rate = allowed
	}
}

// total returns the fleet's rate in calls a second.
func (s *shares) total() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rate
}

// share returns a depot's part until its next sync, in calls a second.
func (s *shares) share(depot scan.DepotID, backlog int64, now time.Time) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	backlog = max(0, backlog)
	s.given[depot] = grant{rate: 0, backlog: backlog, at: now}
	var total float64 // of all backlogs
	var others float64
	for id, g := range s.given {
		if now.Sub(g.at) > shareLife {
			delete(s.given, id)
			continue
		}
		total += float64(g.backlog)
		others += g.rate
	}
	even := s.rate / float64(len(s.given))
	want := even
	if total > 0 {
		want = evenPart*even + (1-evenPart)*s.rate*float64(backlog)/total
	}
	got := max(leastPart*even, min(want, s.rate-others))
	s.given[depot] = grant{rate: got, backlog: backlog, at: now}
	return got
}

// view returns a depot's present share and backlog.
func (s *shares) view(depot scan.DepotID, now time.Time) (rate float64, backlog int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.given[depot]
	if !ok || now.Sub(g.at) > shareLife {
		return 0, g.backlog
	}
	return g.rate, g.backlog
}
