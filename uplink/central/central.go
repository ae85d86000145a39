package central

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"sync"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
	"scanrelay/uplink/central/caller"
	"scanrelay/uplink/central/lookup"
	"scanrelay/uplink/central/page"
	"scanrelay/uplink/central/presence"
	"scanrelay/uplink/central/quota"
	"scanrelay/uplink/central/shares"
	"scanrelay/uplink/central/tokens"
	"scanrelay/uplink/central/waiting"
	"scanrelay/uplink/central/waybills"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat/callback"
)

// Central is the centre. Make it with New, serve Handler, and Run it.
type Central struct {
	o       Options
	process string // changes with each start
	started time.Time
	keys    *caller.Keyring
	proxies caller.Proxies

	tokens   Tokens
	shares   Shares
	waiting  Waiting
	presence Presence
	quotas   *quota.Quotas

	meters  *meters
	refused wait.Rarely // lines about credentials
	slots   chan struct{}
	handler http.Handler
}

// syncSlots is how many syncs are decoded and merged at once: it bounds memory.
const syncSlots = 32

// New makes a Central. Its error names all that is wrong with the options.
func New(o Options) (*Central, error) {
	o.defaults()
	if err := o.problems(); err != nil {
		return nil, fmt.Errorf("configure central: %w", err)
	}
	id := make([]byte, 8)
	rand.Read(id) // never fails
	conf := &o.Config
	depots := make([]scan.DepotID, len(conf.Depots))
	for i, d := range conf.Depots {
		depots[i] = d.ID
	}
	c := &Central{
		o: o, process: hex.EncodeToString(id), started: o.Now(),
		keys: caller.NewKeyring(conf.Depots, conf.AdminToken), proxies: conf.TrustedProxies,
		tokens: tokens.New(tokens.Options{
			Source: o.WeChat, AppID: conf.AppID, Secret: conf.Secret, Now: o.Now, Logger: o.Logger, Metrics: o.Metrics,
		}),
		shares: shares.New(conf.Rate, o.Now), waiting: waiting.New(), presence: presence.New(depots, o.Now),
		slots: make(chan struct{}, syncSlots), refused: wait.Rarely{Every: time.Minute},
	}
	c.quotas = quota.New(quota.Options{
		Source: o.WeChat, Tokens: c.tokens, Shares: c.shares, Now: o.Now, Logger: o.Logger, Metrics: o.Metrics,
	})
	c.meters = newMeters(c)
	var err error
	if c.handler, err = c.routes(); err != nil {
		return nil, fmt.Errorf("configure central: %w", err)
	}
	return c, nil
}

// Handler serves all of the centre's HTTP API.
func (c *Central) Handler() http.Handler { return c.handler }

func (c *Central) routes() (http.Handler, error) {
	o, conf := &c.o, &c.o.Config
	carrier := waybills.New(waybills.Options{
		Store: o.Snapshot, Waiting: c.waiting, Now: o.Now, Logger: o.Logger, Metrics: o.Metrics,
	})
	fleet, err := page.New(page.Options{
		Keys: c.keys, Version: o.Version, Started: c.started, Now: o.Now, Logger: o.Logger, Snapshot: o.Snapshot,
		Tokens: c.tokens, Shares: c.shares, Waiting: c.waiting, Presence: c.presence, Quotas: c.quotas,
		Events: func(r syncapi.Result) uint64 { return c.meters.events(r).Get() },
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+syncapi.Path, c.serveSync)
	mux.HandleFunc("POST /v1/waybills", c.keys.Admins(carrier.Import))
	mux.HandleFunc("GET /v1/waybills/{id}", c.keys.Admins(carrier.View))
	mux.Handle("GET /jsonp/waybill", &lookup.Landing{
		From: o.Snapshot, Cells: conf.Cells, PerWaybill: conf.PerWaybill.keyed(), PerAddress: conf.PerAddress.keyed(),
		Proxies: c.proxies, Now: o.Now, Metrics: o.Metrics,
	})
	mux.HandleFunc("GET /healthz", c.serveHealth)
	mux.HandleFunc("GET /readyz", c.serveReady)
	mux.HandleFunc("GET /metrics", c.serveMetrics)
	mux.Handle("GET /{$}", fleet)
	if cb := conf.Callback; cb.Token != "" {
		h, err := callback.NewHandler(callback.Config{
			Token: cb.Token, EncodingAESKey: cb.EncodingAESKey, AppID: conf.AppID, Mode: cb.Mode, SwapNames: cb.SwapNames,
			MaxSkew: cb.MaxSkew, Now: o.Now, Logger: o.Logger, Observe: c.meters.callback,
		}, lookup.Reverse(o.Snapshot))
		if err != nil {
			return nil, err
		}
		mux.Handle(cb.Path, h)
	}
	return plainHeaders(mux), nil
}

// plainHeaders sets what every answer has: nothing here may be kept by a proxy
// or taken for another type.
func plainHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}

// Run keeps the access token fresh, watches quotas and depots, and forgets old
// waybills, until ctx ends or the snapshot fails. Everything it started has ended
// when it returns.
func (c *Central) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var loops sync.WaitGroup
	loops.Go(func() { c.tokens.Run(ctx) })
	loops.Go(func() { c.quotas.Run(ctx) })
	loops.Go(func() { c.presence.Watch(ctx, c.o.Logger) })
	loops.Go(func() { c.forgetLoop(ctx) })
	err := c.o.Snapshot.Wait(ctx)
	cancel()
	loops.Wait()
	return err
}

// Forget looks at a part of the store each step, and rests after a whole round.
const (
	forgetStep = time.Second
	forgetRest = 10 * time.Minute
)

func (c *Central) forgetLoop(ctx context.Context) {
	for rest := forgetStep; wait.Sleep(ctx, rest); {
		f, err := c.o.Snapshot.Forget(ctx, c.o.Now().Add(-c.o.Config.Retain))
		rest = forgetStep
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			c.o.Logger.Error("forget old waybills", "err", err)
			rest = forgetRest
		case f.Done:
			rest = forgetRest
		}
		c.meters.forgotten.Add(f.Waybills)
	}
}
