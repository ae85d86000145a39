package central

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"sync"
	"time"

	"scanrelay/configs/limit"
	"scanrelay/configs/wait"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat/callback"
)

// Central is the centre. Make it with New, serve Handler, and Run it.
type Central struct {
	o       Options
	process string // changes with each start
	started time.Time
	keys    *keyring
	broker  *broker
	shares  *shares
	quotas  *quotas
	fleet   *fleet
	waiting *waiting
	meters  *meters
	pages   *pages
	perID   *limit.Keyed // JSONP, by waybill
	perIP   *limit.Keyed // JSONP, by client address
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
	c := &Central{
		o: o, process: hex.EncodeToString(id), started: o.Now(), keys: newKeyring(o.Config),
		shares: newShares(o.Config.Rate), fleet: newFleet(o.Config.Depots), waiting: newWaiting(),
		perID: o.Config.PerWaybill.keyed(), perIP: o.Config.PerAddress.keyed(),
		slots: make(chan struct{}, syncSlots),
	}
	c.meters = newMeters(c)
	c.broker = newBroker(o, c.meters)
	c.quotas = newQuotas(c)
	pages, err := newPages()
	if err != nil {
		return nil, fmt.Errorf("read fleet page: %w", err)
	}
	c.pages = pages
	if c.handler, err = c.routes(); err != nil {
		return nil, fmt.Errorf("configure central: %w", err)
	}
	return c, nil
}

// Handler serves all of the centre's HTTP API.
func (c *Central) Handler() http.Handler { return c.handler }

func (c *Central) routes() (http.Handler, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+syncapi.Path, c.serveSync)
	mux.HandleFunc("POST /v1/waybills", c.serveImport)
	mux.HandleFunc("GET /v1/waybills/{id}", c.serveWaybill)
	mux.HandleFunc("GET /jsonp/waybill", c.serveJSONP)
	mux.HandleFunc("GET /healthz", c.serveHealth)
	mux.HandleFunc("GET /readyz", c.serveReady)
	mux.HandleFunc("GET /metrics", c.serveMetrics)
	mux.HandleFunc("GET /{$}", c.servePage)
	if cb := c.o.Config.Callback; cb.Token != "" {
		h, err := callback.NewHandler(callback.Config{
			Token: cb.Token, EncodingAESKey: cb.EncodingAESKey, AppID: c.o.Config.AppID, Mode: cb.Mode,
			SwapNames: cb.SwapNames, MaxSkew: cb.MaxSkew, Now: c.o.Now, Logger: c.o.Logger,
			Observe: c.meters.callback,
		}, c.lookup)
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

// Run keeps the access token fresh, watches the quotas and forgets old waybills until ctx ends or
// the snapshot fails. Everything it started has ended when it returns.
func (c *Central) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var loops sync.WaitGroup
	loops.Go(func() { c.broker.run(ctx) })
	loops.Go(func() { c.quotas.run(ctx) })
	loops.Go(func() { c.forgetLoop(ctx) })
	loops.Go(func() { c.watchLoop(ctx) })
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
