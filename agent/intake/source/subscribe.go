package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"scanrelay/agent/intake/link"
	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/intake/topic"
)

// subscribe subscribes to what is not subscribed to yet, on a new connection to
// everything, and then gives up what is configured no more. A filter that the
// broker refuses is reported and does not keep the others from working.
func (s *Source) subscribe(ctx context.Context, ss *session) error {
	want := filters(s.pipe.Mapper().Subscriptions())
	add := make(map[string]byte)
	for filter, qos := range want {
		if before, ok := ss.want[filter]; !ok || before != qos {
			add[filter] = qos
		}
		s.had[filter] = struct{}{}
	}
	if len(add) > 0 {
		if err := ss.add(ctx, add); err != nil {
			return err
		}
	}
	ss.want = want
	if err := ss.giveUp(ctx); err != nil {
		return err
	}
	var refused, lowered []string
	for filter, granted := range ss.granted {
		switch {
		case granted == link.RefusedQoS:
			refused = append(refused, filter)
		case granted < want[filter]:
			lowered = append(lowered, filter)
		}
	}
	slices.Sort(refused)
	slices.Sort(lowered)
	if len(refused) == len(want) {
		return fmt.Errorf("refuses the subscription to %s: check its access rules for user %q", strings.Join(refused, ", "), s.cfg.Username)
	}
	s.report(true, link.Redacted(ss.broker), shortcomings(refused, lowered))
	return nil
}

// add subscribes to filters and notes what is granted.
func (ss *session) add(ctx context.Context, add map[string]byte) error {
	token := ss.client.SubscribeMultiple(add, nil)
	if err := link.Answered(ctx, token, "a subscription"); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	sub, ok := token.(*mqtt.SubscribeToken)
	if !ok {
		return errors.New("subscribe: no answer")
	}
	for filter, granted := range sub.Result() {
		ss.granted[asked(add, filter)] = granted
	}
	return nil
}

// giveUp ends the subscriptions of this process that are configured no more.
func (ss *session) giveUp(ctx context.Context) error {
	var gone []string
	for filter := range ss.s.had {
		if _, ok := ss.want[filter]; !ok {
			gone = append(gone, filter)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	if err := link.Answered(ctx, ss.client.Unsubscribe(gone...), "the end of a subscription"); err != nil {
		return fmt.Errorf("unsubscribe: %w", err)
	}
	for _, filter := range gone {
		delete(ss.s.had, filter)
		delete(ss.granted, filter)
	}
	return nil
}

func shortcomings(refused, lowered []string) error {
	var errs []error
	if len(refused) > 0 {
		errs = append(errs, fmt.Errorf("the broker refuses the subscription to %s: check its access rules", strings.Join(refused, ", ")))
	}
	if len(lowered) > 0 {
		errs = append(errs, fmt.Errorf("the broker grants less than the configured qos for %s: scans may get lost before they reach us", strings.Join(lowered, ", ")))
	}
	return errors.Join(errs...)
}

// asked finds the filter as it was asked for; paho answers shared subscriptions
// under the filter without its prefix.
func asked(want map[string]byte, filter string) string {
	if _, ok := want[filter]; ok {
		return filter
	}
	for f := range want {
		if strings.HasPrefix(f, "$share/") && strings.HasSuffix(f, "/"+filter) {
			return f
		}
	}
	return filter
}

// filters leaves out filters that another one covers: some brokers deliver a
// message once for each filter that matches.
func filters(subs []mapping.Subscription) map[string]byte {
	want := make(map[string]byte)
	for _, a := range subs {
		name, qos := a.Filter, a.QoS
		for _, b := range subs {
			if b.Filter != name && topic.Covers(b.Filter, name) {
				name, qos = b.Filter, max(qos, b.QoS)
			}
		}
		want[name] = max(want[name], qos)
	}
	return want
}
