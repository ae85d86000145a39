package central

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat"
)

// Times of the broker; wechat.md section 2.1, design.md section 4, errcodes.md.
const (
	// A token is refreshed at a random moment in this part of its life's end:
	// earlier, WeChat returns the same text.
	refreshLatest   = 60 * time.Second
	refreshEarliest = 240 * time.Second
	// A token that has not that long to live is fetched again this soon.
	refreshSoon = 10 * time.Second
	// trialTime is how long after a refused token a second refusal counts as
	// running.
	trialTime = 2 * time.Minute
	// reportWait is how long the sync that reports a bad token waits for the
	// next one.
	reportWait = 5 * time.Second
)

// States of WeChatView.
const (
	stateOK          = "ok"
	stateNoToken     = "no_token"
	stateBlocked     = "blocked"
	stateUnreachable = "unreachable"
)

// broker owns the fleet's access token: it alone asks WeChat for one, one
// request at a time, and once per generation that a depot reports as bad.
type broker struct {
	source TokenSource
	appid  string
	secret secret.Text
	now    func() time.Time
	log    *slog.Logger
	meters *meters
	kick   chan struct{} // capacity 1: a token was reported

	mu      sync.Mutex // guards what follows
	token   grantedToken
	bad     string // generation reported and not replaced yet; "" if none
	trouble trouble
	done    chan struct{} // closed and replaced when a request has ended
}

// grantedToken is the token that depots get.
type grantedToken struct {
	value      secret.Text
	generation string
	until      time.Time
	// trial: it came after a refusal, until then; refused again by a depot
	// that was told of it, it means blocked. same: it has the refused text.
	trial time.Time
	same  bool
	told  map[scan.DepotID]bool
}

// trouble is why there is no good token, and when WeChat is asked again.
type trouble struct {
	state   string // "": none
	reason  string
	refused bool          // it is depots that refuse the token
	wait    time.Duration // the last pause
	next    time.Time     // no request before
}

func newBroker(o Options, m *meters) *broker {
	b := &broker{
		source: o.WeChat, appid: o.Config.AppID, secret: o.Config.Secret, now: o.Now, log: o.Logger, meters: m,
		kick: make(chan struct{}, 1), done: make(chan struct{}),
		trouble: trouble{state: stateNoToken, reason: "no access token fetched yet"},
	}
	if b.appid == "" || b.secret == "" {
		b.trouble.reason = "wechat.appid or wechat.secret is not configured"
	}
	return b
}

// run keeps the token fresh until ctx ends.
func (b *broker) run(ctx context.Context) {
	if b.appid == "" || b.secret == "" {
		return
	}
	for sleepOr(ctx, b.untilNext(), b.kick) {
		if b.untilNext() <= 0 {
			b.refresh(ctx)
		}
	}
}

