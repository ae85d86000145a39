package intake

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"scanrelay/agent/intake/mapping"
)

// wire speaks MQTT packet by packet.
type wire struct {
	t testing.TB
	net.Conn
}

func (w wire) send(p packets.ControlPacket) {
	w.t.Helper()
	if err := p.Write(w); err != nil {
		w.t.Fatalf("send %T: %v", p, err)
	}
}

// read reads one packet within a time; nil if none came or the connection ended.
func (w wire) read(within time.Duration) packets.ControlPacket {
	if err := w.SetReadDeadline(time.Now().Add(within)); err != nil {
		return nil
	}
	p, err := packets.ReadPacket(w)
	if err != nil {
		return nil
	}
	return p
}

// expect reads one packet of a type.
func expect[P packets.ControlPacket](w wire) (p P) {
	w.t.Helper()
	got := w.read(10 * time.Second)
	p, ok := got.(P)
	if !ok {
		w.t.Fatalf("got %v, want %T", got, p)
	}
	return p
}

// login connects to a broker; the code is CONNACK's.
func login(t testing.TB, addr, id string, change ...func(*packets.ConnectPacket)) (wire, byte) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(addr, "tcp://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	w := wire{t, conn}
	c, ok := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	if !ok {
		t.Fatal("no CONNECT")
	}
	c.ProtocolName, c.ProtocolVersion, c.ClientIdentifier, c.Keepalive, c.CleanSession = "MQTT", 4, id, 60, true
	for _, f := range change {
		f(c)
	}
	w.send(c)
	ack, ok := w.read(10 * time.Second).(*packets.ConnackPacket)
	if !ok {
		return w, 0xff
	}
	return w, ack.ReturnCode
}

func publishPacket(topic string, qos byte, id uint16, dup bool, body string) *packets.PublishPacket {
	p, ok := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	if !ok {
		panic("no PUBLISH")
	}
	p.TopicName, p.Qos, p.MessageID, p.Dup, p.Payload = topic, qos, id, dup, []byte(body)
	return p
}

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
func (s *stub) accept(code byte) (wire, *packets.ConnectPacket) {
	s.t.Helper()
	conn, err := s.ln.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	w := wire{s.t, conn}
	c := expect[*packets.ConnectPacket](w)
	ack, ok := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
	if !ok {
		s.t.Fatal("no CONNACK")
	}
	ack.ReturnCode = code
	w.send(ack)
	return w, c
}

// subscribed answers the subscription with these codes.
func (w wire) subscribed(codes ...byte) *packets.SubscribePacket {
	w.t.Helper()
	sub := expect[*packets.SubscribePacket](w)
	ack, ok := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
	if !ok {
		w.t.Fatal("no SUBACK")
	}
	ack.MessageID, ack.ReturnCodes = sub.MessageID, codes
	w.send(ack)
	return sub
}

// Acknowledgements go out in order of arrival, each only after its commit, also
// for QoS 2, ignored and rejected messages among them.
func TestSourceAcknowledgesInOrderAfterCommit(t *testing.T) {
	st := newStub(t)
	j := newFakeJournal(t, 5*time.Millisecond)
	startSource(t, SourceConfig{Brokers: []string{st.addr()}}, testMapper(t, mapping.Config{}), j)
	w, c := st.accept(packets.Accepted)
	if c.CleanSession || c.ClientIdentifier != "scanrelay-test" || c.ProtocolVersion != 4 {
		t.Errorf("CONNECT %s", c)
	}
	w.subscribed(1)
	const n = 300
	go func() {
		for i := 1; i <= n; i++ {
			body := payload(fmt.Sprintf("YT%08d", i))
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
			if err := publishPacket(topic, byte(1+i%2), uint16(i), false, body).Write(w); err != nil {
				return
			}
		}
	}()
	for i := 1; i <= n; i++ {
		var id uint16
		switch p := w.read(10 * time.Second).(type) {
		case *packets.PubackPacket:
			id = p.MessageID
		case *packets.PubrecPacket:
			id = p.MessageID
		}
		if id != uint16(i) {
			t.Fatalf("acknowledgement %d is for %d", i, id)
		}
		j.mu.Lock()
		if stored := len(j.stored); stored < i {
			t.Errorf("%d acknowledged, only %d committed", i, stored)
		}
		j.mu.Unlock()
	}
}

