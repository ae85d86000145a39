package intake

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// refusedQoS is what a broker grants where it refuses a subscription.
const refusedQoS = 0x80

// subscribe renews the subscriptions, as on every connection. A filter that the
// broker refuses is reported and does not keep the others from working.
func (s *Source) subscribe(ctx context.Context, ss *session) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	want := filters(s.funnel.mapper.Subscriptions())
	token := ss.client.SubscribeMultiple(want, nil)
	if err := wait(ctx, token); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("does not answer a subscription within %s", connectTimeout.Round(time.Second))
		}
		return fmt.Errorf("subscribe: %w", err)
	}
	sub, ok := token.(*mqtt.SubscribeToken)
	if !ok {
		return errors.New("subscribe: no answer")
	}
	var refused, lowered []string
	for filter, granted := range sub.Result() {
		switch {
		case granted == refusedQoS:
			refused = append(refused, filter)
		case granted < wanted(want, filter):
			lowered = append(lowered, filter)
		}
	}
	if len(refused) == len(want) {
		return fmt.Errorf("refuses the subscription to %s: check its access rules for user %q", strings.Join(refused, ", "), s.cfg.Username)
	}
	s.report(true, redacted(ss.broker), shortcomings(refused, lowered))
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

// wanted finds the QoS asked for; paho answers shared subscriptions under the
// filter without its prefix.
func wanted(want map[string]byte, filter string) byte {
	if qos, ok := want[filter]; ok {
		return qos
	}
	for f, qos := range want {
		if strings.HasPrefix(f, "$share/") && strings.HasSuffix(f, "/"+filter) {
			return qos
		}
	}
	return 0
}

// filters leaves out filters that another one covers: some brokers deliver a
// message once for each filter that matches.
func filters(subs []Subscription) map[string]byte {
	want := make(map[string]byte)
	for _, a := range subs {
		name, qos := a.Filter, a.QoS
		for _, b := range subs {
			if b.Filter != name && covers(b.Filter, name) {
				name, qos = b.Filter, max(qos, b.QoS)
			}
		}
		want[name] = max(want[name], qos)
	}
	return want
}

// covers reports whether every topic that b matches is matched by a.
func covers(a, b string) bool {
	if strings.HasPrefix(a, "$") || strings.HasPrefix(b, "$") {
		return false
	}
	as, bs := strings.Split(a, "/"), strings.Split(b, "/")
	for i, level := range as {
		switch {
		case level == "#":
			return true
		case i >= len(bs) || bs[i] == "#":
			return false
		case level != "+" && level != bs[i]:
			return false
		}
	}
	return len(as) == len(bs)
}
