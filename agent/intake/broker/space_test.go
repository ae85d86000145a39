package broker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/agent/intake"
	"scanrelay/agent/intake/internal/intaketest"
	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/intake/packet"
)

// elsewhere is a device at another address of this machine.
func elsewhere(t *testing.T, addr, id string) *device {
	t.Helper()
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	conn, err := from.Dial("tcp", strings.TrimPrefix(addr, "tcp://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	d := &device{t, conn, bufio.NewReader(conn), 4}
	d.connect(2, id, nil)
	d.expect("CONNACK of "+id, 0x20, 0, 0)
	return d
}

// Devices of one address that announce large packets and send half of them keep nobody
// else's out.
func TestLargePacketsThatDoNotEnd(t *testing.T) {
	_, addr := startBroker(t, Config{MaxWaiting: 1 << 20}, intaketest.NewOutbox(t, 0))
	for i := range 20 {
		d := elsewhere(t, addr, fmt.Sprint("thief-", i))
		if _, err := d.Write(append([]byte{0x32, 0xa0, 0x8d, 0x06}, make([]byte, 50_000)...)); err != nil { // of 100,000
			t.Fatal(err)
		}
	}
	c := intaketest.Connect(t, addr, "honest")
	intaketest.Publish(t, c, "scans/g", strings.TrimSuffix(intaketest.Payload("YT00000001"), "}")+`,"x":"`+strings.Repeat("x", 100_000)+`"}`)
}

// A packet that has begun comes to its end within a time, also one of a device that
// need never say anything.
func TestAPacketThatDoesNotEnd(t *testing.T) {
	for name, length := range map[string][]byte{"small": {0x64}, "large": {0xa0, 0x8d, 0x06}} {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			defer near.Close()
			defer far.Close()
			b := New(Config{}, nil)
			c := &conn{Conn: near, raw: near, b: b, in: bufio.NewReader(near), session: &session{}, queue: newQueue(b, gone{})}
			go func() {
				_, _ = far.Write(append(append([]byte{0x32}, length...), 'x')) // the other end says what comes of it
			}()
			began := time.Now()
			_, _, err := c.read()
			c.done()
			if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || took > 10*time.Minute || b.large.waiting() != 0 {
				t.Errorf("%s: %v after %s, %d bytes are kept", name, err, took, b.large.waiting())
			}
		})
	}
}

// counting counts the messages that are mapped.
type counting struct{ n atomic.Int64 }

func (c *counting) Now() time.Time                { c.n.Add(1); return time.Now() }
func (c *counting) Believable() bool              { return true }
func (c *counting) Boot() (string, time.Duration) { return "", 0 }

// What there is no space for is not mapped yet: the reads of a few bytes may be
// thousands. All of it is acknowledged in the end.
func TestWhatWaitsForSpaceIsNotMapped(t *testing.T) {
	j := intaketest.NewOutbox(t, 0)
	rules, problems := mapping.Compile(mapping.Config{Sources: []mapping.Source{{Topic: "scans/#"}}})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	clock := &counting{}
	b := New(Config{MaxWaiting: 1 << 20, HoldFor: intaketest.Patience, strangers: 1}, intake.New(mapping.New(rules, clock, nil), j, 0))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx, Listener{Listener: ln}) }()
	j.SetFull(true)
	const devices, reads = 50, 1000
	one := strings.TrimSuffix(strings.Repeat(intaketest.Payload("YT00000001")+",", reads), ",")
	var all []*device
	for i := range devices {
		d := online(t, "tcp://"+ln.Addr().String(), 4, 2, fmt.Sprint("gun-", i))
		d.publish(1, 1, "["+one+"]")
		all = append(all, d)
	}
	intaketest.Eventually(t, "some wait", func() bool { return b.Status().Waiting > 1<<20/2 })
	time.Sleep(100 * time.Millisecond) // for what must not happen
	if n, most := clock.n.Load(), int64(3+2*runtime.GOMAXPROCS(0)); n > most {
		t.Errorf("%d messages are mapped, at most %d have space", n, most)
	}
	j.SetFull(false)
	for _, d := range all {
		d.expect("PUBACK", 0x40, 0, 1)
	}
	intaketest.Eventually(t, "nothing waits", func() bool { return b.Status().Waiting == 0 })
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestBudgetLeavesSomethingForOthers(t *testing.T) {
	b := newBudget(100, 75)
	for _, step := range []struct {
		host string
		n    int64
		ok   bool
	}{{"a", 75, true}, {"a", 1, false}, {"b", 26, false}, {"b", 25, true}, {"c", 1, false}} {
		if got := b.take(step.host, step.n); got != step.ok {
			t.Errorf("%s takes %d: %v", step.host, step.n, got)
		}
	}
	b.give("a", 75)
	if !b.free("a") || !b.take("a", 70) || len(b.of) != 2 {
		t.Errorf("what was given back is not free: %+v", b.of)
	}
	b.give("a", 70)
	b.give("b", 25)
	if !b.take("a", 1000) || b.free("b") || len(b.of) != 1 {
		t.Errorf("what is larger than everything: %+v", b.of)
	}
}

// Who subscribes and does not read keeps no request for a rebirth from others.
func TestACommandWaitsForNobody(t *testing.T) {
	b := New(Config{slow: time.Hour}, intake.New(intaketest.Mapper(t, mapping.Config{}), intaketest.NewOutbox(t, 0), 0))
	a := newAcceptor(b, nil)
	subscribe := func(id string) (ours, theirs net.Conn) {
		ours, theirs = net.Pipe() // which holds nothing between the two
		c := a.wrap(ours, id)
		o, _ := b.sessions.open(c, &packet.Connect{ClientID: id}, 0, time.Now())
		b.sessions.subscribe(o.session, "spBv1.0/#")
		return ours, theirs
	}
	var all []net.Conn
	for i := range 10 {
		ours, _ := subscribe(fmt.Sprint("deaf-", i))
		all = append(all, ours)
	}
	honest, theirs := subscribe("honest")
	all = append(all, honest)
	heard := make(chan error, 1)
	go func() {
		_, err := theirs.Read(make([]byte, 1000))
		heard <- err
	}()
	over := make(chan struct{})
	go func() {
		defer close(over)
		for range 2 * maxCommands {
			b.command("spBv1.0/g/NCMD/n", []byte("x"))
		}
	}()
	for range 2 {
		select {
		case <-over:
			over = nil
		case err := <-heard:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(intaketest.Patience):
			t.Fatal("a subscriber that does not read holds commands up")
		}
	}
	for _, c := range all {
		_ = c.Close() // ends what is being written
	}
	a.open.Wait()
}
