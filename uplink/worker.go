package uplink

import (
	"context"
	"errors"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/configs/wait"
	"scanrelay/store"
	"scanrelay/wechat"
)

const (
	// leaseLife is how long records are leased; leaseUse is how old a lease
	// may be for a call to begin under it.
	leaseLife = 5 * time.Minute
	leaseUse  = 3 * time.Minute
	// tokenWait is how long a call waits for a token before its event is
	// given back.
	tokenWait = 30 * time.Second
)

// item is one record on its way through a worker.
type item struct {
	rec    store.Record
	data   scan.Waybill
	leased time.Time
	since  time.Time // when its answer was last found fresh
	tried  bool      // a call was made that counts as an attempt
}

// attempts is how many the record had, this lease included.
func (it *item) attempts() int {
	if it.tried {
		return it.rec.Attempts + 1
	}
	return it.rec.Attempts
}

// serve is one worker: a place in notify.concurrency. It holds its place until
// the outbox has committed what became of the record.
func (p *pusher) serve() {
	for it := range p.work {
		p.finish(&it, p.deliver(p.calling, &it))
		select {
		case p.done <- struct{}{}:
		case <-p.taking.Done(): // nobody hands out more, nobody counts
		}
	}
}

// deliver makes the calls for one record and says what comes of it.
func (p *pusher) deliver(ctx context.Context, it *item) verdict {
	if time.Since(it.leased) > leaseUse {
		return verdict{next: nextHold}
	}
	k := p.bindings.key(it.data.Receiver.Phone)
	if v := p.bound(ctx, it, k); v.next != nextGoOn {
		return v
	}
	n := notification(it.rec.Event, it.data)
	return p.call(ctx, it, wechat.APIPathNotify, func(ctx context.Context, t secret.Text) (bool, error) {
		exist, err := p.wechat.PathNotify(ctx, t, n)
		if err == nil {
			p.bindings.learned(k, it.rec.Event.Waybill, exist)
		}
		return exist, err
	})
}

// call makes one call, again with a fresh token where the first was refused.
func (p *pusher) call(ctx context.Context, it *item, api string, do func(context.Context, secret.Text) (bool, error)) verdict {
	for {
		v, again := p.once(ctx, it, api, do)
		if !again {
			return v
		}
	}
}

// once makes one call. again is true when it is to be repeated at once.
func (p *pusher) once(ctx context.Context, it *item, api string, do func(context.Context, secret.Text) (bool, error)) (v verdict, again bool) {
	if tok := p.waitToken(); tok == nil {
		return verdict{next: nextHold}, false
	}
	ticket, err := p.valve.enter(p.taking, api)
	if err != nil {
		return heldVerdict(api, err), false
	}
	tok := p.waitToken() // it may have changed while we waited for our place
	if tok == nil {
		ticket.leave(signal{})
		return verdict{next: nextHold}, false
	}
	start := time.Now()
	exist, err := do(ctx, tok.value)
	p.meters.call(api, err, time.Since(start))
	v = judge(answer{
		api: api, exist: exist, err: err, attempts: it.rec.Attempts, now: p.clock.Now(),
		disagreed: func() int { return p.answers.disagreed(it.rec.ID.Seq) },
	})
	if v.unsure {
		p.meters.unsure.Inc()
	}
	if v.next == nextAgain {
		return p.refused(ticket, tok, v)
	}
	if err == nil || asWeChat(err).Code != 0 {
		p.tokens.accepted(tok)
	}
	if p.calling.Err() != nil && err != nil { // abandoned by the stop: says nothing about WeChat
		v.signal = signal{}
	}
	ticket.leave(v.signal)
	it.tried = it.tried || v.next == nextRetry || v.next == nextSettle
	return v, false
}

// refused reports a token that WeChat did not accept. The second time running
// blocks the account.
func (p *pusher) refused(ticket *pass, tok *token, v verdict) (verdict, bool) {
	again := p.tokens.refused(tok)
	p.nudge()
	if again {
		p.log.Warn("access token refused, waiting for a fresh one", "reason", v.reply.Reason)
		ticket.leave(signal{})
		return v, true
	}
	ticket.leave(signal{kind: signalBlocked, reason: "WeChat refuses a fresh access_token as well: someone else refreshes this token, or the secret changed (" + v.reply.Reason + ")"})
	return verdict{next: nextHold, reply: v.reply}, false
}

// waitToken waits for a token, but not for ever; nil if none came.
func (p *pusher) waitToken() *token {
	ctx, cancel := context.WithTimeout(p.taking, tokenWait)
	defer cancel()
	return p.tokens.get(ctx)
}

// heldVerdict gives an event back whose call may not be made now. The dispatcher
// itself waits while pathnotify is closed; what waits for userquery alone, or for
// its place in a very low rate, comes back when that is there.
func heldVerdict(api string, err error) verdict {
	v := verdict{next: nextHold}
	var h *held
	if errors.As(err, &h) && (h.slow || api == wechat.APIUserQuery) {
		v.delay = max(0, time.Until(h.until)) + wait.UpTo(time.Second)
	}
	return v
}

// finish commits what became of the record.
func (p *pusher) finish(it *item, v verdict) {
	now := p.clock.Now()
	switch v.next {
	case nextSettle:
		p.settle(it.rec, store.Settlement{Seq: it.rec.ID.Seq, Lease: it.rec.Lease, Outcome: v.outcome, Last: v.reply, Attempts: it.attempts()})
	case nextRetry:
		p.meters.retry(v.class)
		p.release(store.Retry{Seq: it.rec.ID.Seq, Lease: it.rec.Lease, At: now.Add(v.delay), Attempts: it.attempts(), Last: v.reply})
	default:
		last := it.rec.Last
		if v.reply.Reason != "" {
			last = v.reply
		}
		p.release(store.Retry{Seq: it.rec.ID.Seq, Lease: it.rec.Lease, At: now.Add(v.delay), Attempts: it.rec.Attempts, Last: last})
	}
}
