package agent

import (
	"net"
	"scanrelay/agent/intake/user"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"scanrelay/agent/clock"
	"scanrelay/agent/intake"
	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
)

// publish sends packets as one device, reads as many answers as there are to
// come, and goes.
func publish(t *testing.T, addr net.Addr, user string, list ...*packets.PublishPacket) {
	t.Helper()
	conn, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	hello := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	hello.ProtocolName, hello.ProtocolVersion, hello.CleanSession, hello.ClientIdentifier = "MQTT", 4, true, user
	hello.UsernameFlag, hello.Username, hello.PasswordFlag, hello.Password = true, user, true, []byte("secret")
	answers := 1
	all := []packets.ControlPacket{hello}
	for _, p := range list {
		all = append(all, p)
		if p.Qos > 0 {
			answers++
		}
	}
	for _, p := range all {
		if err := p.Write(conn); err != nil {
			t.Fatal(err)
		}
	}
	for range answers {
		if _, err := packets.ReadPacket(conn); err != nil {
			return // refused
		}
	}
}

func message(topic string, qos byte, id uint16, dup bool) *packets.PublishPacket {
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.TopicName, p.Qos, p.MessageID, p.Dup = topic, qos, id, dup
	p.Payload = []byte(`{"waybill_id":"YT1234567890123","action_type":200001,"action_msg":"x","event_id":"e"}`)
	return p
}

// A loop that is stuck is named, the one first that the others wait for.
func TestAStuckLoopIsNamed(t *testing.T) {
	for name, pick := range map[string]func(*pulses) *wait.Pulse{
		"committer": func(p *pulses) *wait.Pulse { return &p.store }, "intake": func(p *pulses) *wait.Pulse { return &p.intake },
		"mqtt connection": func(p *pulses) *wait.Pulse { return &p.mqtt },
		"sync relay":      func(p *pulses) *wait.Pulse { return &p.sync }, "push relay": func(p *pulses) *wait.Pulse { return &p.push },
		"calls of WeChat": func(p *pulses) *wait.Pulse { return &p.calls }, "clock": func(p *pulses) *wait.Pulse { return &p.clock },
	} {
		synctest.Test(t, func(t *testing.T) {
			var p pulses
			pick(&p).Begin()
			if time.Sleep(stuckAfter); p.stuck() != nil {
				t.Errorf("after %v: %v", stuckAfter, p.stuck())
			}
			p.clock.Begin()
			if time.Sleep(stuckAfter + time.Second); p.stuck() == nil || !strings.Contains(p.stuck().Error(), name) {
				t.Errorf("%s stuck: %v", name, p.stuck())
			}
		})
	}
}

// The loops are looked at: one that hangs shows, the others don't.
func TestLoopsAreLookedAt(t *testing.T) {
	stored, taken := make(chan struct{}), make(chan struct{})
	var blind atomic.Bool // the wall clock hangs, and with it who reads it
	a, err := New(config(t), Options{
		Listeners: Listeners{MQTT: mqttListener(t)}, Hooks: Hooks{OnStored: func(scan.Batch, scan.Stored) { <-stored }},
		Clock: clock.New(clock.Options{Synced: func() bool { return true }, Now: func() time.Time {
			if blind.Load() {
				<-taken
			}
			return time.Now()
		}}),
	})
	if err != nil {
		t.Fatal(err)
	}
	runs(t, a)
	defer close(stored)
	if err := a.outbox.Submit(event("YT1", nil, time.Now()), func(scan.Stored, error) { <-stored }); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the committer is seen to hang", func() bool { return a.pulses.store.Stuck() > 100*time.Millisecond })
	if a.pulses.intake.Stuck() > 0 {
		t.Error("intake hangs")
	}
	defer close(taken)
	blind.Store(true)
	go a.pipe.Take(intake.Message{Topic: "scans/g", Payload: []byte("{}")}) // until the test is over
	eventually(t, "intake is seen to hang", func() bool { return a.pulses.intake.Stuck() > 100*time.Millisecond })
}

// What devices did at the embedded broker is in the status.
func TestStatusOfTheEmbeddedBroker(t *testing.T) {
	cfg := config(t)
	cfg.MQTT.Embedded.Users = []user.User{{Username: "gun", Password: "secret", Publish: []string{"scans/#"}}}
	ln := mqttListener(t)
	a, err := New(cfg, Options{Listeners: Listeners{MQTT: ln}})
	if err != nil {
		t.Fatal(err)
	}
	runs(t, a)
	publish(t, ln[0].Addr(), "gun", message("scans/a", 0, 0, false), message("scans/a", 1, 1, false), message("scans/a", 1, 2, true))
	publish(t, ln[0].Addr(), "gun", message("other", 1, 1, false))
	publish(t, ln[0].Addr(), "nobody")
	eventually(t, "counted", func() bool {
		m := a.Status().MQTT
		return m.Connected && m.QoS0 == 1 && m.Redelivered == 1 && m.Denied == 1 && m.Refused == 1 && m.Waiting == 0 && m.Clients == 0
	})
	if s := a.Status(); s.Intake.Received != 1 || s.Intake.Duplicate != 2 {
		t.Errorf("intake %+v", s.Intake)
	}
}

// A broker that is not there is a problem that names it.
func TestStatusOfAnExternalBroker(t *testing.T) {
	ln := mqttListener(t)
	addr := ln[0].Addr().String()
	_ = ln[0].Close()
	cfg := config(t)
	cfg.MQTT.Broker, cfg.MQTT.ClientID = "tcp://"+addr, "x"
	a, err := New(cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	runs(t, a)
	eventually(t, "told", func() bool {
		m := a.Status().MQTT
		return !m.Connected && strings.Contains(m.Problem, addr) && strings.Contains(m.Problem, "refused")
	})
	if err := a.TakesScans(); err == nil || !strings.Contains(err.Error(), "not subscribed") {
		t.Errorf("TakesScans() = %v", err)
	}
}
