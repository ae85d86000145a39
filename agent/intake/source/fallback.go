package source

import (
	"context"
	"errors"
	"sync"
	"time"

	"scanrelay/agent/intake/link"
	"scanrelay/configs/wait"
)

// errReturn ends a session at a later broker when an earlier one is back: what
// devices publish there, and what it kept for us while it was away, would wait for
// as long as the later one stays.
var errReturn = errors.New("an earlier broker of the list can be reached again")

// Bounds of the time between two looks at the earlier brokers. It grows as long as
// they can be reached and yet do not take us.
const (
	returnAfter    = time.Minute
	maxReturnAfter = 30 * time.Minute
)

// earlier receives once a broker before the i-th can be reached, until ctx ends;
// ended returns when nobody looks any more. Nothing is said to it: who it would let
// in only a connection of this agent can tell.
func (s *Source) earlier(ctx context.Context, i int) (_ <-chan struct{}, ended func()) {
	back := make(chan struct{}, 1)
	var looking sync.WaitGroup
	if i == 0 {
		return back, looking.Wait
	}
	every := s.returns
	s.returns = min(2*every, maxReturnAfter) // serve sets it back
	looking.Go(func() {
		for ctx.Err() == nil {
			wait.Sleep(ctx, every)
			for _, broker := range s.cfg.Brokers[:i] {
				if link.Reaches(ctx, s.cfg.Config, broker) {
					back <- struct{}{}
					return
				}
			}
		}
	})
	return back, looking.Wait
}
