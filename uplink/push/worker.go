package push

import (
	"context"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/store/event"
	"scanrelay/uplink/policy"
	"scanrelay/uplink/shared"
	"scanrelay/uplink/valve"
	"scanrelay/uplink/wire"
	"scanrelay/wechat"
)

// leaseUse is how old a lease may be for a call to begin under it.
const leaseUse = 3 * time.Minute

// item is one record on its way through a worker.
type item struct {
	rec    event.Record
	data   scan.Waybill
	leased time.Time
	since  time.Time // when its answer was last found fresh
	phone  shared.PhoneKey
	tried  bool // a call was made that counts as an attempt
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
func (p *Relay) serve() {
	for it := range p.work {
		p.finish(&it, p.deliver(p.calling, &it))
		select {
		case p.done <- struct{}{}:
		case <-p.taking.Done(): // nobody hands out more, nobody counts
		}
	}
}

// deliver makes the calls for one record and says what comes of it.
func (p *Relay) deliver(ctx context.Context, it *item) policy.Decision {
	if time.Since(it.leased) > leaseUse {
		return policy.Decision{Next: policy.Hold}
	}
	it.phone = p.Bindings.Key(it.data.Receiver.Phone)
	if d := p.bound(ctx, it); d.Next != policy.GoOn {
		return d
	}
	n := wire.Notification(&it.rec.Event, &it.data)
	return p.call(it, wechat.APIPathNotify, func(t secret.Text) (bool, error) { return p.WeChat.PathNotify(ctx, t, n) })
}

// holds reports whether a call may begin now: the lease will not end before its
// answer and, for a push, the centre's word is not too old.
func (p *Relay) holds(it *item, api string) bool {
	if api == wechat.APIPathNotify {
		if _, advice := p.Answers.About(it.rec); advice != shared.Push {
			return false
		}
	}
	return time.Since(it.leased) <= leaseUse
}

// call makes one call, again with a fresh token where the first was refused.
func (p *Relay) call(it *item, api string, do func(secret.Text) (bool, error)) policy.Decision {
	for {
		permit, after := p.Valve.Enter(p.taking, api)
		if permit == nil {
			return policy.Decision{Next: policy.Hold, Delay: after}
		}
		if !p.holds(it, api) { // any more
			permit.Release()
			return policy.Decision{Next: policy.Hold}
		}
		d := p.once(it, api, func() (bool, error) { return do(permit.Token()) })
		if d.Next != policy.Again {
			return p.learn(it, permit, d)
		}
		again, after := permit.Refused(d.Reply.Reason)
		p.Questions.Nudge()
		if !again {
			return policy.Decision{Next: policy.Hold, Reply: d.Reply, Delay: after}
		}
		p.Log.Warn("access token refused, waiting for a fresh one", "reason", d.Reply.Reason)
	}
}

// once makes one call and decides what it means.
func (p *Relay) once(it *item, api string, do func() (bool, error)) policy.Decision {
	start := time.Now()
	p.Calls.Begin()
	exist, err := do()
	p.Calls.End()
	p.meters.call(api, err, time.Since(start))
	if err == nil {
		p.Bindings.Learned(it.phone, it.rec.Event.Waybill, exist)
	}
	d := policy.Decide(policy.Call{
		API: api, Exist: exist, Err: err, Now: p.Clock.Now(),
		Attempts: it.rec.Attempts, Mismatches: p.Answers.Mismatches(it.rec.ID.Seq),
	})
	d.Waybill = it.rec.Event.Waybill
	if d.Unsure {
		p.meters.unsure.Inc()
	}
	return d
}

// learn keeps what a call taught and hands its permit back. Where the answer
// concerns the account and not the event, the event is held.
func (p *Relay) learn(it *item, permit *valve.Permit, d policy.Decision) policy.Decision {
	if d.Class != wechat.Success && p.calling.Err() != nil { // abandoned by the stop: says nothing about WeChat
		permit.Release()
	} else if permit.Leave(d) {
		return policy.Decision{Next: policy.Hold, Class: wechat.Blocked, Reply: d.Reply}
	}
	if policy.Mismatch(d.Reply) {
		p.Answers.Mismatched(it.rec.Event.Waybill, it.rec.ID.Seq)
	}
	it.tried = it.tried || d.Next == policy.Retry || d.Next == policy.Settle
	return d
}

// finish commits what became of the record.
func (p *Relay) finish(it *item, d policy.Decision) {
	back := again(it.rec, p.Clock.Now().Add(d.Delay))
	switch d.Next {
	case policy.Settle:
		// While no other record waits for the worker (see Hurry), the commit may
		// wait for company.
		p.end(policy.Ending{Record: it.rec, Settlement: event.Settlement{
			Seq: it.rec.ID.Seq, Lease: it.rec.Lease, Outcome: d.Outcome, Last: d.Reply, Attempts: it.attempts(),
			NoHurry: true,
		}})
		return
	case policy.Retry:
		p.meters.retry(d.Class)
		back.Attempts, back.Last = it.attempts(), d.Reply
	default:
		if d.Reply.Reason != "" {
			back.Last = d.Reply
		}
	}
	p.release(back)
}
