package central

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/limit"
	"scanrelay/configs/serve"
	"scanrelay/configs/wait"
	"scanrelay/store/durable"
	"scanrelay/store/snapshot"
	"scanrelay/uplink/central/audit"
	"scanrelay/uplink/central/caller"
	"scanrelay/uplink/central/identity"
	"scanrelay/uplink/central/looks"
	"scanrelay/uplink/central/lookup"
	"scanrelay/uplink/central/orders"
	"scanrelay/uplink/central/page"
	"scanrelay/uplink/central/presence"
	"scanrelay/uplink/central/quota"
	"scanrelay/uplink/central/rollout"
	"scanrelay/uplink/central/settings"
	"scanrelay/uplink/central/shares"
	"scanrelay/uplink/central/tokens"
	"scanrelay/uplink/central/updates"
	"scanrelay/uplink/central/waiting"
	"scanrelay/uplink/central/waybills"
	"scanrelay/uplink/syncapi"
	"scanrelay/uplink/syncapi/directive"
	"scanrelay/wechat/callback"
)

// Central is the centre. Make it with New, serve Handler, and Run it.
type Central struct {
	o        Options
	started  time.Time
	keys     *caller.Keyring
	live     atomic.Pointer[Config] // what can change while the centre runs is read here
	terms    atomic.Pointer[lookup.Terms]
	ids      *identity.Service
	orders   *orders.Orders
	looks    *looks.Looks
	lookups  looks.Lookups
	wechat   *callback.Handler // nil: WeChat calls nobody here
	updates  *updates.Service  // nil: there is no repository
	rollouts *rollout.Service
	settings *settings.Service

	tokens   Tokens
	shares   Shares
	parts    *shares.Processes // nil: there is one process
	waiting  Waiting
	presence Presence
	finished presence.Finished
	roster   roster
	quotas   *quota.Quotas

	meters  *meters
	refused wait.Rarely // lines about credentials
	failed  wait.Rarely // lines about syncs that the store did not take
	// lines bounds those about a depot's numbers, by depot.
	lines   *limit.Keyed
	slots   *slots
	handler http.Handler
	ops     http.Handler // nil: handler serves all
	local   http.Handler
}

// New makes a Central. Its error names all that is wrong with the options.
func New(o Options) (*Central, error) {
	o.defaults()
	if err := o.problems(); err != nil {
		return nil, fmt.Errorf("configure central: %w", err)
	}
	conf := &o.Config
	depots := make([]scan.DepotID, len(conf.Depots))
	for i, d := range conf.Depots {
		depots[i] = d.ID
	}
	rate := shares.New(conf.Rate, o.Now)
	var heard presence.Table
	var token tokens.Table
	var waits Waiting = waiting.New(o.Now)
	if o.Shared != nil {
		heard, token, waits = o.Shared, o.Shared, waiting.Among(o.Shared, o.Logger)
	}
	c := &Central{
		o: o, started: o.Now(),
		keys: caller.NewKeyring(caller.Options{
			Credentials: conf.credentials(), Proxies: conf.TrustedProxies, Now: o.Now, Logger: o.Logger, Metrics: o.Metrics,
		}),
		tokens: tokens.New(tokens.Options{
			Source: o.WeChat, AppID: conf.AppID, Secrets: conf.secrets(), Table: token, Now: o.Now, Logger: o.Logger, Metrics: o.Metrics,
		}),
		shares: rate, waiting: waits, presence: presence.New(depots, heard, o.Now), roster: roster{busy: make(chan struct{}, 1)},
		slots: newSlots(), refused: wait.Rarely{Every: time.Minute}, failed: wait.Rarely{Every: time.Minute}, lines: limit.New(1, 60, maxBuckets),
	}
	_, alone := o.Documents.(*identity.Journal)
	if !alone {
		c.parts = shares.Among(rate, o.Documents, o.Logger)
	}
	c.orders = orders.New(orders.Options{Table: o.Documents, Alone: alone, Audit: o.Audit, Now: o.Now, Logger: o.Logger})
	c.looks = looks.New(looks.Options{Table: o.Documents, Alone: alone, Now: o.Now, Logger: o.Logger})
	c.quotas = quota.New(quota.Options{
		Source: o.WeChat, Tokens: c.tokens, Shares: c.shares, Now: o.Now, Logger: o.Logger, Metrics: o.Metrics,
	})
	c.live.Store(conf)
	c.terms.Store(conf.terms())
	var err error
	c.ids, err = identity.New(context.Background(), identity.Options{
		Store: o.Identities, Ended: o.Ended, Audit: o.Audit, Keys: c.keys, Now: o.Now, Logger: o.Logger, Metrics: o.Metrics,
	}, func() identity.Config { return c.live.Load().identity() })
	if err != nil {
		return nil, fmt.Errorf("open the depots' identities: %w", err)
	}
	c.keys.Know(c.ids, c.ids.Key("browsers"))
	if conf.Updates.Dir != "" {
		c.updates, err = updates.New(updates.Options{
			Dir: conf.Updates.Dir, KeyFile: conf.Updates.TimestampKeyFile, Table: o.Documents, Depot: c.keys.Depot, Now: o.Now, Logger: o.Logger,
		})
		if err != nil {
			return nil, fmt.Errorf("configure central: %w", err)
		}
	}
	going := rollout.Options{Table: o.Documents, Alone: alone, Audit: o.Audit, Fleet: c.members, Now: o.Now, Logger: o.Logger}
	if c.updates != nil {
		going.Releases = c.updates.Releases
	}
	c.rollouts = rollout.New(going)
	// What is damaged is told of, and keeps no centre from answering WeChat and depots.
	if err := c.rollouts.Load(context.Background()); err != nil && !errors.Is(err, durable.ErrDamaged) {
		return nil, fmt.Errorf("read the rollout: %w", err)
	}
	c.settings = settings.New(settings.Options{Table: o.Documents, Alone: alone, Audit: o.Audit, Check: o.CheckConfig, Now: o.Now, Logger: o.Logger})
	if err := c.settings.Load(context.Background()); err != nil && !errors.Is(err, durable.ErrDamaged) {
		return nil, fmt.Errorf("read the remote configurations: %w", err)
	}
	if err := c.presence.Load(context.Background()); err != nil {
		return nil, err
	}
	c.meters = newMeters(c)
	if c.handler, c.ops, err = c.routes(); err != nil {
		return nil, fmt.Errorf("configure central: %w", err)
	}
	return c, nil
}

