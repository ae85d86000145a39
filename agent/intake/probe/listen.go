package probe

import (
	"context"
	"errors"
	"fmt"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"scanrelay/agent/intake"
	"scanrelay/agent/intake/link"
	"scanrelay/agent/intake/topic"
)

// Listen calls fn for each message that comes on these filters at the first
// broker that lets us in, until ctx ends or fn fails. It has a session of its
// own, with QoS 0 and forgotten by the broker at the end, so nothing is taken
// away from the agent: cfg.ClientID must not be the agent's. ready is called
// once it is subscribed. Messages that come faster than fn takes them are left out.
func Listen(ctx context.Context, cfg link.Config, filters []string, ready func(broker string), fn func(intake.Message) error) error {
	messages, lost := make(chan intake.Message, 64), make(chan error, 1)
	client, broker, err := first(ctx, cfg, link.Options{
		Handle: passOn(messages),
		Lost:   func(err error) { lost <- err },
	})
	if err != nil {
		return err
	}
	defer client.Disconnect(250)
	want := make(map[string]byte)
	for _, f := range filters {
		want[topic.Unshared(f)] = 0
	}
	if err := link.Answered(ctx, client.SubscribeMultiple(want, nil), "a subscription", link.AnswerTimeout, nil); err != nil {
		return err
	}
	ready(broker)
	for {
		select {
		case m := <-messages:
			if err := fn(m); err != nil {
				return err
			}
		case err := <-lost:
			return fmt.Errorf("mqtt broker %s: the connection was lost: %w", broker, err)
		case <-ctx.Done():
			return nil
		}
	}
}

// passOn returns a handler that counts what messages has no room for.
func passOn(messages chan<- intake.Message) func(mqtt.Message, int64) {
	missed := uint64(0)
	return func(m mqtt.Message, size int64) {
		one := intake.Message{
			Topic: m.Topic(), Payload: m.Payload(), DUP: m.Duplicate(), Retained: m.Retained(),
			ReceivedAt: time.Now(), Missed: missed,
		}
		if size != int64(len(one.Payload)) {
			one.Size = size
		}
		select {
		case messages <- one:
			missed = 0
		default:
			missed++
		}
	}
}

// first connects to the first broker that lets us in, and names it.
func first(ctx context.Context, cfg link.Config, o link.Options) (mqtt.Client, string, error) {
	var errs []error
	for _, broker := range cfg.Brokers {
		client, _, err := link.Connect(ctx, cfg, broker, o)
		if err == nil {
			return client, link.Redacted(broker), nil
		}
		errs = append(errs, err)
	}
	return nil, "", errors.Join(errs...)
}
