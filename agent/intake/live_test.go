package intake

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/intake/sparkplug"
)

// A device publishes all the while; the mapping changes under it several times.
// Nothing that was acknowledged to it is missing, and what is no source's any
// more is not subscribed to any more.
func TestSourceUpdateLosesNothing(t *testing.T) {
	mq := startMosquitto(t)
	j := newFakeJournal(t, time.Millisecond)
	two := []mapping.Source{{Topic: "scans/#", QoS: 1}, {Topic: "line/+/reads", QoS: 1}}
	s, _ := startSource(t, SourceConfig{Brokers: []string{mq.addr()}}, testMapper(t, mapping.Config{Sources: two[:1]}), j)
	eventually(t, "connected", s.Connected)
	c := connect(t, mq.addr(), "device")
	const n = 400
	var want []string
	for i := range n {
		if i%50 == 25 {
			s.Update(rulesOf(t, mapping.Config{Sources: two[:1+i/50%2], DepotName: fmt.Sprint(i)}), 0)
		}
		number := fmt.Sprintf("YT%08d", i)
		want = append(want, number)
		if token := c.Publish("scans/gate", 1, false, payload(number)); !token.WaitTimeout(5*time.Second) || token.Error() != nil {
			t.Fatal(token.Error())
		}
	}
	eventually(t, "all of them", func() bool { return len(j.waybills()) >= n })
	if got := j.waybills(); !slices.Equal(got, want) {
		t.Errorf("%d stored, want %d in order", len(got), n)
	}
	if st := s.Status(); st.Sessions != 1 {
		t.Errorf("%d sessions: the connection was not kept", st.Sessions)
	}

	s.Update(rulesOf(t, mapping.Config{Sources: two}), 0)
	eventually(t, "subscribed to the new filter", func() bool {
		mq.pub("-t", "line/3/reads", "-q", "1", "-m", payload("YT99999999"))
		return slices.Contains(j.waybills(), "YT99999999")
	})
	s.Update(rulesOf(t, mapping.Config{Sources: two[1:]}), 0)
	eventually(t, "the old filter given up", func() bool {
		_, _, before := j.totals()
		mq.pub("-t", "scans/gate", "-q", "1", "-m", payload("YT88888888"))
		mq.pub("-t", "line/3/reads", "-q", "1", "-m", payload("YT77777777"))
		time.Sleep(50 * time.Millisecond)
		_, _, after := j.totals()
		return after == before
	})
}

// sparkplugSource takes what an edge node says of the number that a scanner read.
var sparkplugSource = mapping.Config{Sources: []mapping.Source{{
	Topic: "spBv1.0/+/+/+/#", QoS: 1, Decoder: "sparkplug",
	Fields: map[string]string{"waybill_id": "/metrics/Scan~1Code", "action_type": "=200001", "action_msg": "=x"},
}}}