func TestSourceSubscriptionRefused(t *testing.T) {
	st := newStub(t)
	m := testMapper(t, mapping.Config{Sources: []mapping.Source{{Topic: "a/#", QoS: 1}, {Topic: "a/b", QoS: 2}, {Topic: "b", QoS: 1}}})
	s, _ := startSource(t, SourceConfig{Brokers: []string{st.addr()}}, m, newFakeJournal(t, 0))
	w, _ := st.accept(packets.Accepted)
	sub := expect[*packets.SubscribePacket](w)
	if len(sub.Topics) != 2 || !slices.Contains(sub.Topics, "b") {
		t.Errorf("subscribed to %v: a/b is covered by a/#", sub.Topics)
	}
	ack, ok := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
	if !ok {
		t.Fatal("no SUBACK")
	}
	ack.MessageID, ack.ReturnCodes = sub.MessageID, []byte{2, 2}
	ack.ReturnCodes[slices.Index(sub.Topics, "b")] = refusedQoS
	w.send(ack)
	eventually(t, "the other filter works", s.Connected)
	if p := s.Status().Problem; !strings.Contains(p, "refuses the subscription to b") {
		t.Errorf("problem %q", p)
	}
	_ = w.Close()
	w, _ = st.accept(packets.Accepted)
	w.subscribed(refusedQoS, refusedQoS)
	eventually(t, "told", func() bool {
		p := s.Status().Problem
		return !s.Connected() && strings.Contains(p, "a/#") && strings.Contains(p, "access rules")
	})
}

func TestSourceRefusals(t *testing.T) {
	for code, want := range map[byte]string{
		packets.ErrRefusedIDRejected: "client id", packets.ErrRefusedServerUnavailable: "for now",
		packets.ErrRefusedNotAuthorised: "check mqtt.username", packets.ErrRefusedBadProtocolVersion: "3.1.1",
	} {
		st := newStub(t)
		s, stop := startSource(t, SourceConfig{Brokers: []string{st.addr()}}, testMapper(t, mapping.Config{}), newFakeJournal(t, 0))
		st.accept(code)
		eventually(t, want, func() bool { return strings.Contains(s.Status().Problem, want) })
		stop()
	}
}

// A link on which nothing comes any more is given up, though the connection
// looks open (deps.md B1, B5).
func TestSourceWatchdog(t *testing.T) {
	l := &link{quiet: 50 * time.Millisecond}
	a, b := net.Pipe()
	defer b.Close()
	l.Conn = a
	if err := l.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a quiet link reads %v", err)
	}
}

// The source notices a broker that hangs: no answer to PINGREQ ends the session.
func TestSourceHungBroker(t *testing.T) {
	st := newStub(t)
	s, _ := startSource(t, SourceConfig{Brokers: []string{st.addr()}, KeepAlive: time.Second, silence: 1500 * time.Millisecond},
		testMapper(t, mapping.Config{}), newFakeJournal(t, 0))
	w, _ := st.accept(packets.Accepted)
	w.subscribed(1)
	eventually(t, "connected", s.Connected)
	w, _ = st.accept(packets.Accepted) // it comes again by itself
	w.subscribed(1)
	eventually(t, "connected again", func() bool { return s.Status().Sessions == 2 })
}

// More unacknowledged messages than fit into memory end the session; a new one
// goes on when there is room.
func TestSourceMemoryIsBounded(t *testing.T) {
	st := newStub(t)
	j := &stepJournal{}
	s, _ := startSource(t, SourceConfig{Brokers: []string{st.addr()}, MaxPending: 10_000}, testMapper(t, mapping.Config{}), openJournal{j})
	w, _ := st.accept(packets.Accepted)
	w.subscribed(1)
	for i := 1; i <= 100; i++ {
		if publishPacket("scans/g", 1, uint16(i), false, payload(fmt.Sprintf("YT%08d", i))).Write(w) != nil {
			break
		}
	}
	eventually(t, "disconnected", func() bool { return strings.Contains(s.Status().Problem, "max_inflight_messages") })
	if n := s.Status().Waiting; n > 10_000 || n == 0 {
		t.Errorf("%d bytes wait", n)
	}
	j.commit(len(j.submitted), nil)
	w, _ = st.accept(packets.Accepted)
	w.subscribed(1)
	eventually(t, "connected again", s.Connected)
}

// openJournal has room always.
type openJournal struct{ *stepJournal }

func (openJournal) Room() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}
