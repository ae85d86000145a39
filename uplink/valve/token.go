package valve

import (
	"context"
	"time"

	"scanrelay/configs/secret"
	"scanrelay/uplink/syncapi"
)

// tokenWait is how long a call waits for a token before its event is given back.
const tokenWait = 30 * time.Second

// longestLife of a token is believed, in seconds; WeChat gives two hours.
const longestLife = 24 * 60 * 60

// token is one access token as it came from the centre. A token offered again
// after a refusal is another *token, even with the same text.
type token struct {
	value      secret.Text
	generation string
	until      time.Time
	trial      bool // came after a refusal and was not accepted by WeChat yet
	// doubted: it was refused, and then taken in a call that was under way. One call
	// at a time tries it until one is taken; trying tells that there is one.
	doubted, trying bool
}

// accepted is when WeChat last took which token in a call of one API.
type accepted struct {
	generation string
	at         time.Time
}

// tookLocked notes that WeChat took the permit's token, which may have been refused
// to another call meanwhile: then it is good all the same.
func (p *Permit) tookLocked(now time.Time) {
	v, tok := p.v, p.token
	tok.trial = false
	p.limiter.accepted = accepted{tok.generation, now}
	v.accepted = p.limiter.accepted
	switch {
	case v.bad == tok.generation:
		v.bad = ""
		if v.token == nil {
			v.token, tok.doubted, tok.trying = tok, true, false
		}
		v.changedLocked()
	case p.tries && tok.doubted:
		tok.doubted = false
		v.changedLocked()
	}
	if v.token != nil && v.token.generation == tok.generation {
		v.token.trial = false
	}
	if v.refusedFresh == tok.generation && v.account.state == syncapi.StateBlocked {
		v.account.reset(now)
		v.account.trips = 0 // it should not have been
		v.changedLocked()
	}
	v.refusedFresh = ""
}

// Accepted is the generation of the token that WeChat took last, and how long ago;
// "" before the first.
func (v *Valve) Accepted() (generation string, age time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.accepted.generation, time.Since(v.accepted.at)
}

// Offer takes the token of a sync answer. The one reported as bad is taken again
// only if the centre says that WeChat gave the same text once more.
func (v *Valve) Offer(o *syncapi.Token) {
	if o == nil || o.Value == "" || o.ExpiresIn <= 0 {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if o.Generation == v.bad && !o.Retried {
		return
	}
	until := time.Now().Add(time.Duration(min(o.ExpiresIn, longestLife)) * time.Second)
	if v.token != nil && v.token.generation == o.Generation {
		v.token.until = until
		return
	}
	v.token = &token{value: secret.Text(o.Value), generation: o.Generation, until: until, trial: v.bad != ""}
	v.bad = ""
	v.changedLocked()
}

// BadToken is the generation of a token that WeChat refused, to be reported with
// the next sync until another token comes; "" if there is none.
func (v *Valve) BadToken() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.bad
}

// tokenLocked returns the token that calls may use now, or nil.
func (v *Valve) tokenLocked() *token {
	if v.token == nil || !time.Now().Before(v.token.until) {
		return nil
	}
	return v.token
}

// awaitToken waits for a token, but not for ever; false: none came.
func (v *Valve) awaitToken(ctx context.Context) bool {
	return v.awaitChange(ctx, func() bool { return v.tokenLocked() != nil })
}

// takeToken waits for a token that the call may use; false: none came.
func (p *Permit) takeToken(ctx context.Context) bool {
	return p.v.awaitChange(ctx, func() bool {
		tok := p.v.tokenLocked()
		if tok == nil || tok.doubted && tok.trying {
			return false
		}
		p.token, p.tries = tok, tok.doubted
		tok.trying = tok.doubted
		return true
	})
}

// awaitChange waits for what changes may bring, but not for ever. is is called under the
// lock.
func (v *Valve) awaitChange(ctx context.Context, is func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, tokenWait)
	defer cancel()
	for {
		v.mu.Lock()
		ok, changed := is(), v.changed
		v.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}
