package source

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"

	"scanrelay/agent/intake"
	"scanrelay/agent/intake/internal/intaketest"
	"scanrelay/agent/intake/link"
	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/scan"
	"scanrelay/configs/tlsfile"
	"scanrelay/configs/tlsfile/tlstest"
)

func brokers(list ...string) link.Config { return link.Config{Brokers: list} }

// startSource runs a Source until the returned function or the test's end stops
// it.
func startSource(t testing.TB, cfg Config, m *mapping.Mapper, o intake.Outbox) (*Source, func()) {
	t.Helper()
	if cfg.ClientID == "" {
		cfg.ClientID = "scanrelay-test"
	}
	s, err := New(cfg, intake.New(m, o, 0))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	var stopped atomic.Bool
	stop := func() {
		if stopped.Swap(true) {
			return
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("source: %v", err)
		}
	}
	t.Cleanup(stop)
	return s, stop
}

func TestSourceTakesEveryQoS(t *testing.T) {
	mq := intaketest.StartMosquitto(t)
	j := intaketest.NewOutbox(t, 0)
	s, _ := startSource(t, Config{Config: brokers(mq.Addr())}, intaketest.Mapper(t, mapping.Config{Sources: []mapping.Source{{Topic: "scans/#", QoS: 2}}}), j)
	intaketest.Eventually(t, "connected", func() bool { return s.Status().Connected })
	for qos := range 3 {
		mq.Pub("-t", "scans/gate", "-q", fmt.Sprint(qos), "-m", intaketest.Payload(fmt.Sprintf("YT0000000%d", qos)))
	}
	intaketest.Eventually(t, "stored", func() bool { return len(j.Waybills()) == 3 })
	if st := s.Status(); st.QoS0 != 1 || st.Sessions != 1 || st.Problem != "" || s.Broker() != mq.Addr() {
		t.Errorf("status %+v", st)
	}
}

// The session outlives the agent: what came meanwhile is delivered after.
func TestSourceSessionPersists(t *testing.T) {
	mq := intaketest.StartMosquitto(t)
	j := intaketest.NewOutbox(t, 0)
	m := intaketest.Mapper(t, mapping.Config{})
	s, stop := startSource(t, Config{Config: brokers(mq.Addr())}, m, j)
	intaketest.Eventually(t, "connected", func() bool { return s.Status().Connected })
	stop()
	if s.Status().Connected {
		t.Error("still connected after Run has returned")
	}
	mq.Pub("-t", "scans/gate", "-q", "1", "-m", intaketest.Payload("YT00000001"))
	mq.Pub("-t", "scans/gate", "-q", "1", "-m", intaketest.Payload("YT00000002"))
	startSource(t, Config{Config: brokers(mq.Addr())}, m, j)
	intaketest.Eventually(t, "stored", func() bool { return slices.Equal(j.Waybills(), []string{"YT00000001", "YT00000002"}) })
}

// Without room nothing is acknowledged; with room again everything comes, in
// order, though a withheld acknowledgement never comes back by itself.
func TestSourceWithholdsWhenFull(t *testing.T) {
	mq := intaketest.StartMosquitto(t)
	j := intaketest.NewOutbox(t, 0)
	s, _ := startSource(t, Config{Config: brokers(mq.Addr())}, intaketest.Mapper(t, mapping.Config{}), j)
	intaketest.Eventually(t, "connected", func() bool { return s.Status().Connected })
	c := intaketest.Connect(t, mq.Addr(), "scanner")
	publishAll := func(from, to int) {
		for i := from; i < to; i++ {
			if token := c.Publish("scans/g", 1, false, intaketest.Payload(fmt.Sprintf("YT%08d", i))); !token.WaitTimeout(intaketest.Patience) || token.Error() != nil {
				t.Fatal(token.Error())
			}
		}
	}
	publishAll(0, 50)
	intaketest.Eventually(t, "the first stored", func() bool { return len(j.Waybills()) == 50 })
	j.SetFull(true)
	publishAll(50, 400)
	intaketest.Eventually(t, "full", func() bool { return s.Status().Full && !s.Status().Connected })
	if n := len(j.Waybills()); n != 50 {
		t.Fatalf("%d stored while full", n)
	}
	j.SetFull(false)
	intaketest.Eventually(t, "all stored", func() bool { return len(intaketest.Unique(j.Waybills())) == 400 })
	if got := intaketest.Unique(j.Waybills()); !slices.IsSorted(got) {
		t.Error("out of order")
	}
	if st := s.Status(); st.Redelivered == 0 || st.Waiting != 0 {
		t.Errorf("status %+v", st)
	}
}

