package agent

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"path/filepath"

	"scanrelay/agent/identity"
	"scanrelay/agent/intake"
	"scanrelay/agent/intake/broker"
	"scanrelay/agent/intake/link"
	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/intake/source"
	"scanrelay/agent/intake/user"
	"scanrelay/agent/scan"
	"scanrelay/configs"
	"scanrelay/configs/limit"
	"scanrelay/configs/serve"
	"scanrelay/store"
	"scanrelay/uplink"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat"
)

func storeOptions(c *configs.Agent) store.Options {
	return store.Options{
		MaxSize: int64(c.Store.MaxSize), Retain: max(c.Store.Retain, 1), // 0 is the store's default
		QuarantineSize: int64(c.Quarantine.MaxSize), QuarantineCount: c.Quarantine.MaxCount,
	}
}

// Brokers converts how external brokers are reached.
func Brokers(c *configs.Agent) link.Config {
	m := c.MQTT
	return link.Config{
		Brokers: append([]string{m.Broker}, m.Brokers...), ClientID: m.ClientID,
		Username: m.Username, Password: m.Password, TLS: m.TLS,
	}
}

func brokerConfig(a *Agent) (broker.Config, error) {
	e := a.cfg.MQTT.Embedded
	users, problems := user.Compile(e.Users)
	clients := clientsWithin(e.MaxClients, serve.Descriptors())
	if clients < e.MaxClients {
		a.log.Warn("max_clients is more than this process may have open (ulimit -n): fewer are let in", "max_clients", e.MaxClients, "clients", clients, "descriptors", serve.Descriptors())
	}
	return broker.Config{
		MaxPacket: int64(e.MaxPacket), MaxClients: clients, MaxPerAddress: min(e.MaxClientsPerAddress, clients), Rate: e.Rate,
		Sessions: filepath.Join(a.cfg.DataDir, broker.SessionsName), Logger: a.log, Pulse: &a.pulses.mqtt, Users: users,
	}, problems.Err()
}

// clientsWithin is how many of max_clients a process that may have so many files and
// connections open lets in: the store must find a descriptor, whoever connects.
func clientsWithin(maxClients, descriptors int) int { return min(maxClients, max(1, descriptors/2)) }

// newIntake makes the pipe and what fills it: a Source, or a Broker that serves the
// MQTT listener.
func newIntake(a *Agent) (intakePart, error) {
	rules, problems := mapping.Compile(a.cfg.Mapping())
	if err := problems.Err(); err != nil {
		return nil, fmt.Errorf("configure intake: %w", err)
	}
	a.births = a.loadBirths()
	outbox := &meteredOutbox{outbox: a.outbox, set: a.metrics, onStored: a.onStored, unmapped: limit.NewLog(a.log, tellAgain, maxUnmapped)}
	a.pipe = intake.New(mapping.New(rules, a.clock, a.births), outbox, a.cfg.DedupeWindow)
	a.pipe.Pulse = &a.pulses.intake
	if !a.cfg.MQTT.IsEmbedded() {
		return source.New(source.Config{
			Config: Brokers(a.cfg), Sessions: filepath.Join(a.cfg.DataDir, source.SessionsName), Logger: a.log, Pulse: &a.pulses.mqtt,
		}, a.pipe)
	}
	listeners, err := brokerListeners(a)
	if err != nil {
		return nil, err
	}
	cfg, err := brokerConfig(a)
	if err != nil {
		return nil, fmt.Errorf("configure the embedded broker: %w", err)
	}
	return &served{broker.New(cfg, a.pipe), listeners}, nil
}

// brokerListeners are what the embedded broker serves on, mqtt.listen first.
func brokerListeners(a *Agent) (list []broker.Listener, err error) {
	all := a.cfg.MQTT.Listeners()
	if len(a.opts.Listeners.MQTT) != len(all) {
		return nil, fmt.Errorf("mqtt.broker is %s and nothing listens on mqtt.listen", configs.EmbeddedBroker)
	}
	for i, l := range all {
		conf, err := l.TLS.Config(tls.RequireAndVerifyClientCert)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.TLSKey(), err)
		}
		list = append(list, broker.Listener{Listener: a.opts.Listeners.MQTT[i], TLS: conf, WebSocket: l.WebSocket})
	}
	return list, nil
}

// served is the embedded broker with its listeners.
type served struct {
	*broker.Broker
	listeners []broker.Listener
}

// Run implements intakePart.
func (s *served) Run(ctx context.Context) error { return s.Broker.Run(ctx, s.listeners...) }

// Centre makes what calls the centre, and what it shows there. boot names the start
// of the agent that it speaks for.
func Centre(c *configs.Agent, keys *identity.Keys, boot string, logger *slog.Logger) (*syncapi.Client, *identity.Credential, error) {
	client, err := syncapi.NewClient(syncapi.Options{URL: c.Central.URL, TLS: c.Central.TLS})
	if err != nil {
		return nil, nil, err
	}
	credential := identity.New(identity.Options{
		Keys: keys, Centre: client, Boot: boot, Static: c.Central.Token, Certificate: c.Central.TLS.CertFile != "",
		EnrolToken: c.Central.EnrolToken, Adopt: c.Identity.Adopt, Logger: logger,
	})
	client.Use(credential)
	return client, credential, nil
}

// newUplink makes what calls the centre, and the relays.
func newUplink(a *Agent) error {
	boot, err := a.keys.NewBoot()
	if err != nil {
		a.log.Error("name this start of the agent; scans are taken all the same", "error", err)
	}
	client, _, err := Centre(a.cfg, a.keys, boot, a.log)
	if err != nil {
		return err
	}
	a.fleet = newFleet(a, client)
	we, err := wechat.NewClient(wechat.Options{
		BaseURL: a.cfg.WeChat.BaseURL, FallbackURL: a.cfg.WeChat.FallbackURL, Logger: a.log,
	})
	if err != nil {
		return fmt.Errorf("wechat: %w", err)
	}
	a.relays.make(uplink.Config{
		Client: client, Outbox: a.outbox, WeChat: we, Clock: a.clock, Notify: notify(a.cfg.Notify),
		Version: a.opts.Version, Health: a.health, Orders: a.orders, Fleet: a.fleet, Logger: a.log, Metrics: a.metrics,
		SyncPulse: &a.pulses.sync, PushPulse: &a.pulses.push, CallPulse: &a.pulses.calls,
		Hooks: uplink.Hooks{OnSynced: a.opts.Hooks.OnSynced, OnOutcome: a.onOutcome},
	})
	return nil
}

func (a *Agent) onStored(b scan.Batch, s scan.Stored) {
	a.lately.Stored(b, s)
	if hook := a.opts.Hooks.OnStored; hook != nil {
		hook(b, s)
	}
}

func (a *Agent) onOutcome(r store.Record) {
	a.lately.Ended(r)
	if hook := a.opts.Hooks.OnOutcome; hook != nil {
		hook(r)
	}
}

func notify(n configs.Notify) uplink.Notify {
	return uplink.Notify{
		Concurrency: n.Concurrency, Rate: n.Rate, Actions: n.Actions, FreshFor: n.FreshFor, MaxAge: n.MaxAge,
		BindingBound: n.BindingTTL.Bound, BindingUnbound: n.BindingTTL.Unbound,
	}
}
