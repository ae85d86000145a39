package probe

import (
	"context"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"scanrelay/agent/intake/link"
)

// flag is what a message's retain flag said when it came, if it came.
type flag int

const (
	flagNone flag = iota // it did not come
	flagClear
	flagSet
)

// retained finds out how a broker marks what it keeps. A scan with neither an id
// nor a time that is marked so is ignored, since it may be of any age; one that is
// not marked is taken for new. MQTT 3.1.1 wants the mark on
// what comes for a new subscription and on nothing else.
func (p *probe) retained(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	live, kept, err := p.flags(ctx)
	switch {
	case err != nil:
		p.add("retained", Unknown, "a message that is to be kept is not taken, and a device that publishes with retain may be cut off: %s", err)
	case live == flagNone:
		p.add("retained", Unknown, "what is published to be kept does not come: no permission, or it refuses such messages")
	case live == flagSet:
		p.add("retained", Risk, "marks as old what is published with retain just now: a scan with neither an id nor a time would be ignored; let devices publish without retain")
	case kept == flagClear:
		p.add("retained", Risk, "delivers what it keeps as if it were new: a scan with neither an id nor a time would be stored again at each connect; let devices publish without retain")
	case kept == flagNone:
		p.add("retained", OK, "keeps nothing for those who come later")
	default:
		p.add("retained", OK, "marked when it is old, and only then")
	}
}

// flags publishes a message to be kept and looks at its flag as it comes now and
// for a subscription that is made later. At the end the broker keeps it no more.
func (p *probe) flags(ctx context.Context) (live, kept flag, err error) {
	topic := p.topic + "/retained"
	came := make(chan flag, 16)
	c, _, err := link.Connect(ctx, p.cfg, p.broker, link.Options{Handle: func(m mqtt.Message, _ int64) {
		if m.Topic() != topic || len(m.Payload()) == 0 {
			return
		}
		f := flagClear
		if m.Retained() {
			f = flagSet
		}
		offer(came, f)
	}})
	if err != nil {
		return 0, 0, err
	}
	defer c.Disconnect(100)
	next := func(within time.Duration) flag {
		select {
		case f := <-came:
			return f
		case <-time.After(within):
			return flagNone
		}
	}
	steps := func(tokens ...func() mqtt.Token) error {
		for _, step := range tokens {
			if err := link.Done(ctx, step()); err != nil {
				return err
			}
		}
		return nil
	}
	subscribe := func() mqtt.Token { return c.Subscribe(topic, 1, nil) }
	forget := func() mqtt.Token { return c.Publish(topic, 1, true, "") }
	defer func() { _ = link.Done(ctx, forget()) }() // where that fails the connection is gone
	if err := steps(forget, subscribe, func() mqtt.Token { return c.Publish(topic, 1, true, "x") }); err != nil {
		return 0, 0, err
	}
	if live = next(5 * p.quiet); live == flagNone {
		return live, kept, nil
	}
	if err := steps(func() mqtt.Token { return c.Unsubscribe(topic) }, subscribe); err != nil {
		return 0, 0, err
	}
	return live, next(p.quiet), nil
}