// Handler serves the centre's HTTP API; all of it, but for what Ops serves.
func (c *Central) Handler() http.Handler { return c.handler }

// Local serves operators on a socket that the operating system guards.
func (c *Central) Local() http.Handler { return c.local }

// Ops serves operators where that is apart (Config.OpsApart), else it is nil.
func (c *Central) Ops() http.Handler { return c.ops }

func (c *Central) routes() (outside, ops http.Handler, err error) {
	o, conf := &c.o, &c.o.Config
	carrier := waybills.New(waybills.Options{
		Store: prompt{o.Snapshot}, Waiting: c.waiting, Looks: c.looks, Lookups: &c.lookups, Retain: func() time.Duration { return c.live.Load().Retain }, Now: c.now, Logger: o.Logger, Metrics: o.Metrics,
	})
	pages, err := page.New(page.Options{
		Keys: c.keys, Version: o.Version, Started: c.started, Now: o.Now, Logger: o.Logger, Snapshot: o.Snapshot,
		Tokens: c.tokens, Shares: c.shares, Waiting: c.waiting, Depots: c.depots, Depot: c.depot, Waybill: carrier.Look, Reveal: c.noteReveal, Audit: o.Audit, Quotas: c.quotas, Backup: o.Backup.Trouble,
		Rollout: func(ctx context.Context) (*rollout.View, error) { v, _, err := c.rollouts.Now(ctx); return v, err },
		Events:  func(r syncapi.Result) uint64 { return c.meters.events(r).Get() },
	})
	if err != nil {
		return nil, nil, err
	}
	mux := http.NewServeMux()
	own, metrics := mux, c.keys.Look(caller.Viewer, c.serveMetrics)
	if conf.OpsApart { // who reaches that listener may measure
		own, metrics = http.NewServeMux(), c.serveMetrics
		own.HandleFunc("GET /healthz", c.serveHealth)
	}
	var all http.Handler = mux
	mux.HandleFunc("POST "+syncapi.Path, c.serveSync)
	mux.HandleFunc("POST /v1/waybills", c.keys.Need(caller.Importer, carrier.Import))
	if c.updates != nil {
		mux.Handle("GET "+directive.UpdatesPath, c.updates)
	}
	c.ids.Gateways(mux)
	c.ids.Operators(own, contacts{c}, c.ownAlarms)
	c.rollouts.Operators(own, c.keys)
	c.settings.Operators(own, c.keys, c.configured)
	mux.HandleFunc("GET "+directive.ConfigPath, c.settings.Gateway(c.keys.Depot, c.about))
	own.HandleFunc("POST /v1/depots/{id}/deadletters", c.keys.Need(caller.Actor, c.orders.DeadLetters(c.keys, func(r *http.Request, id scan.DepotID) (bool, error) {
		d, err := c.depot(r.Context(), id)
		return d != nil, err
	})))
	own.HandleFunc("POST /v1/backup", c.keys.Need(caller.Admin, c.serveBackup))
	masked, revealed := c.keys.Look(caller.Viewer, carrier.View), c.keys.Look(caller.Actor, c.revealed(carrier.View))
	own.HandleFunc("GET /v1/waybills/{id}", func(w http.ResponseWriter, r *http.Request) {
		if waybills.Reveals(r) {
			revealed(w, r)
		} else {
			masked(w, r)
		}
	})
	mux.Handle("GET /jsonp/waybill", &lookup.Landing{
		From: prompt{o.Snapshot}, Terms: c.terms.Load,
		Proxies: c.keys.Proxies, Now: o.Now, Logger: o.Logger, Metrics: o.Metrics,
	})
	mux.HandleFunc("GET /healthz", c.serveHealth)
	own.HandleFunc("GET /readyz", c.serveReady)
	own.HandleFunc("GET /metrics", metrics)
	own.Handle("GET /{$}", pages)
	own.Handle("GET /depots/{id}", pages)
	own.Handle("GET /waybills", pages)
	own.Handle("GET /audit", pages)
	own.HandleFunc("POST /signin", pages.SignIn)
	own.HandleFunc("POST /signout", pages.SignOut)
	if cb := conf.callback(); cb.Token != "" {
		cb.Now, cb.Logger, cb.Observe = c.now, o.Logger, c.meters.callback
		if c.wechat, err = callback.NewHandler(cb, c.noted(lookup.Reverse(o.Snapshot))); err != nil {
			return nil, nil, err
		}
		all = c.wechat.At(conf.Callback.Path, mux)
	}
	// Whatever a browser would send along by itself, no other site's page may
	// make it change anything here.
	protect := func(h http.Handler) http.Handler { return plainHeaders(http.NewCrossOriginProtection().Handler(h)) }
	if conf.OpsApart {
		ops = protect(own)
	}
	c.local = caller.Local(own)
	return protect(all), ops, nil
}

