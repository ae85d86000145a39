package broker

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"scanrelay/agent/intake"
	"scanrelay/agent/intake/sparkplug"
	"scanrelay/agent/intake/topic"
	"scanrelay/configs/limit"
)

// Broker is an MQTT broker for devices to publish to: their PUBACK is our fsync.
// It forwards nothing: who subscribes hears nothing of other devices, only our
// own requests to be born again.
type Broker struct {
	cfg   Config
	pipe  *intake.Pipe
	log   *slog.Logger
	warns *limitedLog
	users atomic.Pointer[map[string]user]
	space *budget

	connects *limit.Keyed // by address
	rates    *limit.Keyed // by client id; nil: unlimited

	full     atomic.Bool // connections were closed for want of room
	stopping atomic.Bool
	listens  atomic.Bool
	ctx      context.Context // of Run
	closing  chan struct{}   // closed when Run closes the connections

	qos0, lost, redelivered, refused, denied, cut, broken atomic.Uint64

	mu     sync.Mutex
	server *mochi.Server // guarded by mu
}

// user is a User as the hooks need it.
type user struct {
	password [sha256.Size]byte
	publish  []topic.Filter // none: all topics
}

// New returns a Broker that gives what it takes to a pipe; Run starts it, once.
func New(cfg Config, pipe *intake.Pipe) (*Broker, error) {
	cfg.setDefaults()
	b := &Broker{
		cfg: cfg, pipe: pipe, log: cfg.Logger, warns: newLimitedLog(cfg.Logger),
		space: newBudget(cfg.MaxWaiting), closing: make(chan struct{}),
		// As many at once as all clients need that come back together behind one router.
		connects: limit.New(cfg.connects, cfg.MaxClients+halfOpenAllowed, maxLimited),
	}
	if cfg.Rate > 0 {
		b.rates = limit.New(cfg.Rate, max(1, int(cfg.Rate)), maxLimited)
	}
	return b, b.SetUsers(cfg.Users)
}

// SetUsers replaces those who may log in; none: nobody has to. Who is connected
// stays, with the rights of the new list. After an error nothing has changed.
func (b *Broker) SetUsers(list []User) error {
	users := make(map[string]user, len(list))
	var wrong []error
	bad := func(i int, format string, args ...any) {
		wrong = append(wrong, fmt.Errorf("mqtt.embedded.users[%d].%s", i, fmt.Sprintf(format, args...)))
	}
	for i, u := range list {
		if _, twice := users[u.Username]; twice || u.Username == "" {
			bad(i, "username: %q is empty or given twice", u.Username)
		}
		if u.Password == "" {
			bad(i, "password is empty")
		}
		known := user{password: sha256.Sum256([]byte(u.Password.Reveal()))}
		for k, text := range u.Publish {
			f, err := topic.Parse(text)
			if err != nil {
				bad(i, "publish[%d] %s", k, err)
			}
			known.publish = append(known.publish, f)
		}
		users[u.Username] = known
	}
	if len(wrong) > 0 {
		return errors.Join(wrong...)
	}
	b.users.Store(&users)
	return nil
}

// Run serves on ln until ctx ends; then it acknowledges what is committed, closes
// all connections and returns nil. It closes ln.
func (b *Broker) Run(ctx context.Context, ln net.Listener) error {
	b.ctx = ctx
	server := mochi.New(&mochi.Options{
		Capabilities:           b.capabilities(),
		Logger:                 slog.New(quiet{b.warns}),
		SysTopicResendInterval: 365 * 24 * 3600, // nobody hears it
	})
	b.mu.Lock()
	b.server = server
	b.mu.Unlock()
	a := newAcceptor(b, ln)
	if err := server.AddHook(&hook{b: b}, nil); err != nil {
		return fmt.Errorf("start mqtt broker: %w", err)
	}
	if err := server.AddListener(a); err != nil {
		return fmt.Errorf("start mqtt broker: %w", err)
	}
	if err := server.Serve(); err != nil {
		return fmt.Errorf("start mqtt broker: %w", err)
	}
	b.listens.Store(true)
	b.log.Info("mqtt broker listens", "address", ln.Addr().String(), "tls", b.cfg.TLS != nil)
	b.watchBirths(ctx, server)
	b.listens.Store(false)
	b.stopping.Store(true)
	a.shut()
	b.flush(a)
	close(b.closing)
	if err := server.Close(); err != nil {
		return fmt.Errorf("stop mqtt broker: %w", err)
	}
	return nil
}

// capabilities bounds what one client can take of the server.
func (b *Broker) capabilities() *mochi.Capabilities {
	c := mochi.NewDefaultServerCapabilities()
	c.MaximumClients = int64(b.cfg.MaxClients)
	c.MaximumPacketSize = uint32(min(b.cfg.MaxPacket, 256<<20))
	c.MaximumClientWritesPending = 64
	c.MaximumSessionExpiryInterval = sessionKept
	c.MaximumInflight = 1024
	c.TopicAliasMaximum = 0
	return c
}

// flush waits until what the outbox has is acknowledged, at most flushTime.
func (b *Broker) flush(a *acceptor) {
	timeout := time.NewTimer(flushTime)
	defer timeout.Stop()
	for !a.idle() {
		select {
		case <-timeout.C:
			return
		case <-b.space.more():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Status returns what it is doing.
func (b *Broker) Status() intake.Status {
	st := intake.Status{
		Connected: b.listens.Load(), Full: b.refusing(), Waiting: b.space.waiting(),
		QoS0: b.qos0.Load(), Lost: b.lost.Load(), Redelivered: b.redelivered.Load(),
		Refused: b.refused.Load(), Denied: b.denied.Load(), Cut: b.cut.Load(), Broken: b.broken.Load(),
	}
	b.mu.Lock()
	server := b.server
	b.mu.Unlock()
	if server != nil {
		st.Clients = int(atomic.LoadInt64(&server.Info.ClientsConnected))
	}
	return st
}

// refusing reports whether new connections are refused: some were closed for
// want of room, and there still is none.
func (b *Broker) refusing() bool {
	if b.full.Load() && !b.pipe.Full() {
		b.full.Store(false)
	}
	return b.full.Load()
}

// watchBirths asks edge nodes for their rebirth until ctx ends.
func (b *Broker) watchBirths(ctx context.Context, server *mochi.Server) {
	births := b.pipe.Mapper().Births()
	tick := time.NewTicker(rebirthEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-births.Wanted():
		case <-tick.C:
		}
		for _, node := range births.Ask(time.Now()) {
			b.command(server, sparkplug.RebirthTopic(node), sparkplug.Rebirth(time.Now()))
		}
	}
}

// command sends a message of our own to those who subscribed to its topic; it is
// the only thing that anybody hears here.
func (b *Broker) command(server *mochi.Server, topic string, payload []byte) {
	b.log.Info("asking a sparkplug edge node for a rebirth", "topic", topic)
	for id := range server.Topics.Subscribers(topic).Subscriptions {
		cl, ok := server.Clients.Get(id)
		if !ok {
			continue
		}
		err := cl.WritePacket(packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Publish}, TopicName: topic, Payload: payload,
		})
		if err != nil {
			b.log.Debug("mqtt client does not take a command", "client", id, "error", err)
		}
	}
}