// A failed commit is not acknowledged: the broker sends the message again, with
// DUP, on a new session.
func TestSourceFailedCommitComesAgain(t *testing.T) {
	mq := intaketest.StartMosquitto(t)
	j := intaketest.NewOutbox(t, 0)
	var failed atomic.Int32
	j.Fail = func(b scan.Batch) error {
		if len(b.Events) > 0 && b.Events[0].Waybill == "YT00000002" && failed.Add(1) == 1 {
			return errors.New("disk")
		}
		return nil
	}
	s, _ := startSource(t, Config{Config: brokers(mq.Addr())}, intaketest.Mapper(t, mapping.Config{}), j)
	intaketest.Eventually(t, "connected", func() bool { return s.Status().Connected })
	for i := 1; i <= 3; i++ {
		mq.Pub("-t", "scans/g", "-q", "1", "-m", intaketest.Payload(fmt.Sprintf("YT0000000%d", i)))
	}
	intaketest.Eventually(t, "stored", func() bool { return len(intaketest.Unique(j.Waybills())) == 3 })
	for _, b := range j.Stored() {
		if len(b.Events) == 1 && b.Events[0].Waybill == "YT00000002" && !b.Redelivered {
			t.Error("the second delivery came without DUP")
		}
	}
}

// What came behind a message that the outbox refused is refused, too: the broker hands
// all of it again, in order.
func TestSourceKeepsTheOrderOfWhatIsRefused(t *testing.T) {
	mq := intaketest.StartMosquitto(t)
	j := intaketest.NewOutbox(t, 5*time.Millisecond) // some wait for a commit while others come
	var refusals atomic.Int32
	j.Fail = func(scan.Batch) error {
		if n := refusals.Load(); n < 3 && len(j.Stored()) >= int(20*n) {
			refusals.Add(1)
			return intaketest.ErrFull
		}
		return nil
	}
	s, _ := startSource(t, Config{Config: brokers(mq.Addr())}, intaketest.Mapper(t, mapping.Config{}), j)
	intaketest.Eventually(t, "connected", func() bool { return s.Status().Connected })
	c := intaketest.Connect(t, mq.Addr(), "scanner")
	for i := range 200 {
		c.Publish("scans/g", 1, false, intaketest.Payload(fmt.Sprintf("YT%08d", i)))
	}
	intaketest.Eventually(t, "all stored", func() bool { return len(intaketest.Unique(j.Waybills())) == 200 })
	if got := intaketest.Unique(j.Waybills()); !slices.IsSorted(got) || refusals.Load() != 3 {
		t.Errorf("with %d refusals in the order\n%v", refusals.Load(), got)
	}
}

func TestSourceSurvivesBrokerRestart(t *testing.T) {
	mq := intaketest.StartMosquitto(t)
	j := intaketest.NewOutbox(t, 0)
	s, _ := startSource(t, Config{Config: brokers(mq.Addr())}, intaketest.Mapper(t, mapping.Config{}), j)
	intaketest.Eventually(t, "connected", func() bool { return s.Status().Connected })
	mq.Pub("-t", "scans/g", "-q", "1", "-m", intaketest.Payload("YT00000001"))
	intaketest.Eventually(t, "stored", func() bool { return len(j.Waybills()) == 1 })
	mq.Kill()
	intaketest.Eventually(t, "noticed", func() bool { return !s.Status().Connected && strings.Contains(s.Status().Problem, "127.0.0.1") })
	mq.Restart()
	intaketest.Eventually(t, "connected again", func() bool { return s.Status().Connected })
	mq.Pub("-t", "scans/g", "-q", "1", "-m", intaketest.Payload("YT00000002"))
	intaketest.Eventually(t, "stored again", func() bool { return len(j.Waybills()) == 2 })
	if st := s.Status(); st.Sessions != 2 || st.Problem != "" {
		t.Errorf("status %+v", st)
	}
}

