package source

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"scanrelay/agent/intake"
	"scanrelay/agent/intake/internal/intaketest"
	"scanrelay/agent/intake/link"
	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
)

// stub is a broker that does what a test tells it to.
type stub struct {
	t  testing.TB
	ln net.Listener
}

func newStub(t testing.TB) *stub {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return &stub{t, ln}
}

func (s *stub) addr() string { return "tcp://" + s.ln.Addr().String() }

// accept takes one connection as far as CONNACK.
func (s *stub) accept(code byte) (intaketest.Wire, *packets.ConnectPacket) {
	s.t.Helper()
	conn, err := s.ln.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	w := intaketest.Wire{T: s.t, Conn: conn}
	c := intaketest.Expect[*packets.ConnectPacket](w)
	ack, ok := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
	if !ok {
		s.t.Fatal("no CONNACK")
	}
	ack.ReturnCode = code
	w.Send(ack)
	return w, c
}

// subscribed answers the subscription with these codes.
func subscribed(w intaketest.Wire, codes ...byte) *packets.SubscribePacket {
	w.T.Helper()
	sub := intaketest.Expect[*packets.SubscribePacket](w)
	ack, ok := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
	if !ok {
		w.T.Fatal("no SUBACK")
	}
	ack.MessageID, ack.ReturnCodes = sub.MessageID, codes
	w.Send(ack)
	return sub
}

// Acknowledgements go out in order of arrival, each only after its commit, also
// for QoS 2, ignored and rejected messages among them.
func TestSourceAcknowledgesInOrderAfterCommit(t *testing.T) {
	st := newStub(t)
	j := intaketest.NewOutbox(t, 5*time.Millisecond)
	startSource(t, Config{Config: brokers(st.addr())}, intaketest.Mapper(t, mapping.Config{}), j)
	w, c := st.accept(packets.Accepted)
	if c.CleanSession || c.ClientIdentifier != "scanrelay-test" || c.ProtocolVersion != 4 {
		t.Errorf("CONNECT %s", c)
	}
	subscribed(w, 1)
	const n = 300
	go func() {
		for i := 1; i <= n; i++ {
			body := intaketest.Payload(fmt.Sprintf("YT%08d", i))
			switch i % 5 {
			case 3:
				body = "{}" // ignored
			case 4:
				body = "?" // rejected
			}
			topic := "scans/g"
			if i%7 == 0 {
				topic = "foreign/topic"
			}
			if err := intaketest.PublishPacket(topic, byte(1+i%2), uint16(i), false, body).Write(w); err != nil {
				return
			}
		}
	}()
	for i := 1; i <= n; i++ {
		var id uint16
		switch p := w.Receive(intaketest.Patience).(type) {
		case *packets.PubackPacket:
			id = p.MessageID
		case *packets.PubrecPacket:
			id = p.MessageID
		}
		if id != uint16(i) {
			t.Fatalf("acknowledgement %d is for %d", i, id)
		}
		if stored := len(j.Stored()); stored < i {
			t.Errorf("%d acknowledged, only %d committed", i, stored)
		}
	}
}

func TestSourceSubscriptionRefused(t *testing.T) {
	st := newStub(t)
	m := intaketest.Mapper(t, mapping.Config{Sources: []mapping.Source{{Topic: "a/#", QoS: 1}, {Topic: "a/b", QoS: 2}, {Topic: "b", QoS: 1}}})
	s, _ := startSource(t, Config{Config: brokers(st.addr())}, m, intaketest.NewOutbox(t, 0))
	w, _ := st.accept(packets.Accepted)
	sub := intaketest.Expect[*packets.SubscribePacket](w)
	if len(sub.Topics) != 2 || !slices.Contains(sub.Topics, "b") {
		t.Errorf("subscribed to %v: a/b is covered by a/#", sub.Topics)
	}
	ack, ok := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
	if !ok {
		t.Fatal("no SUBACK")
	}
	ack.MessageID, ack.ReturnCodes = sub.MessageID, []byte{2, 2}
	ack.ReturnCodes[slices.Index(sub.Topics, "b")] = link.RefusedQoS
	w.Send(ack)
	intaketest.Eventually(t, "the other filter works", func() bool { return s.Status().Connected })
	if p := s.Status().Problem; !strings.Contains(p, "refuses the subscription to b") {
		t.Errorf("problem %q", p)
	}
	_ = w.Close()
	w, _ = st.accept(packets.Accepted)
	subscribed(w, link.RefusedQoS, link.RefusedQoS)
	intaketest.Eventually(t, "told", func() bool {
		p := s.Status().Problem
		return !s.Status().Connected && strings.Contains(p, "a/#") && strings.Contains(p, "access rules")
	})
}

