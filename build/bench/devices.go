package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"

	"scanrelay/build/rig"
)

// deviceSources are the agent's for what the devices of this file publish.
const deviceSources = `sources:
  - {topic: json/#}
  - {topic: text/#, decoder: text, fields: {action_type: "=200001", action_msg: "=x"}}
  - {topic: csv/#, decoder: csv, columns: [code, kind, at], fields: {waybill_id: /code, action_type: /kind, action_time: /at, action_msg: "=x"}}
  - {topic: spBv1.0/#, decoder: sparkplug, fields: {waybill_id: /Scan/Code, action_type: "=200001", action_msg: "=x"}}
`

// device publishes one kind of message.
type device struct {
	name, topic string
	payload     func(waybill string) []byte
}

func devices() []device {
	return []device{
		{"json", "json/d", func(w string) []byte {
			return fmt.Appendf(nil, `{"waybill_id":%q,"action_type":200001,"action_time":%d,"action_msg":"x"}`, w, time.Now().UnixMilli())
		}},
		{"text", "text/d", func(w string) []byte { return []byte(w + "\r\n") }},
		{"csv", "csv/d", func(w string) []byte { return fmt.Appendf(nil, "%s,200001,%d", w, time.Now().Unix()) }},
		{"sparkplug", "spBv1.0/g/DDATA/n/d", sparkplug},
	}
}

// sparkplug is a payload with one metric that has its name.
func sparkplug(waybill string) []byte {
	field := func(b []byte, number byte, text string) []byte {
		return append(append(b, number<<3|2, byte(len(text))), text...)
	}
	now := uint64(time.Now().UnixMilli())
	metric := field(nil, 1, "Scan/Code")
	metric = binary.AppendUvarint(append(metric, 3<<3), now)
	metric = field(append(metric, 4<<3, 12), 15, waybill)
	return field(binary.AppendUvarint([]byte{1 << 3}, now), 2, string(metric))
}

// devicesIntake measures intake by decoder and by number of connections.
func (b *bench) devicesIntake() {
	n := min(max(b.events/10, 500), 60_000) // a packet id each
	for _, d := range devices() {
		for _, connections := range []int{1, 50, 500} {
			site := b.site(rig.Options{Agent: deviceSources})
			site.StartAgent()
			p := proc{site.Agent.PID()}
			before, begin := p.cpu(), time.Now()
			b.lines(site.Broker, d, connections, n, 200)
			took := time.Since(begin)
			target := ">= 10,000 events/s"
			if connections == 1 {
				target = ">= 5,000 events/s, fsync 10 ms"
			}
			b.add(fmt.Sprintf("intake, %s, %d connections, fsync before PUBACK", d.name, connections), target,
				"%.0f events/s, %v CPU per event", rate(n, took), ((p.cpu() - before) / time.Duration(n)).Round(100*time.Nanosecond))
			b.allStored(site, n)
			b.runCleanups()
		}
	}
}

// allStored fails when an acknowledged message is no event.
func (b *bench) allStored(site *rig.Site, n int) {
	st, err := site.Status()
	if err != nil || int(st.Intake.Received) != n {
		b.Fatalf("%d messages acknowledged, %d events stored (%v)", n, st.Intake.Received, err)
	}
}

// acknowledgement measures from publish to PUBACK beside a stock mosquitto with
// persistence, which queues for a subscriber that is away.
func (b *bench) acknowledgement() {
	const connections, each = 50, 100
	site := b.site(rig.Options{Agent: deviceSources})
	site.StartAgent()
	mosquitto := rig.NewMosquitto(b)
	mosquitto.Start()
	b.subscribeAndLeave(mosquitto.Addr)
	for _, row := range []struct{ name, addr, target string }{
		{"embedded broker, on disk", site.Broker, "what fsync costs, see disk"}, {"stock mosquitto, in memory", mosquitto.Addr, "for comparison"},
	} {
		took := b.lines(row.addr, devices()[0], connections, connections*each, 1)
		b.add(fmt.Sprintf("publish to PUBACK, %d connections one by one, %s", connections, row.name), row.target,
			"p50 %v, p99 %v", percentile(took, 50).Round(10*time.Microsecond), percentile(took, 99).Round(10*time.Microsecond))
	}
}

func (b *bench) subscribeAndLeave(addr string) {
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetClientID("away").SetProtocolVersion(4).SetCleanSession(false))
	for _, call := range []func() mqtt.Token{c.Connect, func() mqtt.Token { return c.Subscribe("#", 1, nil) }} {
		if token := call(); !token.WaitTimeout(10*time.Second) || token.Error() != nil {
			b.Fatalf("subscribe at mosquitto: %v", token.Error())
		}
	}
	c.Disconnect(100)
}

// lines publishes n messages of a device over connections, each with so many on
// their way, and returns how long each acknowledgement took.
func (b *bench) lines(addr string, d device, connections, n, window int) (took []time.Duration) {
	var lock sync.Mutex
	var failures []error
	var all sync.WaitGroup
	for i := range connections {
		share := n / connections
		if i < n%connections {
			share++
		}
		all.Go(func() {
			mine, err := d.line(addr, i, share, window)
			lock.Lock()
			defer lock.Unlock()
			took = append(took, mine...)
			if err != nil {
				failures = append(failures, err)
			}
		})
	}
	all.Wait()
	if err := errors.Join(failures...); err != nil {
		b.Fatalf("%s over %d connections: %v", d.name, connections, err)
	}
	return took
}

// line is one connection, spoken packet by packet: hundreds of clients of a
// library would take more of the machine than what is measured.
func (d device) line(addr string, number, n, window int) ([]time.Duration, error) {
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		return nil, err
	}
	hello := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	hello.ProtocolName, hello.ProtocolVersion, hello.CleanSession = "MQTT", 4, true
	hello.ClientIdentifier, hello.Keepalive = fmt.Sprintf("%s-%d", d.name, number), 120
	if err := hello.Write(conn); err != nil {
		return nil, err
	}
	if ack, err := packets.ReadPacket(conn); err != nil {
		return nil, err
	} else if c, ok := ack.(*packets.ConnackPacket); !ok || c.ReturnCode != 0 {
		return nil, fmt.Errorf("refused: %v", ack)
	}
	sent, free := make([]time.Time, n), make(chan struct{}, window)
	failed, over := make(chan error, 1), make(chan struct{})
	defer close(over)
	go func() {
		for i := range n {
			select {
			case free <- struct{}{}:
			case <-over:
				return
			}
			p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
			p.TopicName, p.Qos, p.MessageID = d.topic, 1, uint16(i+1)
			p.Payload = d.payload(fmt.Sprintf("YT%05d%08d", number, i))
			sent[i] = time.Now()
			if err := p.Write(conn); err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	var took []time.Duration
	for i := range n {
		ack, err := packets.ReadPacket(conn)
		if err != nil {
			return nil, err
		}
		if a, ok := ack.(*packets.PubackPacket); !ok || a.MessageID != uint16(i+1) {
			return nil, fmt.Errorf("the %d. answer is %v", i+1, ack)
		}
		took = append(took, time.Since(sent[i]))
		<-free
	}
	return took, <-failed
}
