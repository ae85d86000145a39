package uplink

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"golang.org/x/sync/errgroup"

	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
	"scanrelay/store/event"
	"scanrelay/uplink/policy"
	"scanrelay/uplink/push"
	"scanrelay/uplink/shared"
	"scanrelay/uplink/sync"
	"scanrelay/uplink/syncapi"
	"scanrelay/uplink/syncapi/health"
	"scanrelay/uplink/valve"
)

// Notify is the section notify of the agent's configuration, which package
// configs checked and gave its defaults.
type Notify struct {
	Concurrency    int               // calls in flight
	Rate           float64           // calls a second; 0: the centre's share alone
	Actions        []scan.ActionType // empty: every one is pushed
	FreshFor       time.Duration
	MaxAge         time.Duration
	BindingBound   time.Duration
	BindingUnbound time.Duration
}

// Hooks hear what happened, for a page. They are called from the relays'
// goroutines and must not block.
type Hooks struct {
	OnSynced  func([]event.Record) // the centre acknowledged these
	OnOutcome func(event.Record)   // an event ended; its outcome is durable
}

// Outbox is what the relays need of the store; *store.Outbox has it. Each
// relay sees only the part it uses.
type Outbox interface {
	sync.Outbox
	push.Outbox
}

// Config is what the relays are made of. All is needed but the hooks and Fleet.
type Config struct {
	Client  sync.Centre
	Outbox  Outbox
	WeChat  push.WeChat
	Clock   shared.Clock
	Notify  Notify
	Version string // scanrelay's, told to the centre
	// Health tells the centre how the agent does; nil: nothing is told.
	Health  func() *health.Report
	Orders  sync.Orders // what operators at the centre want done; nil: it is not taken
	Fleet   sync.Fleet  // nil: the centre wants nothing of this agent
	Logger  *slog.Logger
	Metrics *metrics.Set
	Hooks   Hooks
	// StartSpread bounds the random wait before the first sync, so that a
	// fleet that starts together does not call together. 0: 2 s; below 0: none.
	StartSpread time.Duration
	// What tells whether the relays move; nil: nobody looks at it.
	SyncPulse, PushPulse, CallPulse *wait.Pulse
}

// Uplink is both relays.
type Uplink struct {
	sync  *sync.Relay
	push  *push.Relay
	valve *valve.Valve
}

// New makes the relays; nothing runs yet.
func New(c Config) *Uplink {
	n, v := c.Notify, valve.New()
	parts := shared.Parts{
		Clock: c.Clock, Gate: &policy.Gate{Actions: n.Actions, FreshFor: n.FreshFor, MaxAge: n.MaxAge},
		Answers: shared.NewAnswers(), Bindings: shared.NewBindings(n.BindingBound, n.BindingUnbound),
		Questions: shared.NewQuestions(), Log: c.Logger, Metrics: c.Metrics, OnEnded: c.Hooks.OnOutcome,
	}
	return &Uplink{
		sync: sync.New(sync.Config{
			Parts: parts, Centre: c.Client, Outbox: c.Outbox, Valve: v, Version: c.Version, Health: c.Health, Orders: c.Orders, Fleet: c.Fleet, Rate: n.Rate,
			Spread: max(0, cmp.Or(c.StartSpread, 2*time.Second)), OnSynced: c.Hooks.OnSynced, Pulse: c.SyncPulse,
		}),
		push: push.New(push.Config{
			Parts: parts, Outbox: c.Outbox, WeChat: c.WeChat, Valve: v, Concurrency: n.Concurrency,
			Pulse: c.PushPulse, Calls: c.CallPulse,
		}),
		valve: v,
	}
}

// Run runs both relays until ctx ends or the outbox fails; it is called once.
// When it returns no call is in flight, what WeChat answered is settled and the
// leases are given back. It takes at most 10 s after ctx ended, unless the disk
// hangs. The error is nil after a stop.
func (u *Uplink) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return u.sync.Run(ctx) })
	g.Go(func() error { return u.push.Run(ctx) })
	return g.Wait()
}

// Status is how the relays stand.
type Status struct {
	Central      sync.Status
	WeChatState  string // ok, throttled, blocked, no_token, unreachable
	WeChatReason string
}

// Status may be called at any time.
func (u *Uplink) Status() Status {
	st := Status{Central: u.sync.Status()}
	if st.WeChatState, st.WeChatReason = u.valve.State(); st.WeChatState == syncapi.StateNoToken {
		st.WeChatState, st.WeChatReason = tokenless(st.Central)
	}
	return st
}

// tokenless says why there is no token, as far as the centre told.
func tokenless(c sync.Status) (state, reason string) {
	switch told := c.WeChat; {
	case told.State == syncapi.StateBlocked || told.State == syncapi.StateUnreachable:
		return told.State, "central has no access_token: " + told.Reason
	case told.Reason != "":
		return syncapi.StateNoToken, told.Reason
	case !c.Connected:
		return syncapi.StateNoToken, "central, which gives the access_token, was not reached"
	}
	return syncapi.StateNoToken, "waiting for a fresh access_token from central"
}