func TestSourceRetained(t *testing.T) {
	mq := intaketest.StartMosquitto(t)
	mq.Pub("-t", "scans/g", "-q", "1", "-r", "-m", `{"waybill_id":"YT00000001","action_type":200001,"action_msg":"x"}`)
	mq.Pub("-t", "scans/h", "-q", "1", "-r", "-m", intaketest.Payload("YT00000002"))
	j := intaketest.NewOutbox(t, 0)
	startSource(t, Config{Config: brokers(mq.Addr())}, intaketest.Mapper(t, mapping.Config{}), j)
	intaketest.Eventually(t, "both taken", func() bool {
		events, rejects, ignored := j.Totals()
		return events == 1 && rejects == 0 && ignored == 1
	})
	if got := j.Waybills(); got[0] != "YT00000002" {
		t.Errorf("stored %v", got)
	}
}

func TestSourceFallsBackAndTellsWhatIsWrong(t *testing.T) {
	passwords := t.TempDir() + "/passwords"
	if err := writePasswords(passwords, "depot", "secret"); err != nil {
		t.Fatal(err)
	}
	mq := intaketest.StartMosquitto(t, "password_file "+passwords, "allow_anonymous false")
	j := intaketest.NewOutbox(t, 0)
	m := intaketest.Mapper(t, mapping.Config{})
	dead := fmt.Sprintf("tcp://127.0.0.1:%d", intaketest.FreePort(t))
	s, stop := startSource(t, Config{Config: link.Config{Brokers: []string{dead, mq.Addr()}, Username: "depot", Password: "wrong"}}, m, j)
	intaketest.Eventually(t, "told", func() bool {
		p := s.Status().Problem
		return strings.Contains(p, `refuses user "depot": check mqtt.username and mqtt.password`) &&
			strings.Contains(p, "cannot be reached") && strings.Contains(p, "connection refused") && !strings.Contains(p, "wrong")
	})
	stop()
	s, _ = startSource(t, Config{Config: link.Config{Brokers: []string{dead, mq.Addr()}, Username: "depot", Password: "secret"}}, m, j)
	intaketest.Eventually(t, "connected to the second", func() bool { return s.Status().Connected && s.Broker() == mq.Addr() })
}

// The first broker is the one to be at: what it kept while it was away is fetched as
// soon as it is back. One that can be reached and does not take us is tried less and
// less often.
func TestSourceReturnsToTheFirstBroker(t *testing.T) {
	first, second := intaketest.StartMosquitto(t), intaketest.StartMosquitto(t)
	j := intaketest.NewOutbox(t, 0)
	s, _ := startSource(t, Config{Config: brokers(first.Addr(), second.Addr()), returns: 100 * time.Millisecond}, intaketest.Mapper(t, mapping.Config{}), j)
	at := func(mq *intaketest.Mosquitto) func() bool {
		return func() bool { return s.Status().Connected && s.Broker() == mq.Addr() }
	}
	intaketest.Eventually(t, "at the first", at(first))
	first.Stop()
	intaketest.Eventually(t, "at the second", at(second))
	second.Pub("-t", "scans/g", "-q", "1", "-m", intaketest.Payload("YT00000001"))
	intaketest.Eventually(t, "stored", func() bool { return len(j.Waybills()) == 1 })
	first.Start()
	first.Pub("-t", "scans/g", "-q", "1", "-m", intaketest.Payload("YT00000002"))
	intaketest.Eventually(t, "at the first again", at(first))
	intaketest.Eventually(t, "what came meanwhile", func() bool { return slices.Contains(j.Waybills(), "YT00000002") })
	if st := s.Status(); st.Problem != "" || st.Redelivered != 0 {
		t.Errorf("status %+v", st)
	}
}

