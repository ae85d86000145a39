package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"

	"scanrelay/agent/intake"
	"scanrelay/agent/intake/internal/intaketest"
	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/intake/packet"
	"scanrelay/agent/intake/user"
	"scanrelay/agent/scan"
	"scanrelay/store/event"
)

// startBroker runs an embedded broker until the test ends and returns it with
// its address.
func startBroker(t testing.TB, cfg Config, o intake.Outbox) (*Broker, string) {
	t.Helper()
	b, addr, _ := serveBroker(t, cfg, o, Listener{})
	return b, addr
}

// usersOf compiles users.
func usersOf(t testing.TB, list ...user.User) user.List {
	t.Helper()
	users, problems := user.Compile(list)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	return users
}

// serveBroker does so with a listener of some kind, and returns what stops it before.
func serveBroker(t testing.TB, cfg Config, o intake.Outbox, kind Listener) (*Broker, string, func()) {
	t.Helper()
	cfg.strangers = cmp.Or(cfg.strangers, 1) // it is not as if it had just been started
	b := New(cfg, intake.New(intaketest.Mapper(t, mapping.Config{}), o, 0))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	kind.Listener = ln
	go func() { ended <- b.Run(ctx, kind) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("broker: %v", err)
		}
	})
	t.Cleanup(stop)
	intaketest.Eventually(t, "listening", func() bool { return b.Status().Connected })
	return b, "tcp://" + ln.Addr().String(), stop
}

func TestBrokerTakesEveryQoSInOrder(t *testing.T) {
	j := intaketest.NewOutbox(t, time.Millisecond)
	b, addr := startBroker(t, Config{}, j)
	c := intaketest.Connect(t, addr, "scanner-1")
	var want []string
	var tokens []mqtt.Token
	for i := range 60 {
		w := fmt.Sprintf("YT%08d", i)
		want = append(want, w)
		tokens = append(tokens, c.Publish("scans/gate", byte(i%3), false, intaketest.Payload(w)))
	}
	for _, token := range tokens {
		if !token.WaitTimeout(intaketest.Patience) || token.Error() != nil {
			t.Fatalf("publish: %v", token.Error())
		}
	}
	intaketest.Eventually(t, "all stored", func() bool { return len(j.Waybills()) == len(want) })
	if got := j.Waybills(); !slices.Equal(got, want) {
		t.Errorf("stored in the order\n%v\nwant\n%v", got, want)
	}
	if st := b.Status(); st.QoS0 != 20 || st.Waiting != 0 {
		t.Errorf("status %+v", st)
	}
}

// The acknowledgement comes after the commit and in order of arrival, also
// where commits are slow and publishes come in bursts.
func TestBrokerAcknowledgesInOrderAfterCommit(t *testing.T) {
	j := intaketest.NewOutbox(t, 5*time.Millisecond)
	_, addr := startBroker(t, Config{}, j)
	w, code := intaketest.Login(t, addr, "line")
	if code != packets.Accepted {
		t.Fatalf("CONNACK %d", code)
	}
	const n = 500
	go func() {
		for i := 1; i <= n; i++ {
			body, topic := intaketest.Payload(fmt.Sprintf("YT%08d", i)), "scans/g"
			switch i % 5 {
			case 3:
				body = "{}"
			case 4:
				topic = "nobody/takes/this"
			}
			if intaketest.PublishPacket(topic, 1, uint16(i), false, body).Write(w) != nil {
				return
			}
		}
	}()
	for i := 1; i <= n; i++ {
		if id := intaketest.Expect[*packets.PubackPacket](w).MessageID; id != uint16(i) {
			t.Fatalf("acknowledgement %d is for %d", i, id)
		}
		if n := len(j.Stored()); n < i {
			t.Errorf("%d acknowledged, only %d committed", i, n)
		}
	}
}

