package shares

import (
	"container/list"
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
	// backlogTime of the whole rate is the most that a backlog counts for.
	backlogTime = time.Second
)

// Shares are kept in the memory of one process. A share costs the same however
// many depots there are: sums are kept, and those heard of stand in the order in
// which they were.
type Shares struct {
	now func() time.Time

	mu      sync.Mutex
	asked   float64 // calls a second as configured; guarded by mu
	allowed float64 // what WeChat said last; 0: nothing; guarded by mu
	whole   float64 // the fleet's rate in calls a second; guarded by mu, as what follows
	part    float64 // of it this process shares out at most; below 0: all of it
	rate    float64 // calls a second that are shared out
	given   map[scan.DepotID]*list.Element
	heard   *list.List // of *grant, the longest silent first
	need    float64    // sum of the grants' weights
	held    float64    // sum of their rates
}

type grant struct {
	depot   scan.DepotID
	rate    float64
	weight  float64 // see weigh
	backlog int64
	at      time.Time
}

// New shares out that many calls a second.
func New(rate float64, now func() time.Time) *Shares {
	return &Shares{asked: rate, now: now, whole: rate, part: -1, rate: rate, given: map[scan.DepotID]*list.Element{}, heard: list.New()}
}

// Bound keeps the rate within what WeChat allows; 0: it does not say.
func (s *Shares) Bound(_ context.Context, allowed float64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.allowed = allowed
	s.boundLocked()
	return nil
}

// Ask changes the configured rate.
func (s *Shares) Ask(_ context.Context, rate float64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = rate
	s.boundLocked()
	return nil
}

func (s *Shares) boundLocked() {
	s.whole = s.asked
	if s.allowed > 0 && (s.asked == 0 || s.allowed < s.asked) {
		s.whole = s.allowed
	}
	s.rate = s.whole
	if s.part >= 0 {
		s.rate = min(s.whole, s.part)
	}
}

// Total returns the fleet's rate in calls a second.
func (s *Shares) Total(context.Context) (float64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.whole, nil
}

// Share returns a depot's part until its next sync, in calls a second.
func (s *Shares) Share(_ context.Context, depot scan.DepotID, backlog int64) (float64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.dropLocked(s.given[depot])
	s.silentLocked(now)
	g := &grant{depot: depot, backlog: max(0, backlog), at: now}
	g.weight = s.weighLocked(g.backlog)
	even := s.rate / float64(s.heard.Len()+1)
	want := even
	if need := s.need + g.weight; need > 0 {
		want = evenPart*even + (1-evenPart)*s.rate*g.weight/need
	}
	g.rate = max(leastPart*even, min(want, s.rate-s.held))
	s.given[depot] = s.heard.PushBack(g)
	s.need += g.weight
	s.held += g.rate
	return g.rate, nil
}

// silentLocked takes back what silent depots have.
func (s *Shares) silentLocked(now time.Time) {
	for e := s.heard.Front(); e != nil && now.Sub(e.Value.(*grant).at) > shareLife; e = s.heard.Front() {
		s.dropLocked(e)
	}
	if s.heard.Len() == 0 {
		s.need, s.held = 0, 0 // what rounding left
	}
}

// weighLocked is what a backlog counts for: no more than the whole fleet's rate
// pushes until the depot is next heard of, so that no depot takes the rate from the
// others by what it says.
func (s *Shares) weighLocked(backlog int64) float64 {
	return min(float64(backlog), s.rate*backlogTime.Seconds())
}

func (s *Shares) dropLocked(e *list.Element) {
	if e == nil {
		return
	}
	g := s.heard.Remove(e).(*grant)
	delete(s.given, g.depot)
	s.need -= g.weight
	s.held -= g.rate
}

// Of returns a depot's present share and backlog.
func (s *Shares) Of(_ context.Context, depot scan.DepotID) (rate float64, backlog int64, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.given[depot]
	if e == nil {
		return 0, 0, nil
	}
	g := e.Value.(*grant)
	if s.now().Sub(g.at) > shareLife {
		return 0, g.backlog, nil
	}
	return g.rate, g.backlog, nil
}
