package intaketest

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// Wire speaks MQTT packet by packet.
type Wire struct {
	T testing.TB
	net.Conn
}

// Send sends a packet.
func (w Wire) Send(p packets.ControlPacket) {
	w.T.Helper()
	if err := p.Write(w); err != nil {
		w.T.Fatalf("send %T: %v", p, err)
	}
}

// Receive reads one packet within a time; nil if none came or the connection ended.
func (w Wire) Receive(within time.Duration) packets.ControlPacket {
	if err := w.SetReadDeadline(time.Now().Add(within)); err != nil {
		return nil
	}
	p, err := packets.ReadPacket(w)
	if err != nil {
		return nil
	}
	return p
}

// Expect reads one packet of a type.
func Expect[P packets.ControlPacket](w Wire) (p P) {
	w.T.Helper()
	got := w.Receive(Patience)
	p, ok := got.(P)
	if !ok {
		w.T.Fatalf("got %v, want %T", got, p)
	}
	return p
}

// Login connects to a broker; the code is CONNACK's.
func Login(t testing.TB, addr, id string, change ...func(*packets.ConnectPacket)) (Wire, byte) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(addr, "tcp://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	w := Wire{t, conn}
	c, ok := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	if !ok {
		t.Fatal("no CONNECT")
	}
	c.ProtocolName, c.ProtocolVersion, c.ClientIdentifier, c.Keepalive, c.CleanSession = "MQTT", 4, id, 60, true
	for _, f := range change {
		f(c)
	}
	w.Send(c)
	ack, ok := w.Receive(Patience).(*packets.ConnackPacket)
	if !ok {
		return w, 0xff
	}
	return w, ack.ReturnCode
}

// PublishPacket is a PUBLISH.
func PublishPacket(topic string, qos byte, id uint16, dup bool, body string) *packets.PublishPacket {
	p, ok := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	if !ok {
		panic("no PUBLISH")
	}
	p.TopicName, p.Qos, p.MessageID, p.Dup, p.Payload = topic, qos, id, dup, []byte(body)
	return p
}