// A publish that comes again with DUP while the first one is still on its way
// is not submitted twice and acknowledged once.
func TestBrokerRepeatedPublish(t *testing.T) {
	j := intaketest.NewOutbox(t, 200*time.Millisecond)
	b, addr := startBroker(t, Config{}, j)
	w, _ := intaketest.Login(t, addr, "old")
	for i := range 3 {
		w.Send(intaketest.PublishPacket("scans/g", 1, 7, i > 0, intaketest.Payload("YT00000001")))
	}
	w.Send(intaketest.PublishPacket("scans/g", 1, 8, false, intaketest.Payload("YT00000002")))
	for _, want := range []uint16{7, 8} {
		if id := intaketest.Expect[*packets.PubackPacket](w).MessageID; id != want {
			t.Errorf("acknowledged %d, want %d", id, want)
		}
	}
	if got := j.Waybills(); len(got) != 2 {
		t.Errorf("stored %v", got)
	}
	w.Send(intaketest.PublishPacket("scans/g", 1, 7, true, intaketest.Payload("YT00000001"))) // after the acknowledgement: it got lost
	intaketest.Expect[*packets.PubackPacket](w)
	if stored := j.Stored(); !stored[len(stored)-1].Redelivered {
		t.Error("DUP got lost")
	}
	if st := b.Status(); st.Redelivered != 3 {
		t.Errorf("status %+v", st)
	}
}

// The publisher's RETAIN asks the broker to keep a message; it does not make
// the scan an old one.
func TestBrokerRetainIsNoAge(t *testing.T) {
	j := intaketest.NewOutbox(t, 0)
	_, addr := startBroker(t, Config{}, j)
	intaketest.MosquittoPub(t, portOf(addr), "-t", "scans/g", "-q", "1", "-r", "-m", `{"waybill_id":"YT00000001","action_type":200001,"action_msg":"x"}`)
	if got := j.Waybills(); len(got) != 1 {
		t.Errorf("stored %v", got)
	}
}

func portOf(addr string) int {
	var port int
	_, _ = fmt.Sscanf(addr, "tcp://127.0.0.1:%d", &port)
	return port
}

func TestBrokerTakesMosquittoPub(t *testing.T) {
	j := intaketest.NewOutbox(t, 0)
	_, addr := startBroker(t, Config{}, j)
	n := 0
	for _, version := range []string{"31", "311", "5"} {
		for qos := range 3 {
			n++
			intaketest.MosquittoPub(t, portOf(addr), "-V", version, "-t", "scans/g", "-q", fmt.Sprint(qos), "-m", intaketest.Payload(fmt.Sprintf("YT%08d", n)))
		}
	}
	intaketest.Eventually(t, "all stored", func() bool { return len(j.Waybills()) == n })
}

// Without room a bounded number is held and acknowledged once there is room,
// in order.
func TestBrokerHolds(t *testing.T) {
	j := intaketest.NewOutbox(t, 0)
	b, addr := startBroker(t, Config{Hold: 100}, j)
	w, _ := intaketest.Login(t, addr, "line")
	j.SetFull(true)
	for i := 1; i <= 90; i++ {
		w.Send(intaketest.PublishPacket("scans/g", byte(i%2), uint16(i), false, intaketest.Payload(fmt.Sprintf("YT%08d", i))))
	}
	if p := w.Receive(200 * time.Millisecond); p != nil {
		t.Fatalf("acknowledged without room: %s", p)
	}
	if w2, code := intaketest.Login(t, addr, "other"); code != packets.Accepted {
		t.Errorf("refused while publishes are held: %d", code)
	} else {
		_ = w2.Close()
	}
	j.SetFull(false)
	for i := 1; i <= 90; i += 2 {
		if id := intaketest.Expect[*packets.PubackPacket](w).MessageID; id != uint16(i) {
			t.Fatalf("acknowledged %d, want %d", id, i)
		}
	}
	intaketest.Eventually(t, "the last of QoS 0 too", func() bool { return len(j.Waybills()) == 90 && b.Status().Waiting == 0 })
	if st := b.Status(); !slices.IsSorted(j.Waybills()) || st.Lost != 0 || st.Cut != 0 {
		t.Errorf("stored in order %v, status %+v", slices.IsSorted(j.Waybills()), st)
	}
}