// revealed notes who is shown the personal data of which waybill.
func (c *Central) revealed(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := c.noteReveal(r, caller.Of(r.Context()).Name, r.PathValue("id")); err != nil {
			serve.Fail(w, http.StatusServiceUnavailable, "what is shown in clear must be noted, and the audit log cannot be written now")
			return
		}
		next(w, r)
	}
}

// noteReveal notes who is shown the personal data of a waybill.
func (c *Central) noteReveal(r *http.Request, who, number string) error {
	e := audit.Entry{Who: who, Action: "waybill.reveal", Result: audit.OK, Detail: number}
	if from := c.keys.Proxies().Client(r); from.IsValid() {
		e.From = from.String()
	}
	err := c.o.Audit.Add(e)
	if err != nil {
		c.o.Logger.Error("write the audit log", "error", err)
	}
	return err
}

// noted is a reverse lookup of which it is remembered what was answered.
func (c *Central) noted(next callback.Lookup) callback.Lookup {
	return func(ctx context.Context, q callback.Query) callback.Answer {
		a := next(ctx, q)
		c.lookups.Note(scan.NormalizeWaybill(q.WaybillID), c.o.Now(), lookupResults[a.Code])
		return a
	}
}

var lookupResults = map[int]string{
	callback.CodeOK: "ok", callback.CodeNoWaybill: "no_waybill", callback.CodeWrongPhone: "wrong_phone", callback.CodeTryAgain: "try_again",
}

// serveBackup gives an archive of the store, and notes who was given it.
func (c *Central) serveBackup(w http.ResponseWriter, r *http.Request) {
	c.o.Backup.Serve(w, r, func(err error) {
		e := audit.Entry{Who: caller.Of(r.Context()).Name, Action: "store.backup", Result: audit.OK}
		if from := c.keys.Proxies().Client(r); from.IsValid() {
			e.From = from.String()
		}
		if err != nil {
			e.Result, e.Detail = audit.Failed, err.Error()
			c.o.Logger.Error("back up the store", "error", err)
		}
		if err := c.o.Audit.Add(e); err != nil {
			c.o.Logger.Error("write the audit log", "error", err)
		}
	})
}

