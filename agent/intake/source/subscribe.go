package source

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

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
	if !slices.ContainsFunc(slices.Collect(maps.Keys(want)), func(filter string) bool { return !ss.avoids(filter) }) {
		clear(s.avoid) // none would be left
	}
	add := make(map[string]byte)
	for filter, qos := range want {
		if before, ok := ss.want[filter]; (!ok || before != qos) && !ss.avoids(filter) {
			add[filter] = qos
		}
		s.had[filter] = struct{}{}
	}
	if err := ss.add(ctx, add); err != nil {
		return err
	}
	ss.want = want
	for filter := range want {
		if ss.avoids(filter) {
			ss.granted[filter] = link.RefusedQoS
		}
	}
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

// avoids reports whether a filter is not asked for at present.
func (ss *session) avoids(filter string) bool {
	until, ok := ss.s.avoid[ss.broker+" "+filter]
	return ok && time.Now().Before(until)
}

// add subscribes to filters, a few at once, and notes what is granted. Where the
// broker closes the connection over some of them, the next one asks for each alone.
// The one that ends two connections running is left out of those that follow: one
// may end for reasons of the broker's own, such as a restart.
func (ss *session) add(ctx context.Context, add map[string]byte) error {
	s, size := ss.s, filtersAtOnce
	if s.alone {
		size = 1
	}
	for list := range slices.Chunk(slices.Sorted(maps.Keys(add)), size) {
		some := make(map[string]byte, len(list))
		for _, filter := range list {
			some[filter] = add[filter]
		}
		err := ss.ask(ctx, some)
		if errors.Is(err, errClosed) {
			if s.alone && s.blamed == list[0] {
				s.avoid[ss.broker+" "+list[0]] = time.Now().Add(avoidFor)
			} else if s.alone {
				s.blamed = list[0]
			}
			s.alone = true
		}
		if err != nil {
			return fmt.Errorf("subscribe to %s: %w", strings.Join(list, ", "), err)
		}
	}
	s.alone, s.blamed = false, ""
	return nil
}

func (ss *session) ask(ctx context.Context, add map[string]byte) error {
	token := ss.client.SubscribeMultiple(add, nil)
	if err := link.Answered(ctx, token, "a subscription", ss.s.cfg.answers, ss.s.heard.Load); err != nil {
		if token.Error() != nil {
			err = fmt.Errorf("%w: %w", errClosed, err)
		}
		return err
	}
	sub, ok := token.(*mqtt.SubscribeToken)
	if !ok {
		return errors.New("no answer")
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
	if err := link.Answered(ctx, ss.client.Unsubscribe(gone...), "the end of a subscription", ss.s.cfg.answers, ss.s.heard.Load); err != nil {
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