// Beyond the bound the connection is closed and CONNECT refused until there is
// room; then the device sends again, and nothing is lost.
func TestBrokerFullClosesAndRefuses(t *testing.T) {
	j := intaketest.NewOutbox(t, 0)
	b, addr := startBroker(t, Config{Hold: 10}, j)
	w, _ := intaketest.Login(t, addr, "line")
	j.SetFull(true)
	for i := 1; i <= 20; i++ {
		if intaketest.PublishPacket("scans/g", 1, uint16(i), false, intaketest.Payload(fmt.Sprintf("YT%08d", i))).Write(w) != nil {
			break
		}
	}
	if p := w.Receive(intaketest.Patience); p != nil {
		t.Fatalf("got %s, want the end", p)
	}
	if _, code := intaketest.Login(t, addr, "line"); code != packets.ErrRefusedServerUnavailable {
		t.Errorf("CONNACK %d, want 3", code)
	}
	if st := b.Status(); !st.Full || st.Cut != 1 || st.Refused != 1 {
		t.Errorf("status %+v", st)
	}
	if n := len(j.Waybills()); n != 0 {
		t.Errorf("%d stored", n)
	}
	j.SetFull(false)
	w, code := intaketest.Login(t, addr, "line")
	if code != packets.Accepted {
		t.Fatalf("CONNACK %d with room again", code)
	}
	for i := 1; i <= 20; i++ {
		w.Send(intaketest.PublishPacket("scans/g", 1, uint16(i), true, intaketest.Payload(fmt.Sprintf("YT%08d", i))))
		intaketest.Expect[*packets.PubackPacket](w)
	}
	if got := intaketest.Unique(j.Waybills()); len(got) != 20 {
		t.Errorf("%d stored", len(got))
	}
	intaketest.Eventually(t, "nothing waits", func() bool { return b.Status().Waiting == 0 })
}

// What is held too long is given up: the connection is closed, a QoS 0 publish
// counted as lost.
func TestBrokerHoldsNotForEver(t *testing.T) {
	j := intaketest.NewOutbox(t, 0)
	b, addr := startBroker(t, Config{HoldFor: 300 * time.Millisecond}, j)
	w, _ := intaketest.Login(t, addr, "line")
	j.SetFull(true)
	w.Send(intaketest.PublishPacket("scans/g", 0, 0, false, intaketest.Payload("YT00000001")))
	w.Send(intaketest.PublishPacket("scans/g", 1, 1, false, intaketest.Payload("YT00000002")))
	w.Send(intaketest.PublishPacket("scans/g", 2, 2, false, intaketest.Payload("YT00000003")))
	if p := w.Receive(intaketest.Patience); p != nil {
		t.Fatalf("got %s, want the end", p)
	}
	intaketest.Eventually(t, "given up", func() bool { return b.Status().Lost == 1 && b.Status().Waiting == 0 })
}

// refusing is an outbox that counts what it did not take.
type refusing struct {
	*intaketest.Outbox
	times atomic.Int32
}

func (r *refusing) Submit(b scan.Batch, done func(scan.Stored, error)) error {
	err := r.Outbox.Submit(b, done)
	if err != nil {
		r.times.Add(1)
	}
	return err
}

// What is held stays so, and not for ever, when a commit ends that was under way
// before.
func TestBrokerHoldsNotForEverBehindACommit(t *testing.T) {
	begun, commit := make(chan struct{}), make(chan struct{})
	j := &refusing{Outbox: intaketest.NewOutbox(t, 0)}
	j.Fail = func(scan.Batch) error { close(begun); <-commit; return nil }
	b, addr := startBroker(t, Config{HoldFor: 300 * time.Millisecond}, j)
	w, _ := intaketest.Login(t, addr, "line")
	w.Send(intaketest.PublishPacket("scans/g", 1, 1, false, intaketest.Payload("YT00000001")))
	<-begun
	j.SetFull(true)
	w.Send(intaketest.PublishPacket("scans/g", 1, 2, false, intaketest.Payload("YT00000002")))
	intaketest.Eventually(t, "held", func() bool { return j.times.Load() > 0 })
	close(commit)
	intaketest.Eventually(t, "given up", func() bool { return b.Status().Cut == 1 && b.Status().Waiting == 0 })
}

// scarce is an outbox that takes, while it is, nothing more of this client, though of
// others.
type scarce struct {
	intaketest.Manual
	is, ended atomic.Bool
	refused   atomic.Int32 // while it has ended
}

