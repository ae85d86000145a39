package broker

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/agent/intake/internal/intaketest"
	"scanrelay/agent/intake/packet"
	"scanrelay/agent/intake/user"
	"scanrelay/store/durable"
)

// present reports what CONNACK says of the session.
func present(t *testing.T, addr string, version, flags byte, id string, props ...byte) bool {
	t.Helper()
	d := dial(t, addr, version)
	d.connect(flags, id, d.props(props...))
	content := d.expect("CONNACK", 0x20)
	if content[1] != 0 {
		t.Fatalf("%s is refused: %#x", id, content[1])
	}
	d.send(0xe0)
	d.receive()
	return content[0] == 1
}

// A device that asks for a session finds it again: after its connection, after a
// restart of the agent and after a kill, which writes nothing.
func TestSessionsOutliveTheAgent(t *testing.T) {
	file := filepath.Join(t.TempDir(), SessionsName)
	j := intaketest.NewOutbox(t, 0)
	b, addr, stop := serveBroker(t, Config{Sessions: file}, j, Listener{})
	for _, p := range persistent {
		id := fmt.Sprint("gun-", p.version)
		if present(t, addr, p.version, 0, id, p.props...) {
			t.Errorf("%s: a new session is present", id)
		}
		if saved, err := os.ReadFile(file); err != nil || !strings.Contains(string(saved), id) {
			t.Errorf("%s is let in before its session is on disk: %v", id, err)
		}
		if !present(t, addr, p.version, 0, id, p.props...) {
			t.Errorf("%s: its session is forgotten", id)
		}
	}
	present(t, addr, 4, 2, "clean")
	present(t, addr, 5, 0, "no expiry")
	edge := online(t, addr, 4, 0, "edge")
	edge.send(0x82, uint16(1), "spBv1.0/g/NCMD/n", byte(1))
	edge.expect("SUBACK", 0x90, 0, 1, 1)
	b.sessions.file.await(t.Context(), b.sessions.file.change())
	killed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	stopped, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for what, content := range map[string][]byte{"stopped": stopped, "killed": killed} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		b, addr, stop := serveBroker(t, Config{Sessions: file}, j, Listener{})
		for _, p := range persistent {
			if !present(t, addr, p.version, 0, fmt.Sprint("gun-", p.version), p.props...) {
				t.Errorf("%s: the session of version %d is forgotten", what, p.version)
			}
		}
		for _, id := range []string{"clean", "no expiry"} {
			if present(t, addr, 4, 0, id) {
				t.Errorf("%s: %s has a session", what, id)
			}
		}
		edge := online(t, addr, 4, 0, "edge")
		b.command("spBv1.0/g/NCMD/n", []byte("x"))
		edge.expect("the command", 0x30)
		if present(t, addr, 4, 2, "gun-4") || present(t, addr, 4, 0, "gun-4") {
			t.Errorf("%s: a clean session left the old one", what)
		}
		stop()
	}
}

// A file that cannot be used is kept aside; devices begin anew.
func TestSessionsOfADamagedFile(t *testing.T) {
	for name, content := range map[string]string{
		"cut":     "scanrelay mqtt sessions 1 0badc0de\n[{\"id\":\"gun\"",
		"no head": "x",
		"newer":   "scanrelay mqtt sessions 2 00000000\n[]",
	} {
		log := &intaketest.Log{}
		file := filepath.Join(t.TempDir(), SessionsName)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		s := newSessions(10, nil)
		s.load(file, time.Now(), slog.New(slog.NewTextHandler(log, nil)))
		if len(s.byID) != 0 || !durable.Exists(file+durable.Unreadable) || !strings.Contains(log.String(), "mqtt sessions cannot be read") {
			t.Errorf("%s: %d sessions, logged %s", name, len(s.byID), log)
		}
		if name == "newer" && !strings.Contains(log.String(), "written by a newer scanrelay") {
			t.Errorf("logged %s", log)
		}
	}
}

