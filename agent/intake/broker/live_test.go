package broker

import (
	"context"
	"slices"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"scanrelay/agent/intake"
	"scanrelay/agent/intake/internal/intaketest"
	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/intake/user"
)

func TestBrokerAsksForARebirth(t *testing.T) {
	j := intaketest.NewOutbox(t, 0)
	b, addr := startBroker(t, Config{}, j)
	b.pipe.Update(intaketest.Rules(t, intaketest.Sparkplug), 0)
	intaketest.TestRebirth(t, addr, j)
}

func TestBrokerUpdate(t *testing.T) {
	j := intaketest.NewOutbox(t, 0)
	b, addr := startBroker(t, Config{Users: usersOf(t, user.User{Username: "a", Password: "old"})}, j)
	as := func(user, password string) func(*mqtt.ClientOptions) {
		return func(o *mqtt.ClientOptions) { o.SetUsername(user).SetPassword(password) }
	}
	c := intaketest.Connect(t, addr, "a", as("a", "old"))
	publish := func(topic, number string) { intaketest.Publish(t, c, topic, intaketest.Payload(number)) }
	publish("scans/x", "YT00000001")
	b.pipe.Update(intaketest.Rules(t, mapping.Config{Sources: []mapping.Source{{Topic: "other/#", QoS: 1}}}), time.Minute)
	publish("scans/x", "YT00000002")
	publish("other/x", "YT00000003")
	if got := j.Waybills(); !slices.Equal(got, []string{"YT00000001", "YT00000003"}) {
		t.Errorf("stored %v", got)
	}
	b.SetUsers(usersOf(t, user.User{Username: "b", Password: "new"}))
	intaketest.Connect(t, addr, "b", as("b", "new"))
	c.Publish("other/x", 1, false, intaketest.Payload("YT00000004")) // its user is gone
	intaketest.Eventually(t, "denied", func() bool { return b.Status().Denied == 1 })
	if got := j.Waybills(); len(got) != 2 {
		t.Errorf("stored %v", got)
	}
}

func TestBrokerListen(t *testing.T) {
	b, addr := startBroker(t, Config{}, intaketest.NewOutbox(t, 0))
	ctx, cancel := context.WithCancel(t.Context())
	heard := make(chan intake.Message, 64)
	ended := make(chan error, 1)
	go func() {
		ended <- b.pipe.Listen(ctx, func(m intake.Message) error { heard <- m; return nil })
	}()
	c := intaketest.Connect(t, addr, "a")
	intaketest.Eventually(t, "heard", func() bool {
		intaketest.Publish(t, c, "nobody/knows", "x")
		return len(heard) > 0
	})
	if m := <-heard; m.Topic != "nobody/knows" || string(m.Payload) != "x" || m.ReceivedAt.IsZero() {
		t.Errorf("heard %+v", m)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
