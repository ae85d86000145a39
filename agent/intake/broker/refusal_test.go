package broker

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"scanrelay/agent/intake"
	"scanrelay/agent/intake/internal/intaketest"
	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/intake/packet"
	"scanrelay/agent/intake/user"
	"scanrelay/configs/wait"
)

// A CONNECT that cannot be served is answered as its version of MQTT has it.
func TestRefusalsOfConnect(t *testing.T) {
	_, addr := startBroker(t, Config{}, intaketest.NewOutbox(t, 0))
	for name, c := range map[string]struct {
		version, flags byte
		id             string
		want           byte
	}{
		"a bridge of mosquitto tries its own version first": {0x84, 2, "bridge", 1},
		"a version to come":          {6, 2, "x", 1},
		"3.1 without an id":          {3, 2, "", 2},
		"no id and a session":        {4, 0, "", 2},
		"an id beyond all bounds":    {4, 2, strings.Repeat("x", maxClientID+1), 2},
		"an id beyond all bounds, 5": {5, 2, strings.Repeat("x", maxClientID+1), 0x85},
		"no id":                      {4, 2, "", 0},
		"no id, 5":                   {5, 0, "", 0},
	} {
		d := dial(t, addr, c.version)
		d.connect(c.flags, c.id, d.props())
		if first, content := d.receive(); first != 0x20 || content[0] != 0 || content[1] != c.want {
			t.Errorf("%s: %#x % x, want CONNACK %d", name, first, content, c.want)
		}
	}
	if _, code := intaketest.Login(t, addr, "x", func(c *packets.ConnectPacket) {
		c.UsernameFlag, c.Username = true, strings.Repeat("u", maxUser+1)
	}); code != packets.ErrRefusedBadUsernameOrPassword {
		t.Errorf("a user name beyond all bounds: CONNACK %d", code)
	}
	d := dial(t, addr, 5)
	d.connect(2, "x", d.props(0x15, 0, 1, 'k'))
	d.expect("extended authentication", 0x20, 0, byte(packet.BadAuthMethod))
}

// What MQTT 5 clients are told beforehand: how large a packet may be, how many
// publishes may be open, and the session that they get.
func TestLimitsAreTold(t *testing.T) {
	_, addr := startBroker(t, Config{MaxPacket: 1000, Hold: 100}, intaketest.NewOutbox(t, 0))
	d := dial(t, addr, 5)
	d.connect(0, "gun", d.props(0x11, 0xff, 0xff, 0xff, 0xff))
	told := d.expect("CONNACK", 0x20, 0, 0)
	for what, want := range map[string][]byte{
		"Maximum Packet Size":     {0x27, 0, 0, 0x03, 0xe8},
		"Receive Maximum":         {0x21, 0, 100},
		"Session Expiry Interval": {0x11, 0, 0x27, 0x8d, 0}, // 30 days
	} {
		if !bytes.Contains(told, want) {
			t.Errorf("%s is not told: % x", what, told)
		}
	}
	d.publish(2, 1, intaketest.Payload("YT00000001"), 0x26, 0, 1, 'k', 0, 1, 'v')
	if got := d.expect("PUBREC", 0x50, 0, 1); len(got) > 2 {
		t.Errorf("PUBREC has % x", got)
	}
}

// A device's Maximum Packet Size bounds each packet that it gets, not what it gets in one
// go: many acknowledgements of one commit.
func TestSmallMaximumPacketSize(t *testing.T) {
	j := intaketest.NewOutbox(t, 0)
	_, addr := startBroker(t, Config{}, j)
	d := online(t, addr, 5, 2, "gun", 0x27, 0, 0, 0, 24)
	j.SetFull(true) // so that all wait for one commit
	const n = 100
	for id := range uint16(n) {
		d.publish(1+byte(id%2), id+1, intaketest.Payload(fmt.Sprintf("YT%08d", id)))
	}
	d.send(0xc0)
	d.expect("PINGRESP", 0xd0)
	j.SetFull(false)
	for id := range byte(n) {
		d.expect("its acknowledgement", 0x40+id%2*0x10, 0, id+1)
	}
}