// sleepOr waits for the time or a kick, and reports whether ctx is alive.
func sleepOr(ctx context.Context, d time.Duration, kick <-chan struct{}) bool {
	t := time.NewTimer(max(0, d))
	defer t.Stop()
	select {
	case <-t.C:
	case <-kick:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

func (b *broker) untilNext() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.trouble.next.Sub(b.now())
}

// report takes a depot's word that WeChat refused a generation. Where that
// makes a new request due it returns a channel that is closed when it has ended.
func (b *broker) report(depot scan.DepotID, generation string) <-chan struct{} {
	if generation == "" {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case generation != b.token.generation || b.trouble.refused:
		return nil // an old one, or known
	case b.now().Before(b.token.trial) && b.token.told[depot]:
		b.refusedAgainLocked()
		return nil
	case b.now().Before(b.token.trial):
		return nil // it has not tried the fresh one yet
	case b.bad == "":
		b.bad = generation
		b.trouble.next = b.now()
		b.meters.badTokens.Inc()
		b.log.Warn("a depot says that WeChat refuses the access token: fetching it again", "depot", string(depot))
		b.wake()
	}
	return b.done
}

// wake makes run look at the next request's time again.
func (b *broker) wake() {
	select {
	case b.kick <- struct{}{}:
	default:
	}
}

// refusedAgainLocked is the second refusal running. Asking in a loop would burn
// quota: WeChat is asked now and then.
func (b *broker) refusedAgainLocked() {
	b.trouble = trouble{
		state: stateBlocked, refused: true, wait: b.trouble.wait,
		reason: "WeChat refuses the access token that it has just given: someone else refreshes it, or the secret was changed",
	}
	b.pauseLocked(5*time.Second, 5*time.Minute)
	b.wake() // it sleeps until the token's end
	b.log.Error("access token blocked", "reason", b.trouble.reason, "next", b.trouble.wait)
}

// pauseLocked doubles the pause, from first to at most most.
func (b *broker) pauseLocked(first, most time.Duration) {
	b.trouble.wait = min(max(first, 2*b.trouble.wait), most)
	b.trouble.next = b.now().Add(b.trouble.wait)
}

// wait waits for a request that report made due, for a while.
func (b *broker) wait(ctx context.Context, done <-chan struct{}) {
	if done == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, reportWait)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// give returns the token for a depot, nil if there is none that may be used,
// and how the centre stands with WeChat.
func (b *broker) give(depot scan.DepotID) (*syncapi.Token, syncapi.WeChatView) {
	b.mu.Lock()
	defer b.mu.Unlock()
	view := b.viewLocked()
	if view.State != stateOK {
		return nil, view
	}
	t := &b.token
	trial := b.now().Before(t.trial)
	if trial {
		t.told[depot] = true
	}
	return &syncapi.Token{
		Value: t.value.Reveal(), Generation: t.generation, Retried: trial && t.same,
		ExpiresIn: int64(t.until.Sub(b.now()) / time.Second),
	}, view
}

// current returns the token that depots use now; ok is false if there is none.
func (b *broker) current() (token secret.Text, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.token.value, b.viewLocked().State == stateOK
}

// view tells how the centre stands with WeChat.
func (b *broker) view() syncapi.WeChatView {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.viewLocked()
}

// viewLocked: a token that is still good serves to its end, whatever became of
// the request for the next; the reason tells operators of it before.
func (b *broker) viewLocked() syncapi.WeChatView {
	good := b.token.value != "" && b.bad == "" && !b.trouble.refused && b.now().Add(time.Second).Before(b.token.until)
	switch {
	case good:
		return syncapi.WeChatView{State: stateOK, Reason: b.trouble.reason}
	case b.trouble.state != "":
		return syncapi.WeChatView{State: b.trouble.state, Reason: b.trouble.reason}
	}
	return syncapi.WeChatView{State: stateNoToken, Reason: "the access token is being fetched again"}
}

// refresh asks WeChat once, in normal mode: force_refresh would kill the token
// under everyone's hands.
func (b *broker) refresh(ctx context.Context) {
	got, err := b.source.StableToken(ctx, b.appid, b.secret, false)
	if ctx.Err() != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.failedLocked(err)
	} else {
		b.gotLocked(got)
	}
	close(b.done)
	b.done = make(chan struct{})
}

func (b *broker) gotLocked(got wechat.AccessToken) {
	b.meters.token("ok")
	now := b.now()
	generation := generationOf(got.Value)
	same := generation == b.token.generation
	after := b.bad != "" || b.trouble.refused // the one before was refused
	if !same || after {
		b.token = grantedToken{value: got.Value, generation: generation, same: same, told: map[scan.DepotID]bool{}}
		if after {
			b.token.trial = now.Add(trialTime)
		}
	}
	b.token.until = now.Add(got.ExpiresIn)
	wait := time.Duration(0)
	if after {
		wait = b.trouble.wait // kept for the next refusal, if it comes soon
	}
	b.bad = ""
	b.trouble = trouble{wait: wait, next: refreshAt(now, got.ExpiresIn)}
	b.log.Info("access token fetched", "generation", generation, "same", same, "expires_in", got.ExpiresIn)
}

// refreshAt picks the random moment of the next refresh.
func refreshAt(now time.Time, life time.Duration) time.Time {
	early := refreshLatest + rand.N(refreshEarliest-refreshLatest)
	soon := min(refreshSoon, max(life/2, time.Second))
	return now.Add(max(life-early, soon))
}

// generationOf names a token's text without telling it.
func generationOf(token secret.Text) string {
	sum := sha256.Sum256([]byte("scanrelay token generation " + token.Reveal()))
	return hex.EncodeToString(sum[:8])
}
