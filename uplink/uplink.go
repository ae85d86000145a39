package uplink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"golang.org/x/sync/errgroup"

	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
	"scanrelay/store"
)

// Notify is the section notify of the agent's configuration.
type Notify struct {
	Concurrency    int               // calls in flight; 0: 8
	Rate           float64           // calls a second; 0: the centre's share alone
	Actions        []scan.ActionType // empty: every one is pushed
	FreshFor       time.Duration     // 0: 30 min
	MaxAge         time.Duration     // 0: 24 h
	BindingBound   time.Duration     // 0: 24 h
	BindingUnbound time.Duration     // 0: 1 h
}

func (n *Notify) fill() {
	n.Concurrency = cmp.Or(n.Concurrency, 8)
	n.FreshFor = cmp.Or(n.FreshFor, 30*time.Minute)
	n.MaxAge = cmp.Or(n.MaxAge, 24*time.Hour)
	n.BindingBound = cmp.Or(n.BindingBound, 24*time.Hour)
	n.BindingUnbound = cmp.Or(n.BindingUnbound, time.Hour)
}

// Hooks hear what happened, for a page. They are called from the relays'
// goroutines and must not block.
type Hooks struct {
	OnSynced  func([]store.Record) // the centre acknowledged these
	OnOutcome func(store.Record)   // an event ended; its outcome is durable
}

// Config is what the relays are made of.
type Config struct {
	Client  Centre
	Outbox  Outbox
	WeChat  WeChat
	Clock   Clock
	Notify  Notify
	Version string // scanrelay's, told to the centre
	Logger  *slog.Logger
	Metrics *metrics.Set
	Hooks   Hooks
	// StartSpread bounds the random wait before the first sync, so that a
	// fleet that starts together does not call together. 0: 2 s; below 0: none.
	StartSpread time.Duration
}

// Uplink is both relays.
type Uplink struct {
	sync *syncer
	push *pusher
}

// New makes the relays; nothing runs yet.
func New(c Config) (*Uplink, error) {
	if c.Client == nil || c.Outbox == nil || c.WeChat == nil || c.Clock == nil {
		return nil, errors.New("make uplink: client, outbox, wechat and clock are needed")
	}
	c.Notify.fill()
	if c.Notify.Concurrency < 1 || c.Notify.Rate < 0 {
		return nil, fmt.Errorf("make uplink: notify.concurrency %d, notify.rate %v: want at least 1 and 0", c.Notify.Concurrency, c.Notify.Rate)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = metrics.NewSet()
	}
	return assemble(c), nil
}

func assemble(c Config) *Uplink {
	answers, tokens, valve, desk := newAnswers(), newTokens(), newValve(), newDesk()
	bindings := newBindings(c.Notify.BindingBound, c.Notify.BindingUnbound)
	gate := newGate(c.Notify, c.Outbox)
	waits := newWaits(c.Outbox, gate.expires, c.Logger)
	s := &syncer{
		spacing: wait.Backoff{Base: syncBase, Limit: syncCap},
		centre:  c.Client, outbox: c.Outbox, clock: c.Clock, gate: gate, answers: answers, bindings: bindings,
		tokens: tokens, valve: valve, waits: waits, desk: desk, log: c.Logger, version: c.Version,
		limit: c.Notify.Rate, spread: max(0, cmp.Or(c.StartSpread, 2*time.Second)),
		onSynced: c.Hooks.OnSynced, onEnded: c.Hooks.OnOutcome,
	}
	s.meters = newMeters(c.Metrics, s.lag)
	valve.setRate(c.Notify.Rate)
	p := &pusher{
		outbox: c.Outbox, wechat: c.WeChat, clock: c.Clock, gate: gate, answers: answers, bindings: bindings,
		tokens: tokens, valve: valve, waits: waits, desk: desk, flights: newFlights(), meters: s.meters,
		log: c.Logger, concurrency: c.Notify.Concurrency, onOutcome: c.Hooks.OnOutcome,
	}
	return &Uplink{sync: s, push: p}
}

// Run runs both relays until ctx ends or the outbox fails. When it returns no
// call is in flight, what WeChat answered is settled and the leases are given
// back. It takes at most 10 s after ctx ended. The error is nil after a stop.
func (u *Uplink) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return u.sync.run(ctx) })
	g.Go(func() error { return u.push.run(ctx) })
	return g.Wait()
}

// Status is how the relays stand.
type Status struct {
	CentralConnected bool
	CentralReason    string        // why not connected; "" before the first try
	LastSync         time.Time     // zero: never
	CentralOffset    time.Duration // how far our clock is ahead of the centre's
	WeChatState      string        // ok, throttled, blocked, no_token, unreachable
	WeChatReason     string
	SyncLag          time.Duration // age of the oldest unsynced event
}

// Status may be called at any time.
func (u *Uplink) Status() Status {
	v := &u.sync.view
	v.mu.Lock()
	st := Status{
		CentralConnected: v.connected, CentralReason: v.reason, LastSync: v.lastSync, CentralOffset: v.offset,
	}
	view := v.wechat
	v.mu.Unlock()
	st.SyncLag = time.Duration(u.sync.lag() * float64(time.Second))
	st.WeChatState, st.WeChatReason = u.push.valve.state()
	if st.WeChatState != StateBlocked && !u.push.tokens.usable() {
		st.WeChatState, st.WeChatReason = tokenless(view.State, view.Reason, st.CentralConnected)
	}
	return st
}

// tokenless says why there is no token, as far as the centre told.
func tokenless(state, reason string, connected bool) (string, string) {
	switch {
	case state == StateBlocked || state == StateUnreachable:
		return state, "central has no access_token: " + reason
	case reason != "":
		return StateNoToken, reason
	case !connected:
		return StateNoToken, "central, which gives the access_token, was not reached"
	}
	return StateNoToken, "waiting for a fresh access_token from central"
}
