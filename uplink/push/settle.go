package push

import (
	"errors"
	"time"

	"scanrelay/configs/wait"
	"scanrelay/store/event"
	"scanrelay/uplink/policy"
)

// Between tries to commit outcomes.
const (
	settleBase = 100 * time.Millisecond
	settleCap  = 5 * time.Second
)

// end commits outcomes and returns when they are durable, or when there is no
// more time: then the events are leased again by the next run.
func (p *Relay) end(ended ...policy.Ending) {
	if len(ended) == 0 {
		return
	}
	for try := 0; ; try++ {
		err := p.commit(ended)
		switch {
		case err == nil:
			return
		case errors.Is(err, event.ErrClosed), errors.Is(err, event.ErrFailed):
			select {
			case p.failed <- err:
			default:
			}
			return
		case errors.Is(err, event.ErrNotLeased): // the others are settled
			p.Log.Warn("an outcome came after its lease had ended", "error", err)
			return
		}
		p.Log.Error("settle events, trying again", "error", err)
		if !wait.Sleep(p.ending, wait.Jitter(try, settleBase, settleCap)) {
			return
		}
	}
}

func (p *Relay) commit(ended []policy.Ending) error {
	if err := p.Outbox.Settle(p.ending, policy.Settlements(ended)); err != nil {
		return err
	}
	for _, e := range ended {
		p.Answers.Forget(e.Seq)
		if e.Outcome == event.Pushed {
			p.meters.pushed.Update(p.Clock.Now().Sub(e.Record.Event.ReceivedAt).Seconds())
		}
	}
	p.Ended(ended)
	return nil
}

// again gives a record back as it was, due at a moment.
func again(r event.Record, at time.Time) event.Retry {
	return event.Retry{Seq: r.ID.Seq, Lease: r.Lease, At: at, Attempts: r.Attempts, Last: r.Last}
}

// release gives leases back. Where that fails they end by themselves.
func (p *Relay) release(r event.Retry) {
	if err := p.Outbox.Release(r); err != nil && !errors.Is(err, event.ErrNotLeased) {
		p.Log.Error("release event", "seq", r.Seq, "error", err)
	}
}
