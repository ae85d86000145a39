package probe

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"scanrelay/agent/intake/link"
	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/intake/topic"
	"scanrelay/configs/wait"
)

// Finding is one thing that Run found out about a broker, or could not.
type Finding struct {
	What   string `json:"what"`
	Result string `json:"verdict"` // ok, risk or unknown
	Text   string `json:"text"`
}

// The words of Finding.Result.
const (
	OK      = "ok"
	Risk    = "risk"
	Unknown = "unknown"
)

// Bounds of a run.
const (
	messageCount = 1100             // more than a stock mosquitto keeps for who is away
	largeSize    = 250 << 10        // bytes; just below what the embedded broker takes
	quietTime    = time.Second      // nothing more comes after so long
	stepTime     = 30 * time.Second // for each step
	goodWindow   = 100              // unacknowledged messages; fewer make small commits
)

// probe is one run against one broker.
type probe struct {
	cfg      link.Config
	broker   string
	topic    string
	quiet    time.Duration // nothing more comes after so long
	findings []Finding
}

// Run finds out what one broker promises: it connects beside the agent with the
// client id cfg.ClientID, which must not be the agent's, and publishes to a topic
// scanrelay-check/<client id> that no source takes. At the end nothing of it is
// left at the broker.
func Run(ctx context.Context, cfg link.Config, broker string, m *mapping.Mapper) []Finding {
	return newProbe(cfg, broker).run(ctx, m)
}

func newProbe(cfg link.Config, broker string) *probe {
	return &probe{cfg: cfg, broker: broker, topic: "scanrelay-check/" + cfg.ClientID, quiet: quietTime}
}

func (p *probe) run(ctx context.Context, m *mapping.Mapper) []Finding {
	if !p.connects(ctx, m.Subscriptions()) {
		return p.findings
	}
	if m.Takes(p.topic) {
		p.add("queue, window, retained", Unknown, "not tried: a source takes the topic %s on which it would be", p.topic)
	} else {
		if err := p.away(ctx); err != nil {
			p.add("queue, window", Unknown, "%s", err)
		}
		p.retained(ctx)
	}
	if c, _, err := link.Connect(ctx, p.cfg, p.broker, link.Options{}); err == nil {
		c.Disconnect(100) // with a clean session, which ends the kept one
	}
	p.add("kill, power cut", Unknown, "whether it has on disk what it acknowledged cannot be known from outside; configs/mosquitto.conf shows the settings, and what remains at risk")
	p.add("session's life", Unknown, "how long it keeps the session of an agent that is away, and how many bytes for it, cannot be known from outside")
	return p.findings
}

func (p *probe) add(what, result, format string, args ...any) {
	p.findings = append(p.findings, Finding{what, result, fmt.Sprintf(format, args...)})
}

// check adds a finding that is ok or a risk.
func (p *probe) check(ok bool, what, good, bad string) {
	if ok {
		p.add(what, OK, "%s", good)
	} else {
		p.add(what, Risk, "%s", bad)
	}
}

// offer sends v if there is room for it.
func offer[T any](c chan<- T, v T) {
	select {
	case c <- v:
	default:
	}
}

// connects looks at what a first connection shows. False: there is none.
func (p *probe) connects(ctx context.Context, subs []mapping.Subscription) bool {
	version := make(chan string, 1)
	c, _, err := link.Connect(ctx, p.cfg, p.broker, link.Options{Handle: func(m mqtt.Message, _ int64) {
		if m.Topic() == "$SYS/broker/version" {
			offer(version, string(m.Payload()))
		}
	}})
	if err != nil {
		p.add("connection", Risk, "%s", err)
		return false
	}
	defer c.Disconnect(100)
	p.add("connection", OK, "MQTT 3.1.1")
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	for _, s := range subs {
		filter := topic.Unshared(s.Filter)
		token := c.Subscribe(filter, s.QoS, nil)
		err := link.Done(ctx, token)
		granted := byte(link.RefusedQoS)
		if sub, ok := token.(*mqtt.SubscribeToken); ok && err == nil {
			granted = sub.Result()[filter]
		}
		p.check(granted <= 2 && granted >= max(s.QoS, 1), "subscription "+s.Filter, "granted with QoS "+strconv.Itoa(int(granted)),
			"refused or granted with too small a QoS: scans may get lost; check qos and the broker's access rules")
		c.Unsubscribe(filter)
	}
	if link.Done(ctx, c.Subscribe("$SYS/broker/version", 0, nil)) == nil {
		select {
		case v := <-version:
			p.add("version", OK, "%s", v)
		case <-time.After(p.quiet):
			p.add("version", Unknown, "it does not tell under $SYS/broker/version")
		}
	}
	return true
}

