package central

import (
	"context"
	"math"
	"net/http"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/limit"
)

// What syncs may take of the memory at once. A body has 8 MiB at most before and
// after gunzip; an agent's stay well below largeBody.
const (
	depotSyncs = 2  // of one depot: an agent makes one at a time, and perhaps again over a new line
	syncSlots  = 32 // decoded and merged at once
	largeSyncs = 4  // of these, larger ones
	largeBody  = 3 << 20
	slotWait   = 5 * time.Second // before a sync is told to come again
)

// slots are the places that syncs take.
type slots struct {
	all, large chan struct{}
	depots     *limit.Places
}

func newSlots() *slots {
	return &slots{
		all: make(chan struct{}, syncSlots), large: make(chan struct{}, largeSyncs), depots: limit.NewPlaces(math.MaxInt, depotSyncs),
	}
}

// depot takes one of the depot's places, before its body is read.
func (s *slots) depot(id scan.DepotID) (leave func(), err error) {
	leave, ok := s.depots.Take(string(id))
	if !ok {
		return nil, refuse(http.StatusServiceUnavailable, "%d syncs of this depot are under way, which is as many as may be", depotSyncs)
	}
	return leave, nil
}

// take waits for a place.
func take(ctx context.Context, places chan struct{}) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, slotWait)
	defer cancel()
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	case <-ctx.Done():
		return nil, refuse(http.StatusServiceUnavailable, "the centre is overloaded, try again")
	}
}
