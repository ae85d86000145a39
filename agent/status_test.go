package agent

import (
	"net"
	"strings"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"scanrelay/configs"
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

// What devices did at the embedded broker is in the status.
func TestStatusOfTheEmbeddedBroker(t *testing.T) {
	cfg := config(t)
	cfg.MQTT.Embedded.Users = []configs.User{{Username: "gun", Password: "secret", Publish: []string{"scans/#"}}}
	ln := mqttListener(t)
	a, err := New(cfg, Options{Listeners: Listeners{MQTT: ln}})
	if err != nil {
		t.Fatal(err)
	}
	runs(t, a)
	publish(t, ln.Addr(), "gun", message("scans/a", 0, 0, false), message("scans/a", 1, 1, false), message("scans/a", 1, 2, true))
	publish(t, ln.Addr(), "gun", message("other", 1, 1, false))
	publish(t, ln.Addr(), "nobody")
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
	addr := ln.Addr().String()
	_ = ln.Close()
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
