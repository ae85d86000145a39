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
	// A token that was looked at for a complaint is not looked at again for
	// checkEvery, and for a complaint WeChat is asked to take it once in
	// tryEvery at most.
	checkEvery = 10 * time.Second
	tryEvery   = 5 * time.Minute
	// acceptLife is how long a depot's word that WeChat took the token counts.
	acceptLife = 30 * time.Second
)

// Source is WeChat's stable_token, and a call that shows whether a token is taken;
// a *wechat.Client is one.
type Source interface {
	StableToken(ctx context.Context, appid string, secret secret.Text, force bool) (wechat.AccessToken, error)
	Quota(ctx context.Context, token secret.Text, cgiPath string) (wechat.Quota, error)
}

// Options is what Tokens are made of. Without an account there are none.
type Options struct {
	Source  Source
	AppID   string
	Secrets Secrets
	Table   Table // what several processes share; nil: there is one
	Now     func() time.Time
	Logger  *slog.Logger
	Metrics *metrics.Set
}

// Secrets are the account's AppSecret, and the one before it: while it is changed in
// WeChat's console, the old one is tried where WeChat refuses the new one.
type Secrets struct{ Secret, Old secret.Text }

// Tokens are kept in memory and, where there is a table, as all processes of a centre have
// them, in that. Make them with New, and Run them.
type Tokens struct {
	o    Options
	bad  *metrics.Counter
	kick chan struct{} // capacity 1: a depot complained

	mu      sync.Mutex // guards what follows
	secrets Secrets
	state
	clock clock         // of the table
	news  news          // what the others do not know yet
	done  chan struct{} // closed and replaced when a check has ended
	told  wait.Rarely   // lines about complaints
}

// state is what all processes of a centre have in common.
type state struct {
	token    granted
	refusals int // by WeChat, to the centre, running: of tokens that nobody succeeded with
	trouble  trouble
	doubted  bool // a depot complained of the token, and it is to be checked
}

// granted is the token that depots get.
type granted struct {
	value      secret.Text
	generation string
	until      time.Time
	accepted   time.Time // when a depot last saw WeChat take it
	checked    time.Time // when a check of it ended
	tried      time.Time // when WeChat was last asked to take it, for a complaint
	refused    bool      // the check found it bad: nobody gets it
}

// trouble is why there is no good token, and when WeChat is asked again.
type trouble struct {
	state  string // "": none
	reason string
	secret bool          // it may be the AppSecret
	of     string        // which names that, and the one before it
	wait   time.Duration // the last pause
	next   time.Time     // no request before
}

// Word is what a depot says about tokens; a generation is "" where it says nothing.
type Word struct {
	Bad         string // the generation that WeChat refuses it
	Accepted    string // the one that WeChat took last
	AcceptedAgo time.Duration
}

