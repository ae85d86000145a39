package e2e

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/autopaho/queue/memory"
	v5 "github.com/eclipse/paho.golang/paho"
	mqtt "github.com/eclipse/paho.mqtt.golang"

	"scanrelay/build/rig"
)

// breakingLine is a line to a broker that breaks at a packet: the first connection
// after two of them, in whatever direction they go, the next after three, and so on
// up to ten, then again from the start; after so many breaks it holds.
type breakingLine struct {
	net.Listener
	to     string
	breaks atomic.Int64 // so far
	ended  sync.WaitGroup
}

const lineBreaks = 27

func newBreakingLine(t *testing.T, to string) *breakingLine {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &breakingLine{Listener: ln, to: to}
	l.ended.Go(l.accept)
	t.Cleanup(func() {
		_ = ln.Close()
		l.ended.Wait()
	})
	return l
}

func (l *breakingLine) accept() {
	for {
		near, err := l.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", l.to)
		if err != nil {
			_ = near.Close()
			continue
		}
		left := new(atomic.Int64)
		left.Store(1 << 40)
		if n := l.breaks.Load(); n < lineBreaks {
			left.Store(2 + n%9)
		}
		var cut sync.Once
		end := func() {
			cut.Do(func() {
				l.breaks.Add(1)
				_ = near.(*net.TCPConn).SetLinger(0) // as a line breaks: without a word
				_ = far.(*net.TCPConn).SetLinger(0)
				_, _ = near.Close(), far.Close()
			})
		}
		for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
			l.ended.Go(func() {
				defer end()
				carry(way[1], bufio.NewReader(way[0]), left)
			})
		}
	}
}

// carry passes packets on until none is left or the line ends.
func carry(to io.Writer, from *bufio.Reader, left *atomic.Int64) {
	for {
		first, err := from.ReadByte()
		if err != nil {
			return
		}
		n, err := binary.ReadUvarint(from)
		if err != nil {
			return
		}
		content := make([]byte, n)
		if _, err := io.ReadFull(from, content); err != nil || left.Add(-1) < 0 {
			return
		}
		if _, err := to.Write(append(binary.AppendUvarint([]byte{first}, n), content...)); err != nil {
			return
		}
	}
}

// foreign is a device that uses a library which nobody here wrote. publish may return
// before all is delivered.
type foreign struct {
	name    string
	many    int // scans that take it a few seconds
	publish func(t *testing.T, line string, n int)
}

var foreigners = []foreign{
	{"paho.golang, MQTT 5, its queue", 3000, func(t *testing.T, line string, n int) {
		server, err := url.Parse("mqtt://" + line)
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		c, err := autopaho.NewConnection(ctx, autopaho.ClientConfig{
			ServerUrls: []*url.URL{server}, KeepAlive: 20, SessionExpiryInterval: 3600, Queue: memory.New(),
			ReconnectBackoff: func(int) time.Duration { return 10 * time.Millisecond },
			ClientConfig:     v5.ClientConfig{ClientID: "autopaho"},
		})
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			text := fmt.Sprintf(`{"waybill_id":"YTG%07d","action_type":200001,"action_msg":"x","event_id":"g%d"}`, i, i)
			if err := c.PublishViaQueue(ctx, &autopaho.QueuePublish{Publish: &v5.Publish{Topic: "scans/g", QoS: byte(1 + i%2), Payload: []byte(text)}}); err != nil {
				t.Fatal(err)
			}
		}
	}},
	{"MQTT 3.1.1, Paho C", 50, func(t *testing.T, line string, n int) { // it takes a tenth of a second for each
		cmd := exec.CommandContext(t.Context(), pahoC(t), "tcp://"+line, fmt.Sprint(n))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("publisher: %v\n%s", err, out)
		}
	}},
	{"MQTT 3.1, MQTT.js", 3000, mqttJS(3)},
	{"MQTT 3.1.1, MQTT.js", 3000, mqttJS(4)},
	{"MQTT 5, MQTT.js", 3000, mqttJS(5)},
}

// mqttJS returns the publish of a device that uses MQTT.js.
func mqttJS(version int) func(t *testing.T, line string, n int) {
	return func(t *testing.T, line string, n int) {
		cmd := exec.CommandContext(t.Context(), "node", "testdata/publisher.js", line, fmt.Sprint(version), fmt.Sprint(n))
		cmd.Env = append(os.Environ(), "NODE_PATH=/usr/share/nodejs") // where Debian's node-mqtt is
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("publisher: %v\n%s", err, out)
		}
	}
}