// ownAlarms are those of no depot.
func (c *Central) ownAlarms() (list []identity.Alarm) {
	st, err := c.o.Snapshot.Stats(context.Background()) // which ends by itself
	if err != nil {
		st.Blocked = err.Error()
	}
	if st.Blocked != "" {
		list = append(list, identity.Alarm{
			Kind: "store_blocked", What: "Nothing can be written, depots wait: " + st.Blocked,
			Do: "Mend what it says; it goes on by itself then.",
		})
	}
	for _, what := range st.Damage {
		list = append(list, identity.Alarm{
			Kind: "store_damaged", What: what, Do: "Do what it says; store/snapshot/README.md has each case. The alarm stands until the centre is started again.",
		})
	}
	if st.Held != "" {
		list = append(list, identity.Alarm{Kind: "forgetting_held", What: "Nothing is forgotten: " + st.Held, Do: "Set the clock right; if it is right, do nothing: it goes on by itself."})
	}
	if c.updates != nil {
		if e := c.updates.Expiring(context.Background()); e.Role != "" { // files of this machine, and the store
			list = append(list, identity.Alarm{
				Kind: "releases_expire", What: fmt.Sprintf("Gateways take no release after %s: then the metadata %s expires. What runs goes on.", e.At.UTC().Format(time.DateOnly), e.Role),
				Do: "Have it signed anew where its keys are: agent/update/release/README.md, \"When a key is lost\".",
			})
		}
	}
	if why, since := c.o.Backup.Trouble(); why != "" {
		list = append(list, identity.Alarm{
			Kind: "backup_failed", Since: since.UTC().Truncate(time.Second), What: "There is no new copy of the centre's state: " + why,
			Do: "Look at the disk of backup.dir; it is tried again every ten minutes.",
		})
	}
	return list
}

// Reload puts in use what can change while the centre runs: all but AppID, Updates, OpsApart
// and, of Callback, Path, Mode, SwapNames and MaxSkew. After an error nothing has changed.
func (c *Central) Reload(ctx context.Context, next Config) error {
	o := c.o
	o.Config = next
	o.defaults()
	if err := o.problems(); err != nil {
		return fmt.Errorf("configure central: %w", err)
	}
	was, useKeys := c.live.Load(), func() {}
	if c.wechat != nil {
		var err error
		if useKeys, err = c.wechat.Prepare(o.Config.callback()); err != nil {
			return err
		}
	}
	if err := c.shares.Ask(ctx, o.Config.Rate); err != nil {
		return fmt.Errorf("change the rate: %w", err)
	}
	if err := c.tokens.Change(ctx, o.Config.secrets()); err != nil {
		return errors.Join(fmt.Errorf("change the secret: %w", err), c.shares.Ask(ctx, was.Rate))
	}
	useKeys()
	terms := o.Config.terms()
	if was.PerWaybill == o.Config.PerWaybill && was.PerAddress == o.Config.PerAddress { // who has guessed has
		terms.PerWaybill, terms.PerAddress = c.terms.Load().PerWaybill, c.terms.Load().PerAddress
	}
	c.terms.Store(terms)
	c.live.Store(&o.Config)
	c.keys.Set(o.Config.credentials(), o.Config.TrustedProxies)
	if err := c.o.Audit.Add(audit.Entry{Who: "the centre", Action: "configuration.reload", Result: audit.OK}); err != nil {
		c.o.Logger.Error("write the audit log", "error", err)
	}
	return nil
}

// lookupLimit is how long a lookup may take: a disk may be slow, and whoever asks
// is told so.
const lookupLimit = 2 * time.Second

// prompt is a store whose lookups end.
type prompt struct{ snapshot.Store }

func (p prompt) Lookup(ctx context.Context, id scan.WaybillID) (snapshot.Waybill, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupLimit)
	defer cancel()
	return p.Store.Lookup(ctx, id)
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
	loops.Go(func() { c.waiting.Run(ctx) })
	loops.Go(func() { c.forgetLoop(ctx) })
	loops.Go(func() { c.ids.Watch(ctx) })
	loops.Go(func() { c.orders.Run(ctx) })
	loops.Go(func() { c.rollouts.Run(ctx) })
	loops.Go(func() { c.looks.Run(ctx) })
	loops.Go(func() { c.settings.Run(ctx) })
	if c.parts != nil {
		loops.Go(func() { c.parts.Run(ctx) })
	}
	loops.Go(func() { c.o.Backup.Run(ctx) })
	err := c.o.Snapshot.Wait(ctx)
	cancel()
	loops.Wait()
	return err
}

// Forget looks at a part of the store each step, rests then as long as that took,
// which leaves half the disk to others, and after a whole round.
const (
	forgetStep = 100 * time.Millisecond // at least
	forgetRest = 10 * time.Minute
)

func (c *Central) forgetLoop(ctx context.Context) {
	for rest := forgetStep; wait.Sleep(ctx, rest); {
		start := time.Now()
		f, err := c.o.Snapshot.Forget(ctx, snapshot.Retention{Keep: c.live.Load().Retain, WeChat: c.o.WeChatTime()})
		rest = max(forgetStep, time.Since(start))
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			c.o.Logger.Error("forget old waybills", "error", err)
			rest = forgetRest
		case f.Done:
			rest = forgetRest
		}
		c.meters.forgotten.Add(f.Waybills)
	}
}
