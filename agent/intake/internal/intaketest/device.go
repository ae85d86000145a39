package intaketest

import (
	"fmt"
	"testing"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"scanrelay/agent/intake/mapping"
)

// Payload is a canonical scan of a waybill.
func Payload(waybill string) string {
	return fmt.Sprintf(`{"waybill_id":%q,"action_type":200001,"action_msg":"到达","event_id":"e-%s"}`, waybill, waybill)
}

// Mapper makes a Mapper; without sources it has the default one.
func Mapper(t testing.TB, cfg mapping.Config) *mapping.Mapper {
	t.Helper()
	return mapping.New(Rules(t, cfg), nil, nil)
}

// Rules compiles a configuration.
func Rules(t testing.TB, cfg mapping.Config) *mapping.Rules {
	t.Helper()
	if len(cfg.Sources) == 0 {
		cfg.Sources = mapping.DefaultSources()
	}
	rules, problems := mapping.Compile(cfg)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	return rules
}

// Connect opens a paho client that is closed with the test.
func Connect(t testing.TB, addr, id string, set ...func(*mqtt.ClientOptions)) mqtt.Client {
	t.Helper()
	o := mqtt.NewClientOptions().AddBroker(addr).SetClientID(id).SetProtocolVersion(4).
		SetAutoReconnect(false).SetConnectTimeout(Patience)
	for _, f := range set {
		f(o)
	}
	c := mqtt.NewClient(o)
	if token := c.Connect(); !token.WaitTimeout(Patience) || token.Error() != nil {
		t.Fatalf("connect: %v", token.Error())
	}
	t.Cleanup(func() { c.Disconnect(100) })
	return c
}

// Publish publishes with QoS 1 and waits for the acknowledgement.
func Publish(t testing.TB, c mqtt.Client, topic, payload string) {
	t.Helper()
	if token := c.Publish(topic, 1, false, payload); !token.WaitTimeout(Patience) || token.Error() != nil {
		t.Fatalf("publish to %s: %v", topic, token.Error())
	}
}