func TestSourceReturnsLessOftenWhereItIsRefused(t *testing.T) {
	st, mq := newStub(t), intaketest.StartMosquitto(t)
	s, _ := startSource(t, Config{Config: brokers(st.addr(), mq.Addr()), returns: 20 * time.Millisecond}, intaketest.Mapper(t, mapping.Config{}), intaketest.NewOutbox(t, 0))
	var tried []time.Time
	for len(tried) < 5 {
		conn, err := st.ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if p, err := packets.ReadPacket(conn); err == nil && p != nil {
			tried = append(tried, time.Now())
		}
		_ = conn.Close()
	}
	if first, last := tried[1].Sub(tried[0]), tried[4].Sub(tried[3]); last < 4*first && last < 160*time.Millisecond {
		t.Errorf("tried after %s and after %s", first, last)
	}
	intaketest.Eventually(t, "at the second", func() bool { return s.Status().Connected && s.Broker() == mq.Addr() })
}

func TestSourceConfigErrors(t *testing.T) {
	m, j := intaketest.Mapper(t, mapping.Config{}), intaketest.NewOutbox(t, 0)
	for _, cfg := range []link.Config{
		{ClientID: "c"}, {Brokers: []string{"tcp://h"}}, {Brokers: []string{"http://h"}, ClientID: "c"},
		{Brokers: []string{"h:1883"}, ClientID: "c"}, {Brokers: []string{"tcp://u:geheim@%zz"}, ClientID: "c"},
	} {
		_, err := New(Config{Config: cfg}, intake.New(m, j, 0))
		if err == nil || !strings.HasPrefix(err.Error(), "mqtt.") || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

// writePasswords makes a mosquitto password file.
func writePasswords(file, user, password string) error {
	return exec.Command("mosquitto_passwd", "-b", "-c", file, user, password).Run()
}

// overWebSockets takes a scan from a broker that speaks WebSockets, with TLS or
// without.
func overWebSockets(t *testing.T, scheme string, server *tls.Config, client tlsfile.Client) {
	t.Helper()
	addr := fmt.Sprintf("127.0.0.1:%d", intaketest.FreePort(t))
	broker := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := errors.Join(broker.AddHook(new(auth.AllowHook), nil),
		broker.AddListener(listeners.NewWebsocket(listeners.Config{ID: "ws", Address: addr, TLSConfig: server})), broker.Serve()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = broker.Close() })
	j := intaketest.NewOutbox(t, 0)
	s, stop := startSource(t, Config{Config: link.Config{Brokers: []string{scheme + "://" + addr}, TLS: client}}, intaketest.Mapper(t, mapping.Config{}), j)
	intaketest.Eventually(t, "connected", func() bool { return s.Status().Connected })
	c := intaketest.Connect(t, scheme+"://"+addr, "scanner", func(o *mqtt.ClientOptions) {
		conf, err := client.Config()
		if err != nil {
			t.Fatal(err)
		}
		o.SetTLSConfig(conf)
	})
	if token := c.Publish("scans/g", 1, false, intaketest.Payload("YT00000001")); !token.WaitTimeout(intaketest.Patience) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	intaketest.Eventually(t, "stored", func() bool { return len(j.Waybills()) == 1 })
	c.Disconnect(100)
	stop()
}

func TestSourceOverWebSockets(t *testing.T) { overWebSockets(t, "ws", nil, tlsfile.Client{}) }

func TestSourceOverSecureWebSockets(t *testing.T) {
	a := tlstest.NewAuthority(t)
	crt, key := a.Issue("server", "127.0.0.1")
	conf, err := tlsfile.Server{CertFile: crt, KeyFile: key}.Config(tls.NoClientCert)
	if err != nil {
		t.Fatal(err)
	}
	overWebSockets(t, "wss", conf, tlsfile.Client{CAFile: a.File("ca.crt")})
}
