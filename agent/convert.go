package agent

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	"scanrelay/agent/intake"
	"scanrelay/agent/intake/broker"
	"scanrelay/agent/intake/link"
	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/intake/source"
	"scanrelay/configs"
	"scanrelay/store"
	"scanrelay/uplink"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat"
)

func storeOptions(c *configs.Agent) store.Options {
	return store.Options{
		MaxSize: int64(c.Store.MaxSize), Retain: c.Store.Retain,
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
	conf, err := e.TLS.Config(tls.RequireAndVerifyClientCert)
	return broker.Config{
		MaxPacket: int64(e.MaxPacket), MaxClients: e.MaxClients, Rate: e.Rate,
		Logger: a.log, Users: brokerUsers(a.cfg), TLS: conf,
	}, err
}

func brokerUsers(c *configs.Agent) (users []broker.User) {
	for _, u := range c.MQTT.Embedded.Users {
		users = append(users, broker.User(u))
	}
	return users
}

// newIntake makes the pipe and what fills it: a Source, or a Broker that serves the
// MQTT listener.
func newIntake(a *Agent) (intakePart, error) {
	rules, problems := mapping.Compile(a.cfg.Mapping())
	if err := problems.Err(); err != nil {
		return nil, fmt.Errorf("configure intake: %w", err)
	}
	a.births = a.loadBirths()
	outbox := &meteredOutbox{a.outbox, a.metrics, a.opts.Hooks.OnStored}
	a.pipe = intake.New(mapping.New(rules, a.clock, a.births), outbox, a.cfg.DedupeWindow)
	if !a.cfg.MQTT.IsEmbedded() {
		return source.New(source.Config{Config: Brokers(a.cfg), Logger: a.log}, a.pipe)
	}
	if a.opts.Listeners.MQTT == nil {
		return nil, fmt.Errorf("mqtt.broker is %s and nothing listens on mqtt.listen", configs.EmbeddedBroker)
	}
	bc, err := brokerConfig(a)
	if err != nil {
		return nil, fmt.Errorf("mqtt.embedded.tls: %w", err)
	}
	b, err := broker.New(bc, a.pipe)
	if err != nil {
		return nil, err
	}
	return &served{b, a.opts.Listeners.MQTT}, nil
}

// served is the embedded broker with its listener.
type served struct {
	*broker.Broker
	ln net.Listener
}

// Run implements intakePart.
func (s *served) Run(ctx context.Context) error { return s.Broker.Run(ctx, s.ln) }

func newUplink(a *Agent) (*uplink.Uplink, error) {
	client, err := syncapi.NewClient(syncapi.Options{
		URL: a.cfg.Central.URL, Token: a.cfg.Central.Token, TLS: a.cfg.Central.TLS,
	})
	if err != nil {
		return nil, err
	}
	we, err := wechat.NewClient(wechat.Options{
		BaseURL: a.cfg.WeChat.BaseURL, FallbackURL: a.cfg.WeChat.FallbackURL, Logger: a.log,
	})
	if err != nil {
		return nil, fmt.Errorf("wechat: %w", err)
	}
	return uplink.New(uplink.Config{
		Client: client, Outbox: a.outbox, WeChat: we, Clock: a.clock, Notify: notify(a.cfg.Notify),
		Version: a.opts.Version, Logger: a.log, Metrics: a.metrics,
		Hooks: uplink.Hooks{OnSynced: a.opts.Hooks.OnSynced, OnOutcome: a.opts.Hooks.OnOutcome},
	}), nil
}

func notify(n configs.Notify) uplink.Notify {
	return uplink.Notify{
		Concurrency: n.Concurrency, Rate: n.Rate, Actions: n.Actions, FreshFor: n.FreshFor, MaxAge: n.MaxAge,
		BindingBound: n.BindingTTL.Bound, BindingUnbound: n.BindingTTL.Unbound,
	}
}