// An MQTT 5 client hears why it is cut, older ones know no DISCONNECT of a server.
func TestWhyAConnectionIsCut(t *testing.T) {
	j := intaketest.NewOutbox(t, 0)
	_, addr, stop := serveBroker(t, Config{MaxPacket: 1000, Hold: 3}, j, Listener{})
	for _, c := range []struct {
		name string
		code packet.Code
		do   func(d *device)
	}{
		{"a packet beyond the limit", packet.TooLarge, func(d *device) { d.publish(1, 1, strings.Repeat("x", 2000)) }},
		{"what is no MQTT", packet.Malformed, func(d *device) { d.send(0xf3) }},
		{"a second CONNECT", packet.ProtocolError, func(d *device) { d.connect(2, "x", d.props()) }},
		{"a topic with a wildcard", packet.BadTopic, func(d *device) { d.send(0x30, "scans/#", d.props()) }},
		{"its client comes anew", packet.TakenOver, func(d *device) { online(t, addr, d.v, 2, "gun") }},
		{"more than is held without room", packet.QuotaExceeded, func(d *device) {
			j.SetFull(true)
			for i := range 5 {
				d.publish(1, uint16(i+1), intaketest.Payload(fmt.Sprintf("YT%08d", i)))
			}
		}},
		{"a stop", packet.ShuttingDown, func(*device) { stop() }},
	} {
		for _, version := range []byte{5, 4, 3} {
			if version < 5 && c.code == packet.ShuttingDown {
				continue // it stops once
			}
			d := online(t, addr, version, 2, "gun")
			c.do(d)
			if version == 5 {
				d.expect(c.name, 0xe0, byte(c.code))
			}
			if first, content := d.receive(); first != end {
				t.Errorf("%s, version %d: %#x % x instead of the end", c.name, version, first, content)
			}
			if c.code == packet.QuotaExceeded {
				full := dial(t, addr, version)
				full.connect(2, "other", full.props())
				full.expect("CONNACK without room", 0x20, 0, map[byte]byte{5: byte(packet.Unavailable), 4: 3, 3: 3}[version])
			}
			j.SetFull(false)
		}
	}
}

// A publish without permission: MQTT 5 refuses it in its place among the others, the
// older ones know no refusal.
func TestDeniedPublishes(t *testing.T) {
	j := intaketest.NewOutbox(t, 20*time.Millisecond)
	_, addr := startBroker(t, Config{Users: usersOf(t, user.User{Username: "gun", Password: "x", Publish: []string{"scans/g"}})}, j)
	for _, version := range []byte{3, 4, 5} {
		d := dial(t, addr, version)
		d.connect(0xc2, "gun", d.props(), "gun", "x")
		d.expect("CONNACK", 0x20, 0, 0)
		d.publish(1, 1, intaketest.Payload("YT00000001"))
		d.send(0x32, "elsewhere", uint16(2), d.props(), []byte("x"))
		d.send(0x34, "elsewhere", uint16(3), d.props(), []byte("x"))
		if version == 5 {
			d.expect("PUBACK", 0x40, 0, 1)
			d.expect("PUBACK of what is denied", 0x40, 0, 2, byte(packet.NotAuthorized))
			d.expect("PUBREC of what is denied", 0x50, 0, 3, byte(packet.NotAuthorized))
			continue
		}
		for first, _ := d.receive(); first != end; first, _ = d.receive() {
			if first != 0x40 {
				t.Errorf("version %d: %#x", version, first)
			}
		}
	}
}

// Nothing is forwarded, so nobody is left waiting for what never comes: only what an
// edge node of Sparkplug needs is granted.
func TestSubscriptions(t *testing.T) {
	b, addr := startBroker(t, Config{}, intaketest.NewOutbox(t, 0))
	for version, refused := range map[byte][]byte{3: {0x80, 0x80, 0x80}, 4: {0x80, 0x80, 0x80}, 5: {0x87, 0x8f, 0x87}} {
		d := online(t, addr, version, 2, "edge")
		subscribe := []any{uint16(9), d.props(), "spBv1.0/g/NCMD/n", byte(1), "spBv1.0/g/DCMD/n/+", byte(0), "STATE/host", byte(1)}
		for _, filter := range []string{"#", "a/#/b", "scans/g"} {
			subscribe = append(subscribe, filter, byte(1))
		}
		d.send(0x82, subscribe...)
		if got := d.expect("SUBACK", 0x90, 0, 9); !bytes.HasSuffix(got, append([]byte{1, 0, 1}, refused...)) {
			t.Errorf("version %d is granted % x", version, got)
		}
		b.command("spBv1.0/g/NCMD/n", []byte("x"))
		d.expect("the command", 0x30)
		d.send(0xa2, uint16(10), d.props(), "spBv1.0/g/NCMD/n", "nothing")
		got := d.expect("UNSUBACK", 0xb0, 0, 10)
		if version == 5 && !bytes.HasSuffix(got, []byte{0, 0x11}) {
			t.Errorf("UNSUBACK % x", got)
		}
		b.command("spBv1.0/g/NCMD/n", []byte("x"))
		d.send(0xc0)
		d.expect("PINGRESP and no command", 0xd0)
	}
	d := online(t, addr, 4, 2, "greedy")
	for i := range maxFilters + 1 {
		d.send(0x82, uint16(9), fmt.Sprint("STATE/", i), byte(1))
		want := byte(1)
		if i == maxFilters {
			want = 0x80
		}
		d.expect("SUBACK", 0x90, 0, 9, want)
	}
}