func TestSourceRefusals(t *testing.T) {
	for code, want := range map[byte]string{
		packets.ErrRefusedIDRejected: "client id", packets.ErrRefusedServerUnavailable: "for now",
		packets.ErrRefusedNotAuthorised: "check mqtt.username", packets.ErrRefusedBadProtocolVersion: "3.1.1",
	} {
		st := newStub(t)
		s, stop := startSource(t, Config{Config: brokers(st.addr())}, intaketest.Mapper(t, mapping.Config{}), intaketest.NewOutbox(t, 0))
		st.accept(code)
		intaketest.Eventually(t, want, func() bool { return strings.Contains(s.Status().Problem, want) })
		stop()
	}
}

// The source notices a broker that hangs: no answer to PINGREQ ends the session.
func TestSourceHungBroker(t *testing.T) {
	st := newStub(t)
	s, _ := startSource(t, Config{Config: brokers(st.addr()), KeepAlive: time.Second, silence: 1500 * time.Millisecond},
		intaketest.Mapper(t, mapping.Config{}), intaketest.NewOutbox(t, 0))
	w, _ := st.accept(packets.Accepted)
	subscribed(w, 1)
	intaketest.Eventually(t, "connected", func() bool { return s.Status().Sessions == 1 })
	w, _ = st.accept(packets.Accepted) // it comes again by itself
	subscribed(w, 1)
	intaketest.Eventually(t, "connected again", func() bool { return s.Status().Sessions == 2 })
}

// More unacknowledged messages than fit into memory end the session; a new one
// goes on when there is room.
func TestSourceMemoryIsBounded(t *testing.T) {
	st := newStub(t)
	j := &intaketest.Manual{}
	s, _ := startSource(t, Config{Config: brokers(st.addr()), MaxPending: 10_000}, intaketest.Mapper(t, mapping.Config{}), j)
	w, _ := st.accept(packets.Accepted)
	subscribed(w, 1)
	for i := 1; i <= 100; i++ {
		if intaketest.PublishPacket("scans/g", 1, uint16(i), false, intaketest.Payload(fmt.Sprintf("YT%08d", i))).Write(w) != nil {
			break
		}
	}
	intaketest.Eventually(t, "disconnected", func() bool { return strings.Contains(s.Status().Problem, "max_inflight_messages") })
	if n := s.Status().Waiting; n > 10_000 || n == 0 {
		t.Errorf("%d bytes wait", n)
	}
	j.Commit(len(j.Taken()), nil)
	w, _ = st.accept(packets.Accepted)
	subscribed(w, 1)
	intaketest.Eventually(t, "connected again", func() bool { return s.Status().Connected })
}

// hanging is an outbox that takes nothing until it is let.
type hanging struct {
	intake.Outbox
	until chan struct{}
}

func (h hanging) Submit(b scan.Batch, done func(scan.Stored, error)) error {
	<-h.until
	return h.Outbox.Submit(b, done)
}

// Whoever looks at the pulse sees that a session hangs in a message, and no fault before.
func TestASessionHasAPulse(t *testing.T) {
	var pulse wait.Pulse
	st, until := newStub(t), make(chan struct{})
	startSource(t, Config{Config: brokers(st.addr()), Pulse: &pulse}, intaketest.Mapper(t, mapping.Config{}), hanging{intaketest.NewOutbox(t, 0), until})
	w, _ := st.accept(0)
	subscribed(w, 1)
	if pulse.Stuck() > 0 {
		t.Error("stuck at rest")
	}
	p, ok := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	if !ok {
		t.Fatal("no PUBLISH")
	}
	p.TopicName, p.Payload, p.Qos, p.MessageID = "scans/g", []byte("{}"), 1, 7
	w.Send(p)
	for end := time.Now().Add(intaketest.Patience); pulse.Stuck() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody sees that the session hangs")
		}
	}
	close(until)
}

// Senders behind a broker are told apart by topic and device.
func TestSenders(t *testing.T) {
	of := func(topic, device string) uint16 {
		return senderOf(topic, scan.Batch{Events: []scan.Event{{DeviceID: device}}})
	}
	if of("scans", "gun-1") == of("scans", "gun-2") || of("scans/1", "gun") == of("scans/2", "gun") {
		t.Error("senders are mixed up")
	}
	if senderOf("scans", scan.Batch{}) == 0 {
		t.Error("a message without a scan has no sender")
	}
}