// Sessions that cannot be written are no reason to let nobody in, but said.
func TestSessionsWithoutADisk(t *testing.T) {
	log := &intaketest.Log{}
	file := filepath.Join(t.TempDir(), "gone", SessionsName)
	_, addr, _ := serveBroker(t, Config{Sessions: file, Logger: slog.New(slog.NewTextHandler(log, nil))}, intaketest.NewOutbox(t, 0), Listener{})
	present(t, addr, 4, 0, "gun")
	intaketest.Eventually(t, "logged", func() bool { return strings.Contains(log.String(), "mqtt sessions cannot be written") })
}

func opens(s *sessions, id, user, host string, clean bool, lasts time.Duration, now time.Time) (opened, *conn, bool) {
	c := &conn{host: host}
	o, ok := s.open(c, &packet.Connect{ClientID: id, Username: user, Clean: clean}, lasts, now)
	c.session = o.session
	return o, c, ok
}

// Sessions end after their time, survive a wrong clock, and are bounded: what makes
// way is the longest away of the address that has most.
func TestSessionsAreBounded(t *testing.T) {
	now := time.Unix(1e9, 0)
	s := newSessions(10, nil)
	file := filepath.Join(t.TempDir(), SessionsName)
	s.file.init(file)
	away := func(id, host string, lasts time.Duration) {
		_, c, _ := opens(s, id, "", host, false, lasts, now)
		c.ended = true
		s.leave(c, now)
	}
	away("mine", "10.0.0.1", time.Hour)
	for i := range 100 {
		now = now.Add(time.Second)
		away(fmt.Sprint("flood-", i), "10.0.0.2", time.Hour)
	}
	if len(s.byID) != 10 || s.byID["mine"] == nil || s.byID["flood-99"] == nil || s.byID["flood-0"] != nil {
		t.Errorf("%d sessions", len(s.byID))
	}
	if err := s.file.disk.Write(s.saved(now)); err != nil {
		t.Fatal(err)
	}
	s = newSessions(10, nil)
	now = time.Unix(1, 0) // a gateway without a battery
	s.load(file, now, slog.New(slog.DiscardHandler))
	now = now.Add(time.Hour - 101*time.Second)
	if o, _, _ := opens(s, "mine", "", "", false, time.Hour, now); !o.present {
		t.Error("it is forgotten before its time")
	}
	if o, _, _ := opens(s, "flood-99", "", "", false, time.Hour, now.Add(101*time.Second)); o.present {
		t.Error("it is kept beyond its time")
	}
	s.sweep(now.Add(2 * time.Hour))
	if len(s.byID) != 2 {
		t.Errorf("%d sessions are left of two that are connected", len(s.byID))
	}
}

// An address that comes under ever new client ids has no session kept after as many as
// there are clients: each has the file written. MQTT 5 is told so, and who has one keeps it.
func TestEverNewClientIDsAreNotKept(t *testing.T) {
	b, addr := startBroker(t, Config{MaxClients: 5}, intaketest.NewOutbox(t, 0))
	for i := range 10 {
		present(t, addr, 5, 0, fmt.Sprint("gun-", i), lasting...)
	}
	if present(t, addr, 5, 0, "gun-9", lasting...) || !present(t, addr, 5, 0, "gun-4", lasting...) {
		t.Error("the wrong ones are kept")
	}
	d := dial(t, addr, 5)
	d.connect(0, "gun-10", d.props(lasting...))
	if told := d.expect("CONNACK", 0x20, 0, 0); !strings.Contains(string(told), "\x11\x00\x00\x00\x00") {
		t.Errorf("told % x", told)
	}
	kept := 0
	b.sessions.mu.Lock()
	defer b.sessions.mu.Unlock()
	for _, one := range b.sessions.byID {
		if one.lasts > 0 {
			kept++
		}
	}
	if kept != 5 {
		t.Errorf("%d are kept", kept)
	}
}