func (s *scarce) Submit(b scan.Batch, done func(scan.Stored, error)) error {
	switch {
	case s.ended.Load():
		s.refused.Add(1)
		return event.ErrClosed
	case s.is.Load():
		return event.ErrShare
	}
	done(scan.Stored{}, nil)
	return nil
}

// Who has its share of the room is counted until there is more, or it is gone.
func TestBrokerCountsWhoIsThrottled(t *testing.T) {
	o := &scarce{}
	b, addr := startBroker(t, Config{}, o)
	one, _ := intaketest.Login(t, addr, "one")
	other, _ := intaketest.Login(t, addr, "other")
	throttled := func(n int) {
		t.Helper()
		intaketest.Eventually(t, fmt.Sprint(n, " throttled"), func() bool { return b.Status().Throttled == n })
	}
	o.is.Store(true)
	one.Send(intaketest.PublishPacket("scans/g", 1, 1, false, intaketest.Payload("YT00000001")))
	throttled(1)
	other.Send(intaketest.PublishPacket("scans/g", 1, 1, false, intaketest.Payload("YT00000002")))
	throttled(2)
	_ = other.Close()
	throttled(1)
	o.is.Store(false)
	throttled(0)
	o.ended.Store(true) // as it is at a stop: nobody has his share then
	one.Send(intaketest.PublishPacket("scans/g", 1, 2, false, intaketest.Payload("YT00000003")))
	intaketest.Eventually(t, "it is refused, and tried again", func() bool { return o.refused.Load() > 1 })
	if n := b.Status().Throttled; n > 0 {
		t.Errorf("%d throttled by a stop", n)
	}
	o.ended.Store(false)
}

// A QoS 0 publish of a device that has gone is held all the same.
func TestBrokerKeepsQoS0OfTheGone(t *testing.T) {
	j := intaketest.NewOutbox(t, 0)
	b, addr := startBroker(t, Config{}, j)
	w, _ := intaketest.Login(t, addr, "line")
	j.SetFull(true)
	w.Send(intaketest.PublishPacket("scans/g", 0, 0, false, intaketest.Payload("YT00000001")))
	w.Send(intaketest.PublishPacket("scans/g", 1, 1, false, intaketest.Payload("YT00000002")))
	intaketest.Eventually(t, "held", func() bool { return b.Status().Waiting > 2400 })
	_ = w.Close()
	intaketest.Eventually(t, "QoS 1 given back", func() bool { return b.Status().Waiting < 1400 })
	j.SetFull(false)
	intaketest.Eventually(t, "stored", func() bool { return slices.Equal(j.Waybills(), []string{"YT00000001"}) })
}

// gone is a connection that nobody listens at any more.
type gone struct{}

func (gone) acknowledge([]ack) error   { return errGone }
func (gone) hangUp(packet.Code, error) {}
func (gone) crowded()                  {}

// What was given behind a publish that the outbox refused is refused, too, and given again
// behind it: a node that comes after its waybill's next is late, and never pushed.
func TestBrokerKeepsTheOrderOfWhatIsRefused(t *testing.T) {
	j := intaketest.NewOutbox(t, 5*time.Millisecond) // some wait for a commit while others come
	var refusals atomic.Int32
	j.Fail = func(scan.Batch) error {
		if n := refusals.Load(); n < 5 && len(j.Stored()) >= int(20*n) {
			refusals.Add(1)
			return intaketest.ErrFull
		}
		return nil
	}
	_, addr := startBroker(t, Config{}, j)
	c := intaketest.Connect(t, addr, "scanner-1")
	var want []string
	var tokens []mqtt.Token
	for i := range 200 {
		w := fmt.Sprintf("YT%08d", i)
		want = append(want, w)
		tokens = append(tokens, c.Publish("scans/gate", 1, false, intaketest.Payload(w)))
	}
	for _, token := range tokens {
		if !token.WaitTimeout(intaketest.Patience) || token.Error() != nil {
			t.Fatalf("publish: %v", token.Error())
		}
	}
	if got := j.Waybills(); !slices.Equal(got, want) || refusals.Load() != 5 {
		t.Errorf("stored, with %d refusals, in the order\n%v", refusals.Load(), got)
	}
}