// Passwords are guessed slowly, and a device that does not know of a new one shuts
// nobody out.
func TestGuessedPasswords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Config{Users: usersOf(t, user.User{Username: "gun", Password: "right"}, user.User{Username: "other", Password: "x"})}, nil)
		try := func(host, user, password string) bool {
			code, _ := b.authenticate(host, user, []byte(password))
			return code == packet.Success
		}
		for range 1000 {
			if try("10.0.0.1", "gun", "old") {
				t.Fatal("a wrong password opens")
			}
		}
		if !try("10.0.0.1", "gun", "right") {
			t.Error("one that tries the same again and again shuts out who knows better")
		}
		tried := 0
		for i := range 1000 {
			before := len(b.guesses.known)
			try("10.0.0.1", "gun", fmt.Sprint("guess ", i))
			tried += len(b.guesses.known) - before
		}
		if tried >= guessesAtOnce || try("10.0.0.1", "gun", "right") {
			t.Errorf("%d passwords were tried at once", tried)
		}
		if !try("10.0.0.2", "gun", "right") || !try("10.0.0.1", "other", "x") {
			t.Error("another address, or another user, is shut out")
		}
		for i := range 1000 {
			try("10.0.0.3", fmt.Sprint("user ", i), fmt.Sprint("guess ", i))
		}
		if code, why := b.authenticate("10.0.0.3", "nobody", []byte("another")); code != packet.BadLogin || !strings.Contains(why, "too many") {
			t.Errorf("names are guessed: %s", why)
		}
		time.Sleep(time.Minute)
		if !try("10.0.0.1", "gun", "right") {
			t.Error("it stays shut")
		}
	})
}

// Ever new client ids share one rate, once an address had as many as there are clients.
func TestNewClientIDsDoNotEvadeTheRate(t *testing.T) {
	b := New(Config{Rate: 20, MaxClients: 5}, nil)
	first := b.rateOf("10.0.0.1", "gun-0")
	seen := map[any]bool{}
	for i := range 100 {
		seen[b.rateOf("10.0.0.1", fmt.Sprint("gun-", i))] = true
	}
	if len(seen) > 5+1+1 || b.rateOf("10.0.0.1", "gun-0") != first {
		t.Errorf("%d rates for 100 ids", len(seen))
	}
	if seen[b.rateOf("10.0.0.2", "gun-200")] {
		t.Error("another address is in the same boat")
	}
}

// One address cannot take all places, neither of clients nor of those who have not
// logged in.
func TestOneAddressDoesNotTakeAllPlaces(t *testing.T) {
	b, addr := startBroker(t, Config{MaxClients: 4, Logger: slog.New(slog.DiscardHandler)}, intaketest.NewOutbox(t, 0))
	for i := range 3 {
		online(t, addr, 4, 2, fmt.Sprint("gun-", i))
	}
	online(t, addr, 4, 2, "gun-1") // comes anew
	d := dial(t, addr, 5)
	d.connect(2, "gun-3", d.props())
	d.expect("CONNACK", 0x20, 0, byte(packet.Busy))
	a := b.acceptor.Load()
	if why := a.seat(&conn{host: "10.0.0.2"}, "far"); why != "" {
		t.Errorf("another address: %s", why)
	}
}

// stuckConn is a connection that hangs as soon as it is looked at.
type stuckConn struct {
	net.Conn
	until chan struct{}
}

func (c stuckConn) RemoteAddr() net.Addr {
	<-c.until
	return c.Conn.RemoteAddr()
}

// stuckListener gives such connections.
type stuckListener struct {
	net.Listener
	until chan struct{}
}

func (l stuckListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return stuckConn{c, l.until}, err
}

// Whoever looks at the pulse sees that nobody accepts connections any more, and no fault
// while there is nothing to accept.
func TestAcceptingHasAPulse(t *testing.T) {
	var pulse wait.Pulse
	b := New(Config{Pulse: &pulse}, intake.New(intaketest.Mapper(t, mapping.Config{}), intaketest.NewOutbox(t, 0), 0))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	until := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx, Listener{Listener: stuckListener{ln, until}}) }()
	if pulse.Stuck() > 0 {
		t.Error("stuck at rest")
	}
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for end := time.Now().Add(intaketest.Patience); pulse.Stuck() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody sees that accepting hangs")
		}
	}
	close(until)
	cancel()
	if err := <-ended; err != nil || pulse.Stuck() > 0 {
		t.Error(err, pulse.Stuck())
	}
}
