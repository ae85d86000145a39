package intake

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

	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/scan"
	"scanrelay/configs/tlsfile"
)

// startSource runs a Source until the returned function or the test's end stops
// it.
func startSource(t testing.TB, cfg SourceConfig, m *mapping.Mapper, j Journal) (*Source, func()) {
	t.Helper()
	if cfg.ClientID == "" {
		cfg.ClientID = "scanrelay-test"
	}
	s, err := NewSource(cfg, m, j)
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
	mq := startMosquitto(t)
	j := newFakeJournal(t, 0)
	s, _ := startSource(t, SourceConfig{Brokers: []string{mq.addr()}}, testMapper(t, mapping.Config{Sources: []mapping.Source{{Topic: "scans/#", QoS: 2}}}), j)
	eventually(t, "connected", s.Connected)
	for qos := range 3 {
		mq.pub("-t", "scans/gate", "-q", fmt.Sprint(qos), "-m", payload(fmt.Sprintf("YT0000000%d", qos)))
	}
	eventually(t, "stored", func() bool { return len(j.waybills()) == 3 })
	if st := s.Status(); st.QoS0 != 1 || st.Sessions != 1 || st.Problem != "" || st.Broker != mq.addr() {
		t.Errorf("status %+v", st)
	}
}

// The session outlives the agent: what came meanwhile is delivered after.
func TestSourceSessionPersists(t *testing.T) {
	mq := startMosquitto(t)
	j := newFakeJournal(t, 0)
	m := testMapper(t, mapping.Config{})
	s, stop := startSource(t, SourceConfig{Brokers: []string{mq.addr()}}, m, j)
	eventually(t, "connected", s.Connected)
	stop()
	if s.Connected() {
		t.Error("still connected after Run has returned")
	}
	mq.pub("-t", "scans/gate", "-q", "1", "-m", payload("YT00000001"))
	mq.pub("-t", "scans/gate", "-q", "1", "-m", payload("YT00000002"))
	startSource(t, SourceConfig{Brokers: []string{mq.addr()}}, m, j)
	eventually(t, "stored", func() bool { return slices.Equal(j.waybills(), []string{"YT00000001", "YT00000002"}) })
}

// Without room nothing is acknowledged; with room again everything comes, in
// order, though a withheld acknowledgement never comes back by itself.
func TestSourceWithholdsWhenFull(t *testing.T) {
	mq := startMosquitto(t)
	j := newFakeJournal(t, 0)
	s, _ := startSource(t, SourceConfig{Brokers: []string{mq.addr()}}, testMapper(t, mapping.Config{}), j)
	eventually(t, "connected", s.Connected)
	c := connect(t, mq.addr(), "scanner")
	publishAll := func(from, to int) {
		for i := from; i < to; i++ {
			if token := c.Publish("scans/g", 1, false, payload(fmt.Sprintf("YT%08d", i))); !token.WaitTimeout(5*time.Second) || token.Error() != nil {
				t.Fatal(token.Error())
			}
		}
	}
	publishAll(0, 50)
	eventually(t, "the first stored", func() bool { return len(j.waybills()) == 50 })
	j.setFull(true)
	publishAll(50, 400)
	eventually(t, "full", func() bool { return s.Status().Full && !s.Connected() })
	if n := len(j.waybills()); n != 50 {
		t.Fatalf("%d stored while full", n)
	}
	j.setFull(false)
	eventually(t, "all stored", func() bool { return len(unique(j.waybills())) == 400 })
	if got := unique(j.waybills()); !slices.IsSorted(got) {
		t.Error("out of order")
	}
	if st := s.Status(); st.Redelivered == 0 || st.Waiting != 0 {
		t.Errorf("status %+v", st)
	}
}

// unique keeps the first of each.
func unique(list []string) (out []string) {
	seen := make(map[string]bool)
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}

