package sync

import (
	"context"
	"errors"
	"math"

	"scanrelay/store/event"
	"scanrelay/uplink/policy"
	"scanrelay/uplink/syncapi"
)

// maxCut is how often the extras are halved: to one of each kind.
const maxCut = 12

// narrowing finds what the centre refuses a request for. First everything but
// the events is left out, then the events are halved down to one. That one is
// the culprit only if the centre takes a request without anything: a centre
// that refuses everything must not turn the whole outbox into dead letters.
type narrowing struct {
	limit   int  // events in a request; 0: maxBatch
	cut     uint // extras are cut to 1/2ᵏ
	plain   bool // the next request has no extras
	bare    bool // the next request has nothing at all
	cleared bool // a bare request was accepted while one event was suspected
}

func (n *narrowing) events() int {
	if n.limit == 0 {
		return maxBatch
	}
	return n.limit
}

// share cuts a bound of extras.
func (n *narrowing) share(bound int) int { return max(1, bound>>n.cut) }

// accepted widens again after a call that went well.
func (n *narrowing) accepted(b *batch) {
	if n.bare {
		n.bare, n.cleared = false, true
		return
	}
	if len(b.recs) > 0 {
		n.cleared = false
		if n.limit *= 2; n.limit >= maxBatch {
			n.limit = 0
		}
	}
	if b.extras() && n.cut > 0 {
		n.cut--
	}
	n.plain = n.plain && n.limit != 0 && b.full // no event behind: what was left out goes again
}

// unheard takes back what a failed call was to tell. A refused batch is
// narrowed down; more is true when that goes on at once.
func (s *Relay) unheard(b *batch, err error) (more bool, _ error) {
	s.Bindings.Unheard(b.news)
	s.Questions.Undeclared(b.declaration.fresh)
	s.Questions.Fail(b.asks, err)
	s.Questions.Fail(s.Questions.TakeResyncs(math.MaxInt), err)
	if errors.Is(err, context.DeadlineExceeded) && len(b.recs) > 1 { // perhaps too much for a slow line
		s.narrow.limit = max(1, len(b.recs)/2)
	}
	if e := asError(err); e.Refused() {
		return s.refused(b, e)
	}
	return false, err
}

// refused narrows a refused batch down by one step.
func (s *Relay) refused(b *batch, e *syncapi.Error) (more bool, _ error) {
	n := &s.narrow
	switch {
	case len(b.recs) == 0 && !b.extras(): // even nothing is refused
		*n = narrowing{}
		return false, e
	case len(b.recs) == 0:
		if n.cut++; n.cut > maxCut { // give up on these bindings
			n.cut = maxCut
			s.Bindings.News(1)
		}
		return false, e
	case b.extras():
		n.plain, n.cut = true, min(n.cut+1, maxCut)
	case len(b.recs) > 1:
		n.plain, n.limit = true, len(b.recs)/2
	case !n.cleared:
		n.bare = true
	default:
		n.cleared = false
		return true, s.bury(b.recs[0], e)
	}
	return true, nil
}

// buried are the numbers of the last events in a row that ended because the
// centre refuses their batch: it will never say that it has them. A relay that
// was started anew finds them out again.
type buried struct{ from, to uint64 }

// had is the watermark as the centre can have it.
func (b *buried) had(watermark uint64) uint64 {
	if watermark > 0 && watermark == b.to {
		return b.from - 1
	}
	return watermark
}

// bury ends the one event that the centre refuses a batch for.
func (s *Relay) bury(r event.Record, e *syncapi.Error) error {
	s.Log.Warn("central refuses a batch because of one event, which becomes a dead letter", "id", r.ID.String(), "reason", e.Error())
	if before := s.Outbox.Counts().Watermark; before != s.buried.to || before == 0 {
		s.buried.from = before + 1
	}
	s.buried.to = r.ID.Seq
	var ended []policy.Ending
	if !r.Ended {
		ended = append(ended, policy.End(r, event.Dead, "central refuses the batch because of this event: "+e.Error()))
	}
	return s.pass(r.ID.Seq, ended, nil)
}
