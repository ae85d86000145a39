package uplink

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"scanrelay/configs/secret"
	"scanrelay/uplink/syncapi"
)

// token is one access token as it came from the centre. A token offered again
// after a refusal is another *token, even with the same text.
type token struct {
	value      secret.Text
	generation string
	until      time.Time
	trial      atomic.Bool // came after a refusal and was not accepted by WeChat yet
}

// tokens holds the fleet's access token. It is safe for concurrent use.
//
// A refused token is reported once per generation; all calls wait for the one
// that follows. If that is refused as well, the account is blocked.
type tokens struct {
	mu      sync.Mutex
	current *token
	bad     string        // generation reported as bad; "" if none
	changed chan struct{} // closed when current changes
}

func newTokens() *tokens { return &tokens{changed: make(chan struct{})} }

// usableLocked returns the token that calls may use now, or nil.
func (t *tokens) usableLocked() *token {
	if t.current == nil || !time.Now().Before(t.current.until) {
		return nil
	}
	return t.current
}

// usable reports whether there is a token to call with.
func (t *tokens) usable() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.usableLocked() != nil
}

// next returns a channel that is closed when another token comes.
func (t *tokens) next() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changed
}

// get returns a token, waiting for one until ctx ends; nil then.
func (t *tokens) get(ctx context.Context) *token {
	for {
		t.mu.Lock()
		tok, changed := t.usableLocked(), t.changed
		t.mu.Unlock()
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

// offer takes the token of a sync answer. The one reported as bad is taken again
// only if the centre says that WeChat gave the same text once more.
func (t *tokens) offer(o *syncapi.Token) {
	if o == nil || o.Value == "" || o.ExpiresIn <= 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if o.Generation == t.bad && !o.Retried {
		return
	}
	until := time.Now().Add(time.Duration(o.ExpiresIn) * time.Second)
	if t.current != nil && t.current.generation == o.Generation {
		t.current.until = until
		return
	}
	t.current = &token{value: secret.Text(o.Value), generation: o.Generation, until: until}
	t.current.trial.Store(t.bad != "")
	t.bad = ""
	t.changedLocked()
}

func (t *tokens) changedLocked() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// refused tells that WeChat refused tok. All calls with one token share one
// report; again is false when tok itself came after a refusal: the second time
// running.
func (t *tokens) refused(tok *token) (again bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current == tok {
		t.current, t.bad = nil, tok.generation
		t.changedLocked()
	}
	return !tok.trial.Load()
}

// accepted tells that WeChat took tok.
func (t *tokens) accepted(tok *token) { tok.trial.Store(false) }

// toReport is the generation to report with the next sync; "" if none.
func (t *tokens) toReport() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.bad
}