// A failed commit is not acknowledged: the broker sends the message again, with
// DUP, on a new session.
func TestSourceFailedCommitComesAgain(t *testing.T) {
	mq := startMosquitto(t)
	j := newFakeJournal(t, 0)
	var failed atomic.Int32
	j.fail = func(b scan.Batch) error {
		if len(b.Events) > 0 && b.Events[0].Waybill == "YT00000002" && failed.Add(1) == 1 {
			return errors.New("disk")
		}
		return nil
	}
	s, _ := startSource(t, SourceConfig{Brokers: []string{mq.addr()}}, testMapper(t, mapping.Config{}), j)
	eventually(t, "connected", s.Connected)
	for i := 1; i <= 3; i++ {
		mq.pub("-t", "scans/g", "-q", "1", "-m", payload(fmt.Sprintf("YT0000000%d", i)))
	}
	eventually(t, "stored", func() bool { return len(unique(j.waybills())) == 3 })
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, b := range j.stored {
		if len(b.Events) == 1 && b.Events[0].Waybill == "YT00000002" && !b.Redelivered {
			t.Error("the second delivery came without DUP")
		}
	}
}

func TestSourceSurvivesBrokerRestart(t *testing.T) {
	mq := startMosquitto(t)
	j := newFakeJournal(t, 0)
	s, _ := startSource(t, SourceConfig{Brokers: []string{mq.addr()}}, testMapper(t, mapping.Config{}), j)
	eventually(t, "connected", s.Connected)
	mq.pub("-t", "scans/g", "-q", "1", "-m", payload("YT00000001"))
	eventually(t, "stored", func() bool { return len(j.waybills()) == 1 })
	mq.kill()
	eventually(t, "noticed", func() bool { return !s.Connected() && strings.Contains(s.Status().Problem, "127.0.0.1") })
	mq.restart()
	eventually(t, "connected again", s.Connected)
	mq.pub("-t", "scans/g", "-q", "1", "-m", payload("YT00000002"))
	eventually(t, "stored again", func() bool { return len(j.waybills()) == 2 })
	if st := s.Status(); st.Sessions != 2 || st.Problem != "" {
		t.Errorf("status %+v", st)
	}
}

func TestSourceRetained(t *testing.T) {
	mq := startMosquitto(t)
	mq.pub("-t", "scans/g", "-q", "1", "-r", "-m", `{"waybill_id":"YT00000001","action_type":200001,"action_msg":"x"}`)
	mq.pub("-t", "scans/h", "-q", "1", "-r", "-m", payload("YT00000002"))
	j := newFakeJournal(t, 0)
	startSource(t, SourceConfig{Brokers: []string{mq.addr()}}, testMapper(t, mapping.Config{}), j)
	eventually(t, "both taken", func() bool {
		events, rejects, ignored := j.totals()
		return events == 1 && rejects == 0 && ignored == 1
	})
	if got := j.waybills(); got[0] != "YT00000002" {
		t.Errorf("stored %v", got)
	}
}

func TestSourceFallsBackAndTellsWhatIsWrong(t *testing.T) {
	passwords := t.TempDir() + "/passwords"
	if err := writePasswords(passwords, "depot", "secret"); err != nil {
		t.Fatal(err)
	}
	mq := startMosquitto(t, "password_file "+passwords, "allow_anonymous false")
	j := newFakeJournal(t, 0)
	m := testMapper(t, mapping.Config{})
	dead := fmt.Sprintf("tcp://127.0.0.1:%d", freePort(t))
	s, stop := startSource(t, SourceConfig{Brokers: []string{dead, mq.addr()}, Username: "depot", Password: "wrong"}, m, j)
	eventually(t, "told", func() bool {
		p := s.Status().Problem
		return strings.Contains(p, `refuses user "depot": check mqtt.username and mqtt.password`) &&
			strings.Contains(p, "cannot be reached") && strings.Contains(p, "connection refused") && !strings.Contains(p, "wrong")
	})
	stop()
	s, _ = startSource(t, SourceConfig{Brokers: []string{dead, mq.addr()}, Username: "depot", Password: "secret"}, m, j)
	eventually(t, "connected to the second", func() bool { return s.Connected() && s.Status().Broker == mq.addr() })
}