// What is held goes on as soon as there is room, so that a fast device does not
// run into a bound meanwhile.
func TestBrokerGoesOnWhenThereIsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := intaketest.NewOutbox(t, 0)
		b := New(Config{}, intake.New(intaketest.Mapper(t, mapping.Config{}), j, 0))
		q := newQueue(b, gone{})
		defer q.close()
		go q.run()
		j.SetFull(true)
		for i := range 3 {
			m := intake.Message{Topic: "scans/g", Payload: []byte(intaketest.Payload(fmt.Sprintf("YT0000000%d", i)))}
			if err := q.push(&entry{topic: m.Topic, batch: b.pipe.Take(m)}, false, nil); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		j.SetFull(false)
		synctest.Wait() // no time passes
		if n := len(j.Waybills()); n != 3 {
			t.Errorf("%d of 3 stored", n)
		}
	})
}

// While there is room a publish is on its way to the disk as soon as it is read;
// only what is held waits for the queue's own goroutine.
func TestBrokerGivesWhatItReadsAtOnce(t *testing.T) {
	j := intaketest.NewOutbox(t, 0)
	b := New(Config{}, intake.New(intaketest.Mapper(t, mapping.Config{}), j, 0))
	q := newQueue(b, gone{}) // nothing runs it
	m := intake.Message{Topic: "scans/g", Payload: []byte(intaketest.Payload("YT00000000"))}
	if err := q.push(&entry{topic: m.Topic, batch: b.pipe.Take(m)}, false, nil); err != nil {
		t.Fatal(err)
	}
	intaketest.Eventually(t, "stored", func() bool { return slices.Equal(j.Waybills(), []string{"YT00000000"}) })
}

// A device that publishes and goes, without a look at the acknowledgement, has
// published.
func TestBrokerTakesWhatTheGoneHavePublished(t *testing.T) {
	j := intaketest.NewOutbox(t, 0)
	b := New(Config{}, intake.New(intaketest.Mapper(t, mapping.Config{}), j, 0))
	publish := func(list ...string) *queue {
		q := newQueue(b, gone{})
		for i, waybill := range list {
			m := intake.Message{Topic: "scans/g", Payload: []byte(intaketest.Payload(waybill))}
			if err := q.push(&entry{topic: m.Topic, id: uint16(i), qos: byte(i % 2), batch: b.pipe.Take(m), cost: 1}, false, nil); err != nil {
				t.Fatal(err)
			}
		}
		q.close()
		return q
	}
	publish("YT00000000", "YT00000001").run()
	if got := j.Waybills(); !slices.Equal(got, []string{"YT00000000", "YT00000001"}) || b.space.waiting() != 0 {
		t.Errorf("stored %v, %d still wait", got, b.space.waiting())
	}
	j.SetFull(true)
	q, ended := publish("YT00000002", "YT00000003"), make(chan struct{})
	go func() {
		defer close(ended)
		q.run()
	}()
	intaketest.Eventually(t, "without room only QoS 0 waits", func() bool { return b.space.waiting() == 1 })
	j.SetFull(false)
	<-ended
	if got := j.Waybills(); len(got) != 3 || got[2] != "YT00000002" {
		t.Errorf("stored %v", got)
	}
}

// What a failed commit did not take is tried again and acknowledged in its
// place; if it fails on and on the connection is closed.
func TestBrokerFailedCommit(t *testing.T) {
	j := intaketest.NewOutbox(t, time.Millisecond)
	var failures atomic.Int32
	j.Fail = func(b scan.Batch) error {
		if len(b.Events) > 0 && b.Events[0].Waybill == "YT00000002" && failures.Add(-1) >= 0 {
			return errors.New("disk")
		}
		return nil
	}
	_, addr := startBroker(t, Config{}, j)
	for _, qos := range []byte{1, 2} {
		failures.Store(2)
		w, _ := intaketest.Login(t, addr, "line")
		for i := 1; i <= 5; i++ {
			w.Send(intaketest.PublishPacket("scans/g", qos, uint16(i), false, intaketest.Payload(fmt.Sprintf("YT%08d", i))))
		}
		for i := 1; i <= 5; i++ {
			p := w.Receive(intaketest.Patience)
			if p == nil || p.Details().MessageID != uint16(i) {
				t.Fatalf("qos %d: acknowledgement %d is %v", qos, i, p)
			}
		}
	}
	failures.Store(1 << 20)
	b, addr := startBroker(t, Config{HoldFor: 300 * time.Millisecond}, j)
	w, _ := intaketest.Login(t, addr, "line")
	for i := 1; i <= 3; i++ {
		w.Send(intaketest.PublishPacket("scans/g", 1, uint16(i), false, intaketest.Payload(fmt.Sprintf("YT%08d", i))))
	}
	var acks []uint16
	for p := w.Receive(intaketest.Patience); p != nil; p = w.Receive(intaketest.Patience) {
		acks = append(acks, p.Details().MessageID)
	}
	if !slices.Equal(acks, []uint16{1}) {
		t.Errorf("acknowledged %v around a commit that fails", acks)
	}
	intaketest.Eventually(t, "nothing waits", func() bool { return b.Status().Waiting == 0 })
}

