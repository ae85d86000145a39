package valve

import (
	"context"
	"time"

	"scanrelay/configs/secret"
	"scanrelay/uplink/syncapi"
)

// tokenWait is how long a call waits for a token before its event is given back.
const tokenWait = 30 * time.Second

// token is one access token as it came from the centre. A token offered again
// after a refusal is another *token, even with the same text.
type token struct {
	value      secret.Text
	generation string
	until      time.Time
	trial      bool // came after a refusal and was not accepted by WeChat yet
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
	until := time.Now().Add(time.Duration(o.ExpiresIn) * time.Second)
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

// awaitToken returns a token, waiting for one, but not for ever; nil if none
// came.
func (v *Valve) awaitToken(ctx context.Context) *token {
	ctx, cancel := context.WithTimeout(ctx, tokenWait)
	defer cancel()
	for {
		v.mu.Lock()
		tok, changed := v.tokenLocked(), v.changed
		v.mu.Unlock()
		if tok != nil {
			return tok
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}
