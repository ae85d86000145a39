package broker

import (
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"scanrelay/agent/intake/internal/intaketest"
)

// latencies publishes one by one and returns how long each acknowledgement took.
func latencies(t *testing.T, c mqtt.Client, prefix string, n int) (took []time.Duration) {
	t.Helper()
	for i := range n {
		began := time.Now()
		token := c.Publish("scans/good", 1, false, intaketest.Payload(fmt.Sprintf("%s%06d", prefix, i)))
		if !token.WaitTimeout(intaketest.Patience) || token.Error() != nil {
			t.Fatalf("the good device: %v", token.Error())
		}
		took = append(took, time.Since(began))
		time.Sleep(time.Second / floodRate) // it keeps to its rate
	}
	slices.Sort(took)
	return took
}

// floodRate and what else bounds a client here are so low that a bad device goes
// beyond them on any machine.
const floodRate = 50

// Devices that publish without end, announce packets of 256 MB, subscribe to
// everything and connect all the time are held down, are named in the log once a
// minute each, and a good one gets every acknowledgement all the same. How long it
// waits for them is logged; how long is too long depends on the machine.
func TestBrokerUnderAFlood(t *testing.T) {
	log := &intaketest.Log{}
	j := intaketest.NewOutbox(t, 2*time.Millisecond)
	b, addr := startBroker(t, Config{MaxClients: 10, Rate: floodRate, connects: 5, Logger: slog.New(slog.NewTextHandler(log, nil))}, j)
	good := intaketest.Connect(t, addr, "good")
	const n = 100
	calm := latencies(t, good, "YTA", n)

	began := time.Now()
	over := make(chan struct{})
	var bad sync.WaitGroup
	flood := func(one func()) {
		bad.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
					one()
				}
			}
		})
	}
	host := strings.TrimPrefix(addr, "tcp://")
	big := []byte{0x32, 0xff, 0xff, 0xff, 0x7f} // 256 MB are announced
	w, _ := intaketest.Login(t, addr, "mad")
	go func() { // acknowledgements are read, or it would be cut for that
		for w.Receive(intaketest.Patience) != nil {
		}
	}()
	id := uint16(0)
	flood(func() {
		id = id%60000 + 1
		_ = intaketest.PublishPacket("scans/bad", 1, id, false, intaketest.Payload(fmt.Sprintf("YTB%06d", id))).Write(w)
	})
	greedy := intaketest.Connect(t, addr, "greedy")
	flood(func() { greedy.Subscribe("#", 1, nil).WaitTimeout(intaketest.Patience) })
	dial := func(send []byte) func() {
		return func() {
			c, err := net.Dial("tcp", host)
			if err != nil {
				return
			}
			_, _ = c.Write(send)
			time.Sleep(time.Millisecond)
			_ = c.Close()
		}
	}
	flood(dial(big))
	flood(dial(nil))
	mad := latencies(t, good, "YTC", n)
	took := time.Since(began)
	bads := slices.DeleteFunc(j.Waybills(), func(number string) bool { return !strings.HasPrefix(number, "YTB") })
	intaketest.Eventually(t, "all of them are noticed", func() bool {
		return b.Status().Refused > 0 && strings.Contains(log.String(), "connects too often") && strings.Contains(log.String(), "is slowed down")
	})
	close(over)
	_ = w.Close() // it may be waiting to write
	bad.Wait()

	t.Logf("acknowledged in the calm: median %v, p90 %v; in the flood: %v, %v; %+v",
		calm[n/2], calm[n*9/10], mad[n/2], mad[n*9/10], b.Status())
	if most := floodRate * (2 + took.Seconds()); float64(len(bads)) > most {
		t.Errorf("%d scans of the bad device came through in %s, at %d a second", len(bads), took, floodRate)
	}
	for _, line := range []string{"connects too often", "above its rate and is slowed down"} {
		if got, most := strings.Count(log.String(), line), 1+int(time.Since(began)/time.Minute); got > most {
			t.Errorf("%q is logged %d times", line, got)
		}
	}
}

// Devices that are gone when their acknowledgements are written are nothing to tell of,
// or anybody could fill the log.
func TestDevicesThatAreGoneAreNotLogged(t *testing.T) {
	log := &intaketest.Log{}
	j := intaketest.NewOutbox(t, 20*time.Millisecond)
	b, addr := startBroker(t, Config{connects: 1e6, Logger: slog.New(slog.NewTextHandler(log, nil))}, j)
	for i := range 20 {
		w, _ := intaketest.Login(t, addr, fmt.Sprint("gone-", i))
		w.Send(intaketest.PublishPacket("scans/g", 1, 1, false, intaketest.Payload(fmt.Sprintf("YT%08d", i))))
		w.Send(intaketest.PublishPacket("scans/g", 1, 2, false, intaketest.Payload(fmt.Sprintf("YU%08d", i))))
		_ = w.Conn.(*net.TCPConn).SetLinger(0) // so that writing to it fails
		_ = w.Close()
	}
	intaketest.Eventually(t, "all are gone", func() bool { return b.Status().Clients == 0 && b.Status().Waiting == 0 })
	if got := strings.Count(log.String(), "closed"); got > 0 || b.Status().Cut > 0 {
		t.Errorf("%d lines, %d counted as cut: %s", got, b.Status().Cut, log)
	}
}

// Connecting again does not renew a client's rate.
func TestRateOutlivesTheConnection(t *testing.T) {
	j := intaketest.NewOutbox(t, 0)
	_, addr := startBroker(t, Config{Rate: 20}, j)
	began := time.Now()
	for i := range 40 {
		c := intaketest.Connect(t, addr, "mad")
		if token := c.Publish("scans/g", 1, false, intaketest.Payload(fmt.Sprintf("YT%08d", i))); !token.WaitTimeout(intaketest.Patience) || token.Error() != nil {
			t.Fatal(token.Error())
		}
		c.Disconnect(0)
	}
	if took := time.Since(began); took < 900*time.Millisecond {
		t.Errorf("40 events at 20 a second (after a burst of 20) took %s", took)
	}
}