// pahoC builds the device that uses Paho C.
func pahoC(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "publisher")
	out, err := exec.CommandContext(t.Context(), "gcc", "-o", program, "testdata/publisher.c", "-lpaho-mqtt3c").CombinedOutput()
	if err != nil {
		t.Fatalf("the tests need gcc and libpaho-mqtt-dev: %v\n%s", err, out)
	}
	return program
}

// TestLinesThatBreakAtEachPacket: what devices publish over such a line with libraries
// that nobody here wrote is stored, each scan once. mosquitto is the measure: what it
// keeps, the agent keeps.
func TestLinesThatBreakAtEachPacket(t *testing.T) {
	t.Parallel()
	const n = 40
	for _, device := range foreigners {
		t.Run(device.name, func(t *testing.T) {
			t.Parallel()
			kept := keptByMosquitto(t, device, n)
			site := newSite(t, rig.Options{Binary: raceBinary, Embedded: true})
			site.StartAgent()
			line := newBreakingLine(t, site.Broker)
			device.publish(t, line.Addr().String(), n)
			st := site.AwaitStatus("what mosquitto keeps", func(st rig.Status) bool { return int(st.Intake.Received) >= kept })
			t.Logf("of %d mosquitto keeps %d, the agent %d; %d breaks, %d came again", n, kept, st.Intake.Received, line.breaks.Load(), st.Intake.Duplicate)
			if int(st.Intake.Received) != n {
				t.Errorf("%d of %d stored", st.Intake.Received, n)
			}
		})
	}
}

// keptByMosquitto is how many different scans of a device reach a subscriber.
func keptByMosquitto(t *testing.T, device foreign, n int) int {
	t.Helper()
	m := rig.NewMosquitto(t)
	m.Start()
	var lock sync.Mutex
	seen := map[string]bool{}
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + m.Addr).SetClientID("measure").SetProtocolVersion(4))
	heard := func(_ mqtt.Client, msg mqtt.Message) {
		lock.Lock()
		defer lock.Unlock()
		seen[string(msg.Payload())] = true
	}
	for _, call := range []func() mqtt.Token{c.Connect, func() mqtt.Token { return c.Subscribe("scans/#", 2, heard) }} {
		if token := call(); !token.WaitTimeout(rig.Limit) || token.Error() != nil {
			t.Fatalf("subscribe at mosquitto: %v", token.Error())
		}
	}
	defer c.Disconnect(100)
	device.publish(t, newBreakingLine(t, m.Addr).Addr().String(), n)
	count := func() int {
		lock.Lock()
		defer lock.Unlock()
		return len(seen)
	}
	for last, quiet := 0, 0; count() < n && quiet < 100; quiet++ { // what it does not keep never comes
		if now := count(); now != last {
			last, quiet = now, 0
		}
		time.Sleep(100 * time.Millisecond)
	}
	return count()
}

// TestKillsUnderDevicesOfOthers: the agent is killed again and again while such
// devices publish; sessions that they believe in outlive it, so nothing is missing.
func TestKillsUnderDevicesOfOthers(t *testing.T) {
	t.Parallel()
	const kills = 3
	for _, device := range foreigners {
		t.Run(device.name, func(t *testing.T) {
			t.Parallel()
			n := device.many
			site := newSite(t, rig.Options{Binary: plainBinary, Embedded: true})
			site.StartAgent()
			published := make(chan struct{})
			go func() {
				defer close(published)
				device.publish(t, site.Broker, n)
			}()
			for i := range kills {
				site.AwaitStatus("some", func(st rig.Status) bool { return int(st.Intake.Received) >= (i+1)*n/(kills+2) })
				site.KillAgent()
			}
			<-published
			st := site.AwaitStatus("all", func(st rig.Status) bool { return int(st.Intake.Received) >= n })
			t.Logf("%d stored, %d came again", st.Intake.Received, st.Intake.Duplicate)
			if int(st.Intake.Received) != n {
				t.Errorf("%d stored of %d", st.Intake.Received, n)
			}
		})
	}
}
