package push

import (
	"context"

	"scanrelay/configs/secret"
	"scanrelay/uplink/policy"
	"scanrelay/wechat"
)

// bound finds out whether the receiver's phone is bound: GoOn if it is.
// userquery is called only where nothing is known, and for one event of a phone
// at a time; the others take its answer.
func (p *Relay) bound(ctx context.Context, it *item) policy.Decision {
	if exist, ok := p.Bindings.Get(it.phone); ok {
		return policy.Decide(policy.Call{API: wechat.APIUserQuery, Exist: exist})
	}
	ours := false
	answer, _, _ := p.queries.Do(string(it.phone[:]), func() (any, error) {
		ours = true
		return p.call(it, wechat.APIUserQuery, func(t secret.Text) (bool, error) {
			return p.WeChat.UserQuery(ctx, t, it.data.Receiver.Phone.Reveal())
		}), nil
	})
	d := answer.(policy.Decision)
	if ours {
		return d
	}
	return p.follow(ctx, it, d)
}

// follow uses the answer that another event of the same phone got. A refusal of
// that event alone is none of ours: ask ourselves.
func (p *Relay) follow(ctx context.Context, it *item, d policy.Decision) policy.Decision {
	switch {
	case ctx.Err() != nil: // abandoned by the stop
		return policy.Decision{Next: policy.Hold}
	case d.Class == wechat.Success:
		return d
	case d.Next == policy.Settle || policy.Mismatch(d.Reply):
		return p.bound(ctx, it)
	case d.Next == policy.Retry:
		it.tried = true
		d.Delay = policy.TransientDelay(it.rec.Attempts)
	}
	return d
}