// New makes Tokens of which nothing has been fetched yet.
func New(o Options) *Tokens {
	t := &Tokens{
		o: o, told: wait.Rarely{Every: time.Minute}, bad: o.Metrics.GetOrCreateCounter("scanrelay_central_bad_tokens_total"),
		kick: make(chan struct{}, 1), done: make(chan struct{}),
		secrets: o.Secrets, state: state{trouble: trouble{state: syncapi.StateNoToken, reason: "no access token fetched yet"}},
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

func (t *Tokens) account() bool { return t.o.AppID != "" && t.o.Secrets.Secret != "" }

// Change puts other secrets in use. A token that is good stays; where there is none, as
// WeChat refused the secret, it is asked at once.
func (t *Tokens) Change(_ context.Context, next Secrets) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if next == t.secrets {
		return nil
	}
	t.secrets = next
	if t.trouble.secret {
		t.trouble.next = time.Time{}
		wait.Signal(t.kick)
	}
	return nil
}

// Run keeps the token fresh until ctx ends.
func (t *Tokens) Run(ctx context.Context) {
	if t.o.Table != nil {
		t.runShared(ctx)
		return
	}
	for t.account() && sleepOr(ctx, t.untilNext(), t.kick) {
		if t.untilNext() <= 0 {
			t.turn(ctx)
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
	if t.doubted {
		return 0
	}
	return t.nextLocked().Sub(t.now())
}

// nextLocked: what another process' secret is refused with says nothing of this one's.
func (t *Tokens) nextLocked() time.Time {
	if t.trouble.secret && t.trouble.of != t.secrets.name() {
		return time.Time{}
	}
	return t.trouble.next
}

// name names secrets without telling them.
func (s Secrets) name() string { return Generation(s.Secret + "\x00" + s.Old) }

// now is the table's time, where there is one.
func (t *Tokens) now() time.Time {
	now := t.o.Now()
	if t.clock.read.IsZero() {
		return now
	}
	return t.clock.then.Add(now.Sub(t.clock.read))
}

// Hear takes a depot's word. Where it makes a check due it returns a channel that
// is closed when that has ended. The word of one depot takes the token from no
// other: the centre looks for itself.
func (t *Tokens) Hear(_ context.Context, depot scan.DepotID, said Word) (<-chan struct{}, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now, current := t.now(), t.token.generation
	switch {
	case current == "":
	case said.Bad == current && t.token.refused:
	case said.Bad == current && !t.doubted && now.Sub(t.token.checked) < checkEvery: // and found good
	case said.Bad == current:
		if !t.doubted {
			t.doubted, t.news.doubted = true, current
			t.bad.Inc()
			if more, due := t.told.Due(now); due {
				t.o.Logger.Warn("a depot says that WeChat refuses the access token: trying it", "depot", string(depot), "more_since_last_line", more)
			}
			wait.Signal(t.kick)
		}
		return t.done, nil
	case said.Accepted == current:
		if at := now.Add(-max(0, said.AcceptedAgo)); at.After(t.token.accepted) {
			t.news.accepted = at
			t.acceptedLocked(at)
		}
	}
	return nil, nil
}

// acceptedLocked notes that WeChat took the token.
func (t *Tokens) acceptedLocked(at time.Time) {
	t.token.accepted, t.refusals = at, 0
	if t.token.refused && at.After(t.token.checked) {
		t.token.refused = false
		t.trouble = trouble{next: refreshAt(t.now(), t.token.until.Sub(t.now()))}
		t.o.Logger.Info("WeChat takes the access token again", "generation", t.token.generation)
		wait.Signal(t.kick)
	}
}

// verdict is what came of trying a token.
type verdict int

const (
	unsure  verdict = iota // WeChat did not say
	taken                  // it is good
	refused                // it is not
)

// turn does what is due: it checks the token that a depot complained of, or
// fetches the next.
func (t *Tokens) turn(ctx context.Context) {
	t.mu.Lock()
	now, token := t.now(), t.token
	doubted, mayTry := t.doubted, now.Sub(token.tried) >= tryEvery
	mayFetch := t.trouble.state == "" || !now.Before(t.nextLocked())
	t.mu.Unlock()
	found := unsure
	if doubted && mayTry {
		found = t.try(ctx, token.value)
	}
	if found == refused && t.refusedRunning() || found == taken {
		mayFetch = false // the second running, or none
	}
	if mayFetch && ctx.Err() == nil {
		if same := t.fetch(ctx); same && (found == refused || token.refused) {
			found = t.try(ctx, token.value) // WeChat says that this is the valid one
		}
	}
	if ctx.Err() == nil {
		t.found(token.generation, found, doubted)
	}
}

// try asks WeChat to take a token.
func (t *Tokens) try(ctx context.Context, token secret.Text) verdict {
	_, err := t.o.Source.Quota(ctx, token, wechat.PathNotifyPath)
	e := wechat.AsError(wechat.APIQuota, err)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.token.tried = t.now()
	switch {
	case err == nil:
		return taken
	case e.Class() == wechat.BadToken:
		t.refusals++
		return refused
	}
	return unsure
}

// refusedRunning reports whether WeChat refused twice running what it had given.
func (t *Tokens) refusedRunning() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.refusals > 1
}

// found ends a turn: a token that WeChat refuses the centre, and that no depot
// succeeds with, is withdrawn.
func (t *Tokens) found(generation string, v verdict, doubted bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if doubted {
		t.doubted = false
		close(t.done)
		t.done = make(chan struct{})
	}
	if generation != t.token.generation {
		return // there is another one
	}
	if doubted || v != unsure {
		t.token.checked = now
	}
	succeeds := now.Sub(t.token.accepted) < acceptLife
	switch {
	case v == taken:
		t.acceptedLocked(now.Add(time.Nanosecond)) // after the check
	case v == refused && !succeeds:
		t.token.refused = true
		if t.trouble.state == "" || t.trouble.state == syncapi.StateBlocked {
			t.blockLocked()
		}
	case v == unsure && t.trouble.state == "":
		t.token.refused = false // depots may find out
	}
}

// blockLocked: asking in a loop would burn quota, so WeChat is asked now and then.
func (t *Tokens) blockLocked() {
	t.trouble = trouble{
		state: syncapi.StateBlocked, wait: t.trouble.wait,
		reason: "WeChat refuses the access token that it has just given: someone else refreshes it, or the secret was changed",
	}
	t.pauseLocked(5*time.Second, 5*time.Minute)
	t.o.Logger.Error("access token blocked", "reason", t.trouble.reason, "next", t.trouble.wait)
}

// pauseLocked doubles the pause, from first to at most most.
func (t *Tokens) pauseLocked(first, most time.Duration) {
	t.trouble.wait = min(max(first, 2*t.trouble.wait), most)
	t.trouble.next = t.now().Add(t.trouble.wait)
}

// Give returns the token for a depot, nil if there is none that may be used,
// and how the centre stands with WeChat. A depot that reports the token as bad
// gets it again once it was checked.
func (t *Tokens) Give(_ context.Context, bad string) (*syncapi.Token, syncapi.WeChatView, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	view, again := t.viewLocked(), bad != "" && bad == t.token.generation
	if view.State != syncapi.StateOK || again && t.doubted {
		return nil, view, nil
	}
	return &syncapi.Token{
		Value: t.token.value.Reveal(), Generation: t.token.generation, Retried: again,
		ExpiresIn: int64(t.token.until.Sub(t.now()) / time.Second),
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
	good := t.token.value != "" && !t.token.refused && t.now().Add(time.Second).Before(t.token.until)
	switch {
	case good:
		return syncapi.WeChatView{State: syncapi.StateOK, Reason: t.trouble.reason}
	case t.trouble.state != "":
		return syncapi.WeChatView{State: t.trouble.state, Reason: t.trouble.reason}
	}
	return syncapi.WeChatView{State: syncapi.StateNoToken, Reason: "the access token is being fetched again"}
}

// fetch asks WeChat once, in normal mode: force_refresh would kill the token
// under everyone's hands. It reports whether WeChat gave the same text again.
func (t *Tokens) fetch(ctx context.Context) (same bool) {
	t.mu.Lock()
	secrets := t.secrets
	t.mu.Unlock()
	got, err := t.o.Source.StableToken(ctx, t.o.AppID, secrets.Secret, false)
	if secrets.Old != "" && secrets.Old != secrets.Secret && err != nil && wrongSecret[wechat.AsError(wechat.APIStableToken, err).Code] {
		refused := err
		if got, err = t.o.Source.StableToken(ctx, t.o.AppID, secrets.Old, false); err == nil {
			t.count(wechat.AsError(wechat.APIStableToken, refused).Label())
			t.o.Logger.Warn("WeChat refuses wechat.secret and takes wechat.secret_old", "error", refused)
		}
	}
	if ctx.Err() != nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.failedLocked(err)
		return false
	}
	return t.gotLocked(got)
}

func (t *Tokens) gotLocked(got wechat.AccessToken) (same bool) {
	t.count("ok")
	now := t.now()
	generation := Generation(got.Value)
	if same = generation == t.token.generation; !same {
		t.token = granted{value: got.Value, generation: generation}
	}
	t.token.until = now.Add(got.ExpiresIn)
	pause := time.Duration(0)
	if t.refusals > 0 {
		pause = t.trouble.wait // kept for the next refusal, if it comes before a success
	}
	t.trouble = trouble{wait: pause, next: refreshAt(now, got.ExpiresIn)}
	t.o.Logger.Info("access token fetched", "generation", generation, "same", same, "expires_in", got.ExpiresIn)
	return same
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