func TestBrokerUsersAndTopics(t *testing.T) {
	j := intaketest.NewOutbox(t, 0)
	b, addr := startBroker(t, Config{Users: usersOf(t,
		user.User{Username: "gate", Password: "secret", Publish: []string{"scans/+/gate", "raw/#"}}, user.User{Username: "any", Password: "other"},
	)}, j)
	as := func(user, password string) func(*packets.ConnectPacket) {
		return func(c *packets.ConnectPacket) {
			c.UsernameFlag, c.PasswordFlag, c.Username, c.Password = user != "", password != "", user, []byte(password)
		}
	}
	for _, bad := range [][2]string{{"gate", "wrong"}, {"nobody", "secret"}, {"", ""}, {"gate", ""}, {"nobody", ""}} {
		if _, code := intaketest.Login(t, addr, "x", as(bad[0], bad[1])); code == packets.Accepted || code == 0xff {
			t.Errorf("%v: CONNACK %d", bad, code)
		}
	}
	w, code := intaketest.Login(t, addr, "x", as("gate", "secret"))
	if code != packets.Accepted {
		t.Fatalf("CONNACK %d", code)
	}
	w.Send(intaketest.PublishPacket("scans/1/gate", 1, 1, false, intaketest.Payload("YT00000001")))
	intaketest.Expect[*packets.PubackPacket](w)
	w.Send(intaketest.PublishPacket("scans/1/other", 1, 2, false, intaketest.Payload("YT00000002")))
	if p, ok := w.Receive(intaketest.Patience).(*packets.PubackPacket); ok {
		t.Errorf("a publish without permission was acknowledged: %s", p)
	}
	if got := j.Waybills(); len(got) != 1 || b.Status().Denied != 1 {
		t.Errorf("stored %v, status %+v", got, b.Status())
	}
}

// Nobody hears what others publish, whatever they subscribe to; a client's will
// is not published either.
func TestBrokerForwardsNothing(t *testing.T) {
	j := intaketest.NewOutbox(t, 0)
	_, addr := startBroker(t, Config{}, j)
	w, _ := intaketest.Login(t, addr, "spy")
	sub, ok := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	if !ok {
		t.Fatal("no SUBSCRIBE")
	}
	sub.MessageID, sub.Topics, sub.Qoss = 1, []string{"#", "$SYS/#"}, []byte{1, 1}
	w.Send(sub)
	if codes := intaketest.Expect[*packets.SubackPacket](w).ReturnCodes; !slices.Equal(codes, []byte{0x80, 0x80}) {
		t.Errorf("granted %v", codes)
	}
	other, _ := intaketest.Login(t, addr, "scanner", func(c *packets.ConnectPacket) {
		c.WillFlag, c.WillTopic, c.WillMessage = true, "scans/will", []byte("gone")
	})
	for qos := range byte(3) {
		other.Send(intaketest.PublishPacket("scans/g", qos, uint16(qos), false, intaketest.Payload(fmt.Sprintf("YT0000000%d", qos))))
	}
	intaketest.Eventually(t, "stored", func() bool { return len(j.Waybills()) == 3 })
	_ = other.Close()
	if p := w.Receive(300 * time.Millisecond); p != nil {
		t.Errorf("heard %s", p)
	}
}
