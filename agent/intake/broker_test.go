package intake

import (
	"context"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// payload is a canonical scan of a waybill.
func payload(waybill string) string {
	return fmt.Sprintf(`{"waybill_id":%q,"action_type":200001,"action_msg":"到达","event_id":"e-%s"}`, waybill, waybill)
}

func testMapper(t testing.TB, cfg MapperConfig) *Mapper {
	t.Helper()
	m, err := NewMapper(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// startBroker runs an embedded broker until the test ends and returns it with
// its address.
func startBroker(t testing.TB, cfg BrokerConfig, j Journal) (*Broker, string) {
	t.Helper()
	b, err := NewBroker(cfg, testMapper(t, MapperConfig{}), j)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("broker: %v", err)
		}
	})
	eventually(t, "listening", b.Connected)
	return b, "tcp://" + ln.Addr().String()
}

// connect opens a paho client that is closed with the test.
func connect(t testing.TB, addr, id string, set ...func(*mqtt.ClientOptions)) mqtt.Client {
	t.Helper()
	o := mqtt.NewClientOptions().AddBroker(addr).SetClientID(id).SetProtocolVersion(4).
		SetAutoReconnect(false).SetConnectTimeout(5 * time.Second)
	for _, f := range set {
		f(o)
	}
	c := mqtt.NewClient(o)
	if token := c.Connect(); !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		t.Fatalf("connect: %v", token.Error())
	}
	t.Cleanup(func() { c.Disconnect(100) })
	return c
}

func TestBrokerTakesEveryQoSInOrder(t *testing.T) {
	j := newFakeJournal(t, time.Millisecond)
	b, addr := startBroker(t, BrokerConfig{}, j)
	c := connect(t, addr, "scanner-1")
	var want []string
	var tokens []mqtt.Token
	for i := range 60 {
		w := fmt.Sprintf("YT%08d", i)
		want = append(want, w)
		tokens = append(tokens, c.Publish("scans/gate", byte(i%3), false, payload(w)))
	}
	for _, token := range tokens {
		if !token.WaitTimeout(10*time.Second) || token.Error() != nil {
			t.Fatalf("publish: %v", token.Error())
		}
	}
	eventually(t, "all stored", func() bool { return len(j.waybills()) == len(want) })
	if got := j.waybills(); !slices.Equal(got, want) {
		t.Errorf("stored in the order\n%v\nwant\n%v", got, want)
	}
	if st := b.Status(); st.QoS0 != 20 || st.Waiting != 0 {
		t.Errorf("status %+v", st)
	}
}