func sparkplugPayload(t *testing.T, file string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// sparkplugNode is an edge node that publishes a birth when it is told to.
type sparkplugNode struct {
	mqtt.Client
	told chan []byte
}

func newSparkplugNode(t *testing.T, addr string) sparkplugNode {
	t.Helper()
	n := sparkplugNode{connect(t, addr, "edge"), make(chan []byte, 8)}
	token := n.Subscribe("spBv1.0/express/NCMD/depot-571/#", 0, func(_ mqtt.Client, m mqtt.Message) {
		n.told <- append([]byte(m.Topic()+" "), m.Payload()...)
	})
	if !token.WaitTimeout(5*time.Second) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	return n
}

func (n sparkplugNode) publish(t *testing.T, kind, file string) {
	t.Helper()
	token := n.Publish("spBv1.0/express/"+kind+"/depot-571/scanner-07", 0, false, sparkplugPayload(t, file))
	if !token.WaitTimeout(5*time.Second) || token.Error() != nil {
		t.Fatal(token.Error())
	}
}

// Data that came before its birth makes the edge node hear one request to be
// born again, however much of it there was; then its data is understood.
func testRebirth(t *testing.T, addr string, j *fakeJournal) {
	t.Helper()
	n := newSparkplugNode(t, addr)
	for range 3 {
		n.publish(t, "DDATA", "sparkplug-ddata.bin")
	}
	select {
	case told := <-n.told:
		topic, body, _ := strings.Cut(string(told), " ")
		p, err := sparkplug.Parse([]byte(body))
		if topic != "spBv1.0/express/NCMD/depot-571" || err != nil || p.Metrics[0].Name != "Node Control/Rebirth" {
			t.Errorf("told %q, %v", told, err)
		}
	case <-time.After(15 * time.Second):
		t.Fatal("nobody asked for a rebirth")
	}
	n.publish(t, "DBIRTH", "sparkplug-dbirth.bin")
	n.publish(t, "DDATA", "sparkplug-ddata.bin")
	eventually(t, "the scan", func() bool { return slices.Contains(j.waybills(), "78636098066239") })
	if _, rejects, _ := j.totals(); rejects != 3 {
		t.Errorf("%d rejected, want the 3 that came before the birth", rejects)
	}
	select {
	case told := <-n.told:
		t.Errorf("told %q twice", told)
	case <-time.After(100 * time.Millisecond):
	}
}

func TestSourceAsksForARebirth(t *testing.T) {
	mq := startMosquitto(t)
	j := newFakeJournal(t, 0)
	s, _ := startSource(t, SourceConfig{Brokers: []string{mq.addr()}}, testMapper(t, sparkplugSource), j)
	eventually(t, "connected", s.Connected)
	testRebirth(t, mq.addr(), j)
}

func TestBrokerAsksForARebirth(t *testing.T) {
	j := newFakeJournal(t, 0)
	b, addr := startBroker(t, BrokerConfig{}, j)
	b.Update(rulesOf(t, sparkplugSource), 0)
	testRebirth(t, addr, j)
}

func TestBrokerUpdate(t *testing.T) {
	j := newFakeJournal(t, 0)
	b, addr := startBroker(t, BrokerConfig{Users: []User{{"a", "old", nil}}}, j)
	as := func(user, password string) func(*mqtt.ClientOptions) {
		return func(o *mqtt.ClientOptions) { o.SetUsername(user).SetPassword(password) }
	}
	c := connect(t, addr, "a", as("a", "old"))
	publish := func(topic, number string) {
		t.Helper()
		if token := c.Publish(topic, 1, false, payload(number)); !token.WaitTimeout(5*time.Second) || token.Error() != nil {
			t.Fatal(token.Error())
		}
	}
	publish("scans/x", "YT00000001")
	b.Update(rulesOf(t, mapping.Config{Sources: []mapping.Source{{Topic: "other/#", QoS: 1}}}), time.Minute)
	publish("scans/x", "YT00000002")
	publish("other/x", "YT00000003")
	if got := j.waybills(); !slices.Equal(got, []string{"YT00000001", "YT00000003"}) {
		t.Errorf("stored %v", got)
	}
	if err := b.SetUsers([]User{{"a", "", nil}}); err == nil {
		t.Error("an empty password was taken")
	}
	if err := b.SetUsers([]User{{"b", "new", nil}}); err != nil {
		t.Fatal(err)
	}
	connect(t, addr, "b", as("b", "new"))
	c.Publish("other/x", 1, false, payload("YT00000004")) // its user is gone
	eventually(t, "denied", func() bool { return b.Status().Denied == 1 })
	if got := j.waybills(); len(got) != 2 {
		t.Errorf("stored %v", got)
	}
}

func TestBrokerListen(t *testing.T) {
	j := newFakeJournal(t, 0)
	b, addr := startBroker(t, BrokerConfig{}, j)
	ctx, cancel := context.WithCancel(t.Context())
	heard := make(chan Heard, 8)
	ended := make(chan error, 1)
	go func() {
		ended <- b.Listen(ctx, func(h Heard) error { heard <- h; return nil })
	}()
	eventually(t, "listening", b.funnel.ears.any.Load)
	c := connect(t, addr, "a")
	c.Publish("nobody/knows", 1, false, "x").WaitTimeout(5 * time.Second)
	if h := <-heard; h.Topic != "nobody/knows" || string(h.Payload) != "x" || h.ReceivedAt.IsZero() {
		t.Errorf("heard %+v", h)
	}
	cancel()
	if err := <-ended; err != nil || b.funnel.ears.any.Load() {
		t.Errorf("it still listens, %v", err)
	}
}

// Who listens slowly delays nobody and hears how much it missed.
func TestEarsMissInsteadOfWaiting(t *testing.T) {
	var e ears
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var missed []uint64
	begin, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- e.listen(ctx, func(h Heard) error {
			<-begin
			missed = append(missed, h.Missed)
			if h.Missed > 0 {
				cancel()
			}
			return nil
		})
	}()
	eventually(t, "listening", e.any.Load)
	e.hear(Heard{Topic: "t"})
	eventually(t, "one is being taken", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		for one := range e.open {
			return len(one.heard) == 0
		}
		return false
	})
	for range 64 + 7 {
		e.hear(Heard{Topic: "t"})
	}
	close(begin)
	go func() {
		for ctx.Err() == nil {
			time.Sleep(time.Millisecond)
			e.hear(Heard{Topic: "t"})
		}
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if last := missed[len(missed)-1]; last < 7 {
		t.Errorf("missed %d", last)
	}
}

// Listening beside the agent takes nothing away from it, also where the agent
// shares a subscription.
func TestListenBesideASource(t *testing.T) {
	mq := startMosquitto(t)
	j := newFakeJournal(t, 0)
	m := testMapper(t, mapping.Config{Sources: []mapping.Source{{Topic: "$share/depot/scans/#", QoS: 1}}})
	s, _ := startSource(t, SourceConfig{Brokers: []string{mq.addr()}}, m, j)
	eventually(t, "connected", s.Connected)
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var topics []string
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- Listen(ctx, SourceConfig{Brokers: []string{"tcp://127.0.0.1:1", mq.addr()}, ClientID: "listener"}, []string{"$share/depot/scans/#"},
			func(string) { close(ready) }, func(h Heard) error {
				mu.Lock()
				defer mu.Unlock()
				topics = append(topics, h.Topic)
				return nil
			})
	}()
	<-ready
	for i := range 5 {
		mq.pub("-t", "scans/x", "-q", "1", "-m", payload(fmt.Sprintf("YT0000000%d", i)))
	}
	eventually(t, "both have all", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(topics) == 5 && len(j.waybills()) == 5
	})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
