package source

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"scanrelay/agent/intake/internal/intaketest"
	"scanrelay/agent/intake/mapping"
)

// lines are sources of so many topics.
func lines(n int) (c mapping.Config) {
	for i := range n {
		c.Sources = append(c.Sources, mapping.Source{Topic: fmt.Sprint("line", i, "/scans"), QoS: 1})
	}
	return c
}

// asks reads a SUBSCRIBE and grants it.
func asks(w intaketest.Wire) []string {
	w.T.Helper()
	sub := intaketest.Expect[*packets.SubscribePacket](w)
	grant(w, sub)
	return sub.Topics
}

func grant(w intaketest.Wire, sub *packets.SubscribePacket) {
	ack := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
	ack.MessageID, ack.ReturnCodes = sub.MessageID, make([]byte, len(sub.Topics))
	for i := range ack.ReturnCodes {
		ack.ReturnCodes[i] = 1
	}
	w.Send(ack)
}

// A SUBSCRIBE has at most eight filters: AWS IoT closes the connection over more.
func TestAtMostEightFiltersAtOnce(t *testing.T) {
	st := newStub(t)
	s, _ := startSource(t, Config{Config: brokers(st.addr())}, intaketest.Mapper(t, lines(19)), intaketest.NewOutbox(t, 0))
	w, _ := st.accept(packets.Accepted)
	seen := map[string]bool{}
	for _, want := range []int{8, 8, 3} {
		got := asks(w)
		if len(got) != want {
			t.Errorf("%d filters in one SUBSCRIBE, want %d", len(got), want)
		}
		for _, filter := range got {
			seen[filter] = true
		}
	}
	if len(seen) != 19 {
		t.Errorf("asked for %d filters", len(seen))
	}
	intaketest.Eventually(t, "subscribed", func() bool { return s.Status().Connected })
}

// A broker that closes the connection over one filter: it is found, named, and left
// out, and the others work.
func TestTheFilterThatEndsTheConnectionIsNamed(t *testing.T) {
	st := newStub(t)
	s, _ := startSource(t, Config{Config: brokers(st.addr())}, intaketest.Mapper(t, lines(4)), intaketest.NewOutbox(t, 0))
	const bad = "line2/scans"
	connections := 0
	for granted := 0; granted < 3; {
		w, _ := st.accept(packets.Accepted)
		if connections++; connections > 4 {
			t.Fatal("it does not find out")
		}
		granted = 0
		for granted < 3 {
			sub, ok := w.Receive(intaketest.Patience).(*packets.SubscribePacket)
			if !ok {
				t.Fatal("no SUBSCRIBE")
			}
			if strings.Contains(strings.Join(sub.Topics, " "), bad) {
				_ = w.Close()
				break
			}
			grant(w, sub)
			granted += len(sub.Topics)
		}
	}
	intaketest.Eventually(t, "named", func() bool {
		st := s.Status()
		return st.Connected && strings.Contains(st.Problem, "refuses the subscription to "+bad+":")
	})
}

// A broker may end in the middle of a SUBSCRIBE for reasons of its own, such as a
// restart: that is no filter's doing, and the next connection asks for all of them.
func TestABrokerThatEndsInASubscribe(t *testing.T) {
	for _, filters := range []int{1, 3} {
		st := newStub(t)
		s, _ := startSource(t, Config{Config: brokers(st.addr())}, intaketest.Mapper(t, lines(filters)), intaketest.NewOutbox(t, 0))
		for range 2 { // with several the second asks for one alone
			w, _ := st.accept(packets.Accepted)
			intaketest.Expect[*packets.SubscribePacket](w)
			_ = w.Close()
		}
		w, _ := st.accept(packets.Accepted)
		for range filters {
			asks(w)
		}
		intaketest.Eventually(t, "subscribed to all", func() bool { return s.Status().Connected && s.Status().Problem == "" })
	}
}

