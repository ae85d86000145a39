package uplink

import (
	"errors"
	"time"

	"scanrelay/configs/wait"
	"scanrelay/store"
)

// Reasons that the relays give in more than one place.
const reasonDuplicate = "duplicate: central has this event under another number"

// refusedReason is the reason of an event that the centre refuses.
func refusedReason(said string) string { return "central refuses the event: " + said }

// ending is a record with how it ended.
type ending struct {
	rec store.Record
	store.Settlement
}

// finished returns the record as it stands after the settlement.
func (e ending) finished(now time.Time) store.Record {
	r := e.rec
	r.State, r.Attempts, r.Last, r.FinishedAt = e.Outcome, e.Attempts, e.Last, now
	return r
}

// end commits outcomes and returns when they are durable, or when there is no
// more time: then the events are leased again by the next run.
func (p *pusher) end(ended ...ending) {
	if len(ended) == 0 {
		return
	}
	for try := 0; ; try++ {
		err := p.commit(ended)
		switch {
		case err == nil:
			return
		case errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrFailed):
			select {
			case p.failed <- err:
			default:
			}
			return
		case errors.Is(err, store.ErrNotLeased): // the others are settled
			p.log.Warn("an outcome came after its lease had ended", "error", err)
			return
		}
		p.log.Error("settle events, trying again", "error", err)
		if !wait.Sleep(p.ending, wait.Jitter(try, 100*time.Millisecond, 5*time.Second)) {
			return
		}
	}
}

func (p *pusher) commit(ended []ending) error {
	s := make([]store.Settlement, len(ended))
	for i, e := range ended {
		s[i] = e.Settlement
	}
	if err := p.outbox.Settle(p.ending, s); err != nil {
		return err
	}
	now := p.clock.Now()
	for _, e := range ended {
		p.answers.forget(e.rec.Event.Waybill, e.Seq)
		if p.onOutcome != nil {
			p.onOutcome(e.finished(now))
		}
	}
	return nil
}

// settle ends a worker's record. While no other waits for the worker, the commit
// may wait for company.
func (p *pusher) settle(r store.Record, s store.Settlement) {
	s.NoHurry = !p.crowded.Load()
	p.end(ending{r, s})
}
