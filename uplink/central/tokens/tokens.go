package tokens

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/configs/wait"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat"
)

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
)

// Source is WeChat's stable_token; a *wechat.Client is one.
type Source interface {
	StableToken(ctx context.Context, appid string, secret secret.Text, force bool) (wechat.AccessToken, error)
}

// Options is what Tokens are made of. Without an account there are none.
type Options struct {
	Source  Source
	AppID   string
	Secret  secret.Text
	Now     func() time.Time
	Logger  *slog.Logger
	Metrics *metrics.Set
}

// Tokens are kept in the memory of one process. Make them with New, and Run them.
type Tokens struct {
	o    Options
	bad  *metrics.Counter
	kick chan struct{} // capacity 1: a token was reported

	mu       sync.Mutex // guards what follows
	token    granted
	reported string // generation reported as bad and not replaced yet; "" if none
	trouble  trouble
	done     chan struct{} // closed and replaced when a request has ended
}

// granted is the token that depots get.
type granted struct {
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

// New makes Tokens of which nothing has been fetched yet.
func New(o Options) *Tokens {
	t := &Tokens{
		o: o, bad: o.Metrics.GetOrCreateCounter("scanrelay_central_bad_tokens_total"),
		kick: make(chan struct{}, 1), done: make(chan struct{}),
		trouble: trouble{state: syncapi.StateNoToken, reason: "no access token fetched yet"},
	}
	if !t.account() {
		t.trouble.reason = "wechat.appid or wechat.secret is not configured"
	}
	for _, state := range []string{syncapi.StateOK, syncapi.StateNoToken, syncapi.StateBlocked, syncapi.StateUnreachable} {
		o.Metrics.GetOrCreateGauge(`scanrelay_central_wechat_state{state="`+state+`"}`, func() float64 {
			t.mu.Lock()
			defer t.mu.Unlock()
			if t.viewLocked().State == state {
				return 1
			}
			return 0
		})
	}
	return t
}

func (t *Tokens) account() bool { return t.o.AppID != "" && t.o.Secret != "" }

// Run keeps the token fresh until ctx ends.
func (t *Tokens) Run(ctx context.Context) {
	for t.account() && sleepOr(ctx, t.untilNext(), t.kick) {
		if t.untilNext() <= 0 {
			t.refresh(ctx)
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

func (t *Tokens) untilNext() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.trouble.next.Sub(t.o.Now())
}

// Report takes a depot's word that WeChat refused a generation. Where that
// makes a new request due it returns a channel that is closed when it has ended.
func (t *Tokens) Report(_ context.Context, depot scan.DepotID, generation string) (<-chan struct{}, error) {
	if generation == "" {
		return nil, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case generation != t.token.generation || t.trouble.refused:
		return nil, nil // an old one, or known
	case t.o.Now().Before(t.token.trial) && t.token.told[depot]:
		t.refusedAgainLocked()
		return nil, nil
	case t.o.Now().Before(t.token.trial):
		return nil, nil // it has not tried the fresh one yet
	case t.reported == "":
		t.reported = generation
		t.trouble.next = t.o.Now()
		t.bad.Inc()
		t.o.Logger.Warn("a depot says that WeChat refuses the access token: fetching it again", "depot", string(depot))
		wait.Signal(t.kick)
	}
	return t.done, nil
}

// refusedAgainLocked is the second refusal running. Asking in a loop would burn
// quota: WeChat is asked now and then.
func (t *Tokens) refusedAgainLocked() {
	t.trouble = trouble{
		state: syncapi.StateBlocked, refused: true, wait: t.trouble.wait,
		reason: "WeChat refuses the access token that it has just given: someone else refreshes it, or the secret was changed",
	}
	t.pauseLocked(5*time.Second, 5*time.Minute)
	wait.Signal(t.kick) // it sleeps until the token's end
	t.o.Logger.Error("access token blocked", "reason", t.trouble.reason, "next", t.trouble.wait)
}

// pauseLocked doubles the pause, from first to at most most.
func (t *Tokens) pauseLocked(first, most time.Duration) {
	t.trouble.wait = min(max(first, 2*t.trouble.wait), most)
	t.trouble.next = t.o.Now().Add(t.trouble.wait)
}

// Give returns the token for a depot, nil if there is none that may be used,
// and how the centre stands with WeChat.
func (t *Tokens) Give(_ context.Context, depot scan.DepotID) (*syncapi.Token, syncapi.WeChatView, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	view := t.viewLocked()
	if view.State != syncapi.StateOK {
		return nil, view, nil
	}
	trial := t.o.Now().Before(t.token.trial)
	if trial {
		t.token.told[depot] = true
	}
	return &syncapi.Token{
		Value: t.token.value.Reveal(), Generation: t.token.generation, Retried: trial && t.token.same,
		ExpiresIn: int64(t.token.until.Sub(t.o.Now()) / time.Second),
	}, view, nil
}

// Current returns the token that depots use now, and how the centre stands with
// WeChat; the token may be used only where that is StateOK.
func (t *Tokens) Current(context.Context) (secret.Text, syncapi.WeChatView, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.token.value, t.viewLocked(), nil
}

// viewLocked: a token that is still good serves to its end, whatever became of
// the request for the next; the reason tells operators of it before.
func (t *Tokens) viewLocked() syncapi.WeChatView {
	good := t.token.value != "" && t.reported == "" && !t.trouble.refused && t.o.Now().Add(time.Second).Before(t.token.until)
	switch {
	case good:
		return syncapi.WeChatView{State: syncapi.StateOK, Reason: t.trouble.reason}
	case t.trouble.state != "":
		return syncapi.WeChatView{State: t.trouble.state, Reason: t.trouble.reason}
	}
	return syncapi.WeChatView{State: syncapi.StateNoToken, Reason: "the access token is being fetched again"}
}

// refresh asks WeChat once, in normal mode: force_refresh would kill the token
// under everyone's hands.
func (t *Tokens) refresh(ctx context.Context) {
	got, err := t.o.Source.StableToken(ctx, t.o.AppID, t.o.Secret, false)
	if ctx.Err() != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.failedLocked(err)
	} else {
		t.gotLocked(got)
	}
	close(t.done)
	t.done = make(chan struct{})
}

func (t *Tokens) gotLocked(got wechat.AccessToken) {
	t.count("ok")
	now := t.o.Now()
	generation := Generation(got.Value)
	same := generation == t.token.generation
	after := t.reported != "" || t.trouble.refused // the one before was refused
	if !same || after {
		t.token = granted{value: got.Value, generation: generation, same: same, told: map[scan.DepotID]bool{}}
		if after {
			t.token.trial = now.Add(trialTime)
		}
	}
	t.token.until = now.Add(got.ExpiresIn)
	wait := time.Duration(0)
	if after {
		wait = t.trouble.wait // kept for the next refusal, if it comes soon
	}
	t.reported = ""
	t.trouble = trouble{wait: wait, next: refreshAt(now, got.ExpiresIn)}
	t.o.Logger.Info("access token fetched", "generation", generation, "same", same, "expires_in", got.ExpiresIn)
}

// refreshAt picks the random moment of the next refresh.
func refreshAt(now time.Time, life time.Duration) time.Time {
	early := refreshLatest + rand.N(refreshEarliest-refreshLatest)
	soon := min(refreshSoon, max(life/2, time.Second))
	return now.Add(max(life-early, soon))
}

// Generation names a token's text without telling it.
func Generation(token secret.Text) string {
	sum := sha256.Sum256([]byte("scanrelay token generation " + token.Reveal()))
	return hex.EncodeToString(sum[:8])
}