// However often: what is the only filter is asked for again.
func TestTheOnlyFilterIsAskedForAgain(t *testing.T) {
	st := newStub(t)
	s, _ := startSource(t, Config{Config: brokers(st.addr())}, intaketest.Mapper(t, lines(1)), intaketest.NewOutbox(t, 0))
	for range 3 {
		w, _ := st.accept(packets.Accepted)
		intaketest.Expect[*packets.SubscribePacket](w)
		_ = w.Close()
	}
	w, _ := st.accept(packets.Accepted)
	asks(w)
	intaketest.Eventually(t, "subscribed", func() bool { return s.Status().Connected && s.Status().Problem == "" })
}

// While a backlog comes the answer to a further SUBSCRIBE comes last: that is no
// reason to end the session.
func TestASubscriptionDuringABacklog(t *testing.T) {
	st := newStub(t)
	const answers = time.Second
	m := intaketest.Mapper(t, lines(1))
	s, _ := startSource(t, Config{Config: brokers(st.addr()), answers: answers}, m, intaketest.NewOutbox(t, 0))
	w, _ := st.accept(packets.Accepted)
	asks(w)
	s.pipe.Update(intaketest.Rules(t, lines(2)), 0)
	sub := intaketest.Expect[*packets.SubscribePacket](w)
	for began, i := time.Now(), 1; time.Since(began) < 5*answers/2; i++ {
		w.Send(intaketest.PublishPacket("line0/scans", 1, uint16(i%60000+1), false, intaketest.Payload(fmt.Sprintf("YT%08d", i))))
		intaketest.Expect[*packets.PubackPacket](w)
	}
	grant(w, sub)
	w.Send(intaketest.PublishPacket("line1/scans", 1, 60001, false, intaketest.Payload("YT99999999")))
	intaketest.Expect[*packets.PubackPacket](w)
	if got := s.Status(); !got.Connected || got.Sessions != 1 || got.Problem != "" {
		t.Errorf("status %+v", got)
	}
}

// A broker that has forgotten the session has lost what it kept in it: said and
// counted, also where it happened while no agent ran. The first time nobody can know.
func TestAForgottenSessionIsTold(t *testing.T) {
	log := &intaketest.Log{}
	m := intaketest.StartMosquitto(t)
	cfg := Config{
		Config: brokers(m.Addr()), Sessions: filepath.Join(t.TempDir(), SessionsName), Logger: slog.New(slog.NewTextHandler(log, nil)),
	}
	mapper, o := intaketest.Mapper(t, mapping.Config{}), intaketest.NewOutbox(t, 0)
	s, stop := startSource(t, cfg, mapper, o)
	connected := func(n uint64) {
		t.Helper()
		intaketest.Eventually(t, "connected", func() bool { st := s.Status(); return st.Connected && st.Sessions == n })
	}
	connected(1)
	m.Stop() // it saves
	m.Start()
	connected(2)
	if s.Status().Forgotten != 0 || strings.Contains(log.String(), "has forgotten this agent's session") {
		t.Errorf("a session that was kept: %s", log)
	}
	m.Forget()
	connected(3)
	if got := s.Status().Forgotten; got != 1 || !strings.Contains(log.String(), "has forgotten this agent's session") {
		t.Errorf("%d forgotten, logged %s", got, log)
	}
	stop()
	m.Stop() // it saves
	m.Start()
	m.Forget()
	s, _ = startSource(t, cfg, mapper, o)
	connected(1)
	if got := s.Status().Forgotten; got != 1 || strings.Count(log.String(), "has forgotten this agent's session") != 2 {
		t.Errorf("after a restart: %d forgotten, logged %s", got, log)
	}
}

// Sessions that are lost again and again, soon after each login: most likely another
// client has the same id.
func TestAnotherClientWithTheSameID(t *testing.T) {
	st := newStub(t)
	s, _ := startSource(t, Config{Config: brokers(st.addr())}, intaketest.Mapper(t, mapping.Config{}), intaketest.NewOutbox(t, 0))
	for range shortLives {
		w, _ := st.accept(packets.Accepted)
		asks(w)
		intaketest.Eventually(t, "connected", func() bool { return s.Status().Connected })
		_ = w.Close()
		intaketest.Eventually(t, "noticed", func() bool { return !s.Status().Connected })
	}
	if got := s.Status().Problem; !strings.Contains(got, `does another client use client id "scanrelay-test"`) {
		t.Errorf("problem %q", got)
	}
}
