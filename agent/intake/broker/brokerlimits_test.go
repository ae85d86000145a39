package broker

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"scanrelay/agent/intake"
	"scanrelay/agent/intake/internal/intaketest"
	"scanrelay/agent/intake/mapping"
)

func TestBrokerLimits(t *testing.T) {
	j := intaketest.NewOutbox(t, 0)
	b, addr := startBroker(t, Config{MaxPacket: 1000, MaxClients: 2, connects: 1e6}, j)
	w, _ := intaketest.Login(t, addr, "big")
	if _, err := w.Write([]byte{0x32, 0xff, 0xff, 0xff, 0x7f}); err != nil { // 256 MB announced
		t.Fatal(err)
	}
	if p := w.Receive(intaketest.Patience); p != nil {
		t.Errorf("a packet of 256 MB was answered: %s", p)
	}
	intaketest.Eventually(t, "gone", func() bool { return b.Status().Clients == 0 })
	intaketest.Login(t, addr, "one")
	intaketest.Login(t, addr, "two")
	if _, code := intaketest.Login(t, addr, "three"); code != packets.ErrRefusedServerUnavailable {
		t.Errorf("the third of two clients: CONNACK %d", code)
	}
	w, _ = intaketest.Login(t, addr, "two") // the same client again takes its session over
	_ = w
	// Connections that never log in are bounded too.
	var idle []net.Conn
	for range 2 + halfOpenAllowed + 5 {
		c, err := net.Dial("tcp", strings.TrimPrefix(addr, "tcp://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		idle = append(idle, c)
	}
	first := intaketest.Wire{T: t, Conn: idle[0]} // the oldest makes way for new ones
	if p := first.Receive(intaketest.Patience); p != nil || b.Status().Refused == 0 {
		t.Errorf("status %+v", b.Status())
	}
	if _, code := intaketest.Login(t, addr, "two"); code != packets.Accepted {
		t.Errorf("beside idle connections a client gets CONNACK %d", code)
	}
}

// A device whose connection is closed for what it sent is named once a minute, and
// counted: nothing of that is in the quarantine.
func TestBrokerTellsOfBrokenDevices(t *testing.T) {
	log := &intaketest.Log{}
	b, addr := startBroker(t, Config{MaxPacket: 1000, Logger: slog.New(slog.NewTextHandler(log, nil))}, intaketest.NewOutbox(t, 0))
	for range 3 {
		w, _ := intaketest.Login(t, addr, "mad")
		w.Send(intaketest.PublishPacket("scans/g", 1, 1, false, strings.Repeat("x", 2000)))
		if p := w.Receive(intaketest.Patience); p != nil {
			t.Errorf("answered %s", p)
		}
	}
	for client, sent := range map[string]string{"odd": "\xf0\x00", "long": "\x32\xff\xff\xff\xff\x7f", "twice": "\x10\x00"} {
		w, _ := intaketest.Login(t, addr, client)
		if _, err := w.Write([]byte(sent)); err != nil {
			t.Fatal(err)
		}
		if p := w.Receive(intaketest.Patience); p != nil {
			t.Errorf("%s is answered %s", client, p)
		}
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(addr, "tcp://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	intaketest.Eventually(t, "counted", func() bool { return b.Status().Broken == 7 })
	for line, want := range map[string]int{"more than max_packet, which is 1000 bytes": 1, "client=mad": 1, `client=""`: 1} {
		if got := strings.Count(log.String(), line); got != want {
			t.Errorf("%s is logged %d times, want %d:\n%s", line, got, want, log)
		}
	}
}

// A device that does not read its acknowledgements is cut, and named.
func TestBrokerCutsWhoDoesNotRead(t *testing.T) {
	log := &intaketest.Log{}
	j := intaketest.NewOutbox(t, 0)
	cfg := Config{slow: 50 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(log, nil))}
	b := New(cfg, intake.New(intaketest.Mapper(t, mapping.Config{}), j, 0))
	ours, theirs := net.Pipe() // which holds nothing between the two
	defer theirs.Close()
	c := newAcceptor(b, nil).wrap(ours, "pipe")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.queue.run()
	}()
	batch := b.pipe.Take(intake.Message{Topic: "scans/g", Payload: []byte(intaketest.Payload("YT00000001"))})
	if err := c.queue.push(&entry{topic: "scans/g", id: 1, qos: 1, batch: batch, cost: 1}, false, nil); err != nil {
		t.Fatal(err)
	}
	intaketest.Eventually(t, "cut", func() bool { return b.Status().Cut == 1 })
	c.close()
	<-ended
	if len(j.Waybills()) != 1 || !strings.Contains(log.String(), "the device does not read its acknowledgements") {
		t.Errorf("%d stored, logged %s", len(j.Waybills()), log)
	}
}

func TestBrokerRate(t *testing.T) {
	j := intaketest.NewOutbox(t, 0)
	_, addr := startBroker(t, Config{Rate: 20}, j)
	w, _ := intaketest.Login(t, addr, "mad")
	began := time.Now()
	go func() {
		for i := 1; i <= 40; i++ {
			if intaketest.PublishPacket("scans/g", 1, uint16(i), false, intaketest.Payload(fmt.Sprintf("YT%08d", i))).Write(w) != nil {
				return
			}
		}
	}()
	for range 40 {
		intaketest.Expect[*packets.PubackPacket](w)
	}
	if took := time.Since(began); took < 900*time.Millisecond {
		t.Errorf("40 events at 20 a second (after a burst of 20) took %s", took)
	}
}

// A stop acknowledges what is committed, also what is committed just then.
func TestBrokerStopsInOrder(t *testing.T) {
	j := intaketest.NewOutbox(t, 100*time.Millisecond)
	b := New(Config{}, intake.New(intaketest.Mapper(t, mapping.Config{}), j, 0))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx, Listener{Listener: ln}) }()
	w, _ := intaketest.Login(t, ln.Addr().String(), "line")
	for i := 1; i <= 10; i++ {
		w.Send(intaketest.PublishPacket("scans/g", 1, uint16(i), false, intaketest.Payload(fmt.Sprintf("YT%08d", i))))
	}
	intaketest.Eventually(t, "submitted", func() bool { return b.Status().Waiting > 0 || len(j.Waybills()) > 0 })
	cancel()
	acks := 0
	for p := w.Receive(intaketest.Patience); p != nil; p = w.Receive(intaketest.Patience) {
		acks++
	}
	if err := <-ended; err != nil || b.Status().Connected {
		t.Errorf("Run: %v", err)
	}
	if got := len(j.Waybills()); acks != got || got == 0 {
		t.Errorf("%d acknowledged, %d committed", acks, got)
	}
}