// The first broker is the one to be at: what it kept while it was away is fetched as
// soon as it is back. One that can be reached and does not take us is tried less and
// less often.
func TestSourceReturnsToTheFirstBroker(t *testing.T) {
	first, second := startMosquitto(t), startMosquitto(t)
	j := newFakeJournal(t, 0)
	s, _ := startSource(t, SourceConfig{Brokers: []string{first.addr(), second.addr()}, returns: 100 * time.Millisecond}, testMapper(t, mapping.Config{}), j)
	at := func(mq *mosquitto) func() bool {
		return func() bool { return s.Connected() && s.Status().Broker == mq.addr() }
	}
	eventually(t, "at the first", at(first))
	first.stop()
	eventually(t, "at the second", at(second))
	second.pub("-t", "scans/g", "-q", "1", "-m", payload("YT00000001"))
	eventually(t, "stored", func() bool { return len(j.waybills()) == 1 })
	first.start()
	first.pub("-t", "scans/g", "-q", "1", "-m", payload("YT00000002"))
	eventually(t, "at the first again", at(first))
	eventually(t, "what came meanwhile", func() bool { return slices.Contains(j.waybills(), "YT00000002") })
	if st := s.Status(); st.Problem != "" || st.Redelivered != 0 {
		t.Errorf("status %+v", st)
	}
}

func TestSourceReturnsLessOftenWhereItIsRefused(t *testing.T) {
	st, mq := newStub(t), startMosquitto(t)
	s, _ := startSource(t, SourceConfig{Brokers: []string{st.addr(), mq.addr()}, returns: 20 * time.Millisecond}, testMapper(t, mapping.Config{}), newFakeJournal(t, 0))
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
	eventually(t, "at the second", func() bool { return s.Connected() && s.Status().Broker == mq.addr() })
}

func TestSourceConfigErrors(t *testing.T) {
	m, j := testMapper(t, mapping.Config{}), newFakeJournal(t, 0)
	for _, cfg := range []SourceConfig{
		{ClientID: "c"}, {Brokers: []string{"tcp://h"}}, {Brokers: []string{"http://h"}, ClientID: "c"},
		{Brokers: []string{"h:1883"}, ClientID: "c"}, {Brokers: []string{"tcp://u:geheim@%zz"}, ClientID: "c"},
	} {
		_, err := NewSource(cfg, m, j)
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
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	broker := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := errors.Join(broker.AddHook(new(auth.AllowHook), nil),
		broker.AddListener(listeners.NewWebsocket(listeners.Config{ID: "ws", Address: addr, TLSConfig: server})), broker.Serve()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = broker.Close() })
	j := newFakeJournal(t, 0)
	s, stop := startSource(t, SourceConfig{Brokers: []string{scheme + "://" + addr}, TLS: client}, testMapper(t, mapping.Config{}), j)
	eventually(t, "connected", s.Connected)
	c := connect(t, scheme+"://"+addr, "scanner", func(o *mqtt.ClientOptions) {
		conf, err := client.Config()
		if err != nil {
			t.Fatal(err)
		}
		o.SetTLSConfig(conf)
	})
	if token := c.Publish("scans/g", 1, false, payload("YT00000001")); !token.WaitTimeout(5*time.Second) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	eventually(t, "stored", func() bool { return len(j.waybills()) == 1 })
	c.Disconnect(100)
	stop()
}

func TestSourceOverWebSockets(t *testing.T) { overWebSockets(t, "ws", nil, tlsfile.Client{}) }

func TestSourceOverSecureWebSockets(t *testing.T) {
	a := newAuthority(t)
	crt, key := a.issue("server", "127.0.0.1")
	conf, err := tlsfile.Server{CertFile: crt, KeyFile: key}.Config(tls.NoClientCert)
	if err != nil {
		t.Fatal(err)
	}
	overWebSockets(t, "wss", conf, tlsfile.Client{CAFile: a.file("ca.crt")})
}