// A client id belongs to the user who has a session under it.
func TestAClientIDBelongsToItsUser(t *testing.T) {
	log := &intaketest.Log{}
	users := usersOf(t, user.User{Username: "gate", Password: "one"}, user.User{Username: "thief", Password: "two"})
	b, addr := startBroker(t, Config{Users: users, Logger: slog.New(slog.NewTextHandler(log, nil))}, intaketest.NewOutbox(t, 0))
	gate := dial(t, addr, 4)
	gate.connect(0xc0, "line-1", nil, "gate", "one")
	gate.expect("CONNACK", 0x20, 0, 0)
	for version, code := range map[byte]byte{4: 2, 5: 0x85} {
		thief := dial(t, addr, version)
		thief.connect(0xc2, "line-1", thief.props(), "thief", "two")
		thief.expect("CONNACK of a thief", 0x20, 0, code)
	}
	gate.publish(1, 1, intaketest.Payload("YT00000001"))
	gate.expect("PUBACK", 0x40, 0, 1)
	if !strings.Contains(log.String(), "belongs to another user") || b.Status().Refused != 2 {
		t.Errorf("logged %s", log)
	}
	_ = gate.Close()
	thief := dial(t, addr, 4) // the session is still gate's
	thief.connect(0xc2, "line-1", nil, "thief", "two")
	thief.expect("CONNACK", 0x20, 0, 2)
	b.SetUsers(usersOf(t, user.User{Username: "new", Password: "three"}))
	gate = dial(t, addr, 4) // the device was given another user: it begins anew
	gate.connect(0xc0, "line-1", nil, "new", "three")
	gate.expect("CONNACK", 0x20, 0, 0)
}

// A client id that its user left an hour ago is free for another one.
func TestAClientIDIsFreeAgain(t *testing.T) {
	s, now := newSessions(10, func(string) bool { return true }), time.Now()
	open := func(user string) (*conn, bool) {
		c := &conn{}
		o, ok := s.open(c, &packet.Connect{ClientID: "line-1", Username: user}, maxSessionLasts, now)
		c.session = o.session
		if o.present {
			t.Error("another user goes on with the session")
		}
		return c, ok
	}
	c, _ := open("gate")
	s.leave(c, now)
	now = now.Add(keptForUser - time.Second)
	if _, ok := open("thief"); ok {
		t.Error("it is not kept for its user")
	}
	now = now.Add(time.Second)
	if _, ok := open("gate-1"); !ok {
		t.Error("it is never free again")
	}
}

// Two devices with one client id are named with both addresses.
func TestDevicesThatShareAClientID(t *testing.T) {
	log := &intaketest.Log{}
	b, addr := startBroker(t, Config{Logger: slog.New(slog.NewTextHandler(log, nil))}, intaketest.NewOutbox(t, 0))
	a := online(t, addr, 5, 0, "gun", lasting...)
	for range takeoversAllowed {
		other := online(t, addr, 5, 0, "gun", lasting...)
		a.expect("DISCONNECT", 0xe0, byte(packet.TakenOver))
		if first, _ := a.receive(); first != end {
			t.Errorf("then it gets %#x", first)
		}
		a = other
	}
	if got := log.String(); strings.Count(got, "used by two devices at once") != 1 || !strings.Contains(got, "other=127.0.0.1:") {
		t.Errorf("logged %s", got)
	}
	if got := b.Status().Takeovers; got != takeoversAllowed {
		t.Errorf("%d takeovers", got)
	}
}

// Whoever waits for a write gets its end, also one that came while another write was
// under way.
func TestWaitingForSessionsOnDisk(t *testing.T) {
	s := newSessions(10, nil)
	s.file.init(filepath.Join(t.TempDir(), SessionsName))
	ctx, cancel := context.WithCancel(t.Context())
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		s.keep(ctx, slog.New(slog.DiscardHandler))
	}()
	done := make(chan struct{})
	for range 20 {
		go func() {
			for range 10 {
				s.file.await(t.Context(), s.file.change())
			}
			done <- struct{}{}
		}()
	}
	for range 20 {
		<-done
	}
	cancel()
	<-kept
}