// Of a bad packet nothing is logged but what is wrong with it.
func TestBrokerLogsNoPayload(t *testing.T) {
	var out intaketest.Log
	j := intaketest.NewOutbox(t, 0)
	_, addr := startBroker(t, Config{Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))}, j)
	w, _ := intaketest.Login(t, addr, "bad")
	w.Send(intaketest.PublishPacket("scans/g", 1, 1, false, intaketest.Payload("YT00000001")))
	intaketest.Expect[*packets.PubackPacket](w)
	w.Send(intaketest.PublishPacket("scans/#", 1, 2, false, intaketest.Payload("YT99999999")))
	if p := w.Receive(intaketest.Patience); p != nil {
		t.Errorf("answered %s", p)
	}
	intaketest.Eventually(t, "logged", func() bool { return strings.Contains(out.String(), "wildcard") })
	if text := out.String(); strings.Contains(text, "YT0000") || strings.Contains(text, "YT9999") || strings.Contains(text, "waybill") {
		t.Errorf("the log holds a payload:\n%s", text)
	}
}

// What no source takes is acknowledged and counted, $SYS included.
func TestBrokerForeignTopics(t *testing.T) {
	j := intaketest.NewOutbox(t, 0)
	_, addr := startBroker(t, Config{}, j)
	w, _ := intaketest.Login(t, addr, "lost")
	for i, topic := range []string{"elsewhere", "$SYS/broker", "$sys", "$share/x", "/"} {
		w.Send(intaketest.PublishPacket(topic, 1, uint16(i+1), false, "x"))
		if id := intaketest.Expect[*packets.PubackPacket](w).MessageID; id != uint16(i+1) {
			t.Errorf("%s: acknowledged %d", topic, id)
		}
	}
	if events, rejects, ignored := j.Totals(); events+rejects != 0 || ignored != 5 {
		t.Errorf("%d events, %d rejects, %d ignored", events, rejects, ignored)
	}
}