// away plays an agent that subscribes, is away while devices publish, and comes
// back.
func (p *probe) away(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*stepTime)
	defer cancel()
	c, _, err := link.Connect(ctx, p.cfg, p.broker, link.Options{Keep: true})
	if err != nil {
		return err
	}
	err = link.Done(ctx, c.Subscribe(p.topic, 1, nil))
	c.Disconnect(100)
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", p.topic, err)
	}
	if err := p.publish(ctx); err != nil {
		return err
	}
	window, present, err := p.fetch(ctx, true)
	if err != nil {
		return err
	}
	p.check(present, "session", "kept while the agent is away", "not kept: what comes while the agent is away is lost")
	all, _, err := p.fetch(ctx, false)
	switch {
	case err != nil:
		return err
	case all == 0 && present:
		return fmt.Errorf("what is published to %s does not come back: no permission, or it keeps nothing for who is away", p.topic)
	}
	p.check(all == messageCount, "queue", fmt.Sprintf("at least %d messages are kept for who is away", messageCount),
		fmt.Sprintf("of %d messages that it acknowledged %d were dropped: raise its queue (mosquitto: max_queued_messages 0)", messageCount, messageCount-all))
	p.check(window >= goodWindow, "window", fmt.Sprintf("%d messages unacknowledged", window),
		fmt.Sprintf("only %d messages unacknowledged at a time: safe but slow; 200 to 500 are good (mosquitto: max_inflight_messages)", window))
	return nil
}

// publish publishes as a device would, QoS 1, and then a large message.
func (p *probe) publish(ctx context.Context) error {
	cfg := p.cfg
	cfg.ClientID += "-device"
	back := make(chan struct{}, 1)
	c, _, err := link.Connect(ctx, cfg, p.broker, link.Options{Handle: func(mqtt.Message, int64) { offer(back, struct{}{}) }})
	if err != nil {
		return err
	}
	defer c.Disconnect(100)
	var tokens []mqtt.Token
	for i := range messageCount {
		tokens = append(tokens, c.Publish(p.topic, 1, false, strconv.Itoa(i)))
	}
	for _, token := range tokens {
		if err := link.Done(ctx, token); err != nil {
			return fmt.Errorf("publish to %s: %w", p.topic, err)
		}
	}
	p.check(p.large(ctx, c, back), "large messages", fmt.Sprintf("taken up to %d KiB at least", largeSize>>10),
		fmt.Sprintf("one of %d KiB is not taken (mosquitto: message_size_limit)", largeSize>>10))
	return nil
}

// large reports whether a large message comes back to its publisher. Its
// acknowledgement tells nothing: mosquitto acknowledges what is too large, drops
// it and then closes the connection.
func (p *probe) large(ctx context.Context, c mqtt.Client, back <-chan struct{}) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	topic := p.topic + "/large"
	if link.Done(ctx, c.Subscribe(topic, 1, nil)) != nil || link.Done(ctx, c.Publish(topic, 1, false, strings.Repeat("x", largeSize))) != nil {
		return false
	}
	closed := time.NewTicker(50 * time.Millisecond)
	defer closed.Stop()
	for {
		select {
		case <-back:
			return true
		case <-closed.C:
			if !c.IsConnectionOpen() {
				return false
			}
		case <-ctx.Done():
			return false
		}
	}
}

// fetch comes back to the kept session and counts what is delivered until nothing
// more comes; manual: without acknowledging anything.
func (p *probe) fetch(ctx context.Context, manual bool) (count int, present bool, err error) {
	var mu sync.Mutex
	seen, last := make(map[string]bool), time.Now()
	c, present, err := link.Connect(ctx, p.cfg, p.broker, link.Options{Keep: true, Manual: manual, Handle: func(m mqtt.Message, _ int64) {
		mu.Lock()
		defer mu.Unlock()
		seen[string(m.Payload())], last = true, time.Now()
	}})
	if err != nil {
		return 0, false, err
	}
	defer c.Disconnect(100)
	for {
		wait.Sleep(ctx, p.quiet/10)
		mu.Lock()
		n, since := len(seen), time.Since(last)
		mu.Unlock()
		if n >= messageCount || since > p.quiet {
			return n, present, nil
		}
		if ctx.Err() != nil {
			return n, present, ctx.Err()
		}
	}
}

// AtRisk reports whether a run found something that loses scans.
func AtRisk(list []Finding) bool {
	return slices.ContainsFunc(list, func(f Finding) bool { return f.Result == Risk })
}