// Sessions that change all the time are not written all the time, and who waits for no
// change waits for no write.
func TestSessionsAreNotWrittenAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, writes := newSessions(10, nil), 0
		s.file.init("sessions")
		s.file.write = func(any) error { writes++; time.Sleep(10 * time.Millisecond); return nil }
		ctx, cancel := context.WithCancel(t.Context())
		kept := make(chan struct{})
		go func() {
			defer close(kept)
			s.keep(ctx, slog.New(slog.DiscardHandler))
		}()
		began := time.Now()
		var last uint64
		for time.Since(began) < 10*time.Second {
			last = s.file.change()
			s.file.await(ctx, 0)
			time.Sleep(time.Millisecond)
		}
		s.file.await(ctx, last)
		if writes > 10/5+2 {
			t.Errorf("%d writes in ten seconds", writes)
		}
		cancel()
		<-kept
	})
}

// Who waits for a new session waits for a second at most beside the write, however long
// that takes and whatever else changes; who comes again to one that is on disk does not.
func TestNewSessionsAreWrittenSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const took = time.Second
		s := newSessions(10, nil)
		s.file.init("sessions")
		s.file.write = func(any) error { time.Sleep(took); return nil }
		ctx, cancel := context.WithCancel(t.Context())
		kept := make(chan struct{})
		go func() {
			defer close(kept)
			s.keep(ctx, slog.New(slog.DiscardHandler))
		}()
		for i, want := range []time.Duration{took, 0, 2*took + maxRest, 0} {
			s.file.change()
			began, id := time.Now(), fmt.Sprint("gun-", i/2)
			o, _, _ := opens(s, id, "", "", i%2 == 1, time.Hour, began)
			s.file.await(ctx, o.change)
			if waited := time.Since(began); waited > want {
				t.Errorf("connection %d of %s: waited for %v, want %v at most", i%2, id, waited, want)
			}
		}
		// Nor is one let in before the write for the connection before has ended.
		first, _, _ := opens(s, "gun-9", "", "", false, time.Hour, time.Now())
		second, _, _ := opens(s, "gun-9", "", "", false, time.Hour, time.Now())
		if first.change == 0 || second.change != first.change {
			t.Errorf("the second connection waits for change %d, the first for %d", second.change, first.change)
		}
		cancel()
		<-kept
	})
}

// What comes again after a broken connection without saying so is told to the outbox
// as such; after an orderly end, and of other clients, it is another scan.
func TestResendsWithoutDUP(t *testing.T) {
	j := intaketest.NewOutbox(t, 0)
	_, addr := startBroker(t, Config{}, j)
	send := func(flags byte, id string, orderly bool) (again bool) {
		t.Helper()
		d := online(t, addr, 4, flags, id)
		d.publish(1, 1, `{"waybill_id":"YT00000001","action_type":200001,"action_msg":"x"}`)
		d.expect("PUBACK", 0x40, 0, 1)
		if orderly {
			d.send(0xe0)
			d.receive()
		} else {
			_ = d.Close()
		}
		stored := j.Stored()
		return stored[len(stored)-1].Redelivered
	}
	for _, flags := range []byte{0, 2} { // with a session and without
		id := fmt.Sprint("gun-", flags)
		for i, step := range []struct{ orderly, again bool }{{true, false}, {false, false}, {false, true}, {true, true}, {true, false}} {
			if got := send(flags, id, step.orderly); got != step.again {
				t.Errorf("flags %d, connection %d: told to come again: %v", flags, i, got)
			}
		}
	}
	for range 2 {
		if send(2, "", false) {
			t.Error("clients without an id are taken for one")
		}
	}
	_, addr = startBroker(t, Config{strangers: time.Hour}, j)
	if !send(2, "gun-9", true) || send(2, "gun-9", true) {
		t.Error("after a start, when nobody knows, only the first connection may send again")
	}

	// The file does not know of what came after it was written: a kill leaves it as it was.
	file := filepath.Join(t.TempDir(), SessionsName)
	_, addr, stop := serveBroker(t, Config{Sessions: file}, j, Listener{})
	send(0, "gun-5", true)
	send(0, "gun-6", true) // with which it is written that gun-5 left in order
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	send(0, "gun-5", false)
	stop()
	if err := os.WriteFile(file, written, 0o600); err != nil {
		t.Fatal(err)
	}
	_, addr, _ = serveBroker(t, Config{Sessions: file}, j, Listener{})
	if !send(0, "gun-5", true) || send(0, "gun-5", true) {
		t.Error("after a kill only the first connection may send again")
	}
}
