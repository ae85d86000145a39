package intake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/intake/topic"
)

// Heard is a message as it arrived, for people who set up a device.
type Heard struct {
	Topic      string    `json:"topic"`
	Payload    []byte    `json:"payload"`
	DUP        bool      `json:"dup,omitempty"`
	Retained   bool      `json:"retained,omitempty"`
	ReceivedAt time.Time `json:"received_at"`
	// Size is that of the whole payload in bytes, where Payload was cut short.
	Size int64 `json:"size,omitempty"`
	// Missed is how many messages were left out before this one: who listens
	// is slower than what comes.
	Missed uint64 `json:"missed,omitempty"`
}

// ears are those who listen to what comes. Intake never waits for them.
type ears struct {
	any atomic.Bool // somebody listens

	mu   sync.Mutex
	open map[*ear]struct{} // guarded by mu
}

type ear struct {
	heard  chan Heard
	missed uint64 // guarded by ears.mu
}

// Info is what a Mapper has to know of it.
func (h *Heard) Info() mapping.Info {
	return mapping.Info{DUP: h.DUP, Retained: h.Retained, ReceivedAt: h.ReceivedAt, Size: h.Size}
}

func (e *ears) hear(h Heard) {
	if !e.any.Load() {
		return
	}
	h.Payload = bytes.Clone(h.Payload)
	if h.Size == int64(len(h.Payload)) {
		h.Size = 0
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for one := range e.open {
		h.Missed = one.missed
		select {
		case one.heard <- h:
			one.missed = 0
		default:
			one.missed++
		}
	}
}

// listen calls fn for each message until ctx ends or fn fails.
func (e *ears) listen(ctx context.Context, fn func(Heard) error) error {
	one := &ear{heard: make(chan Heard, 64)}
	e.mu.Lock()
	if e.open == nil {
		e.open = make(map[*ear]struct{})
	}
	e.open[one] = struct{}{}
	e.any.Store(true)
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.open, one)
		e.any.Store(len(e.open) > 0)
	}()
	for {
		select {
		case h := <-one.heard:
			if err := fn(h); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// Listen calls fn for each message that devices publish, until ctx ends or fn
// fails. Messages that come faster than fn takes them are left out.
func (b *Broker) Listen(ctx context.Context, fn func(Heard) error) error {
	return b.funnel.ears.listen(ctx, fn)
}

// Listen calls fn for each message that comes on these filters at the first
// broker that lets us in, until ctx ends or fn fails. It has a session of its
// own, with QoS 0 and forgotten by the broker at the end, so nothing is taken
// away from the agent: cfg.ClientID must not be the agent's. ready is called
// once it is subscribed.
func Listen(ctx context.Context, cfg SourceConfig, filters []string, ready func(broker string), fn func(Heard) error) error {
	want := make(map[string]byte)
	for _, f := range filters {
		want[topic.Unshared(f)] = 0
	}
	var e ears
	ended := make(chan error, 1)
	client, broker, err := visit(ctx, cfg, visitor{
		handle: func(m mqtt.Message, size int64) {
			e.hear(Heard{
				Topic: m.Topic(), Payload: m.Payload(), DUP: m.Duplicate(), Retained: m.Retained(),
				ReceivedAt: time.Now(), Size: size,
			})
		},
		lost: func(err error) { ended <- err }, // it is called once
	})
	if err != nil {
		return err
	}
	defer client.Disconnect(250)
	listening, stop := context.WithCancel(ctx)
	defer stop()
	listened := make(chan error, 1)
	go func() { listened <- e.listen(listening, fn) }()
	token := client.SubscribeMultiple(want, nil)
	if err = answered(ctx, token, "a subscription"); err == nil {
		ready(Redacted(broker))
		select {
		case err = <-ended:
			err = fmt.Errorf("mqtt broker %s: the connection was lost: %w", Redacted(broker), err)
		case err = <-listened:
			return err
		}
	}
	stop()
	return errors.Join(err, <-listened)
}

// visit connects to the first broker that lets us in, for a while, beside the
// agent.
func visit(ctx context.Context, cfg SourceConfig, v visitor) (mqtt.Client, string, error) {
	var errs []error
	for _, broker := range cfg.Brokers {
		client, _, err := v.visit(ctx, cfg, broker)
		if err == nil {
			return client, broker, nil
		}
		errs = append(errs, err)
	}
	return nil, "", errors.Join(errs...)
}

// visitor is a client beside the agent's.
type visitor struct {
	keep   bool                             // the session outlives the connection
	manual bool                             // messages are not acknowledged
	handle func(m mqtt.Message, size int64) // must not block for long; size is that of the whole payload
	lost   func(error)                      // nil: nobody asks
}

// visit connects to one broker; present tells that it had kept our session.
func (v visitor) visit(ctx context.Context, cfg SourceConfig, broker string) (client mqtt.Client, present bool, err error) {
	u, err := parseBroker(broker)
	if err != nil {
		return nil, false, err
	}
	s := &Source{cfg: cfg}
	s.cfg.silence, s.cfg.maxPayload = time.Minute, mapping.DefaultMaxPayload
	var g *guard
	o := mqtt.NewClientOptions()
	o.Servers = []*url.URL{u}
	o.SetClientID(cfg.ClientID).SetUsername(cfg.Username).SetPassword(cfg.Password)
	o.SetCleanSession(!v.keep).SetProtocolVersion(4).SetOrderMatters(true).SetAutoAckDisabled(v.manual)
	o.SetAutoReconnect(false).SetConnectRetry(false).SetConnectTimeout(connectTimeout).SetPingTimeout(pingTimeout)
	o.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { v.handle(m, g.size(m.Payload())) })
	o.SetConnectionLostHandler(func(_ mqtt.Client, err error) {
		if v.lost != nil {
			v.lost(err)
		}
	})
	o.SetCustomOpenConnectionFn(func(u *url.URL, _ mqtt.ClientOptions) (net.Conn, error) {
		var err error
		if g, err = s.dial(ctx, u); err != nil {
			return nil, err
		}
		return g, nil
	})
	client = mqtt.NewClient(o)
	token := client.Connect()
	if err := tokenDone(ctx, token); err != nil {
		client.Disconnect(0)
		return nil, false, describe(cfg, broker, err)
	}
	answer, ok := token.(*mqtt.ConnectToken)
	return client, ok && answer.SessionPresent(), nil
}
