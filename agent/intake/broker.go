package intake

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"scanrelay/agent/intake/mapping"
	"scanrelay/agent/intake/sparkplug"
	"scanrelay/agent/intake/topic"
	"scanrelay/configs/limit"
)

// Broker is an MQTT broker for devices to publish to: their PUBACK is our fsync.
// It forwards nothing: who subscribes hears nothing of other devices, only our
// own requests to be born again.
type Broker struct {
	cfg    BrokerConfig
	funnel *funnel
	log    *slog.Logger
	notes  *notes
	users  atomic.Pointer[map[string]user]
	space  *budget

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

// BrokerStatus is what a Broker is doing.
type BrokerStatus struct {
	Listening bool
	Clients   int
	Full      bool  // new connections are refused for want of room
	Waiting   int64 // bytes that wait for their commit
	// Counters since start. QoS0 publishes are at risk: a device can't know
	// whether they came. Lost are those of them that there was no room for.
	// Refused are connections, Denied publishes without permission, Cut
	// connections that were closed for want of room or a failed commit, Broken
	// ones that were closed for a packet that was too large or no MQTT.
	QoS0, Lost, Redelivered, Refused, Denied, Cut, Broken uint64
}

// NewBroker returns a Broker; Run starts it, once.
func NewBroker(cfg BrokerConfig, m *mapping.Mapper, j Journal) (*Broker, error) {
	cfg.setDefaults()
	b := &Broker{
		cfg: cfg, funnel: newFunnel(m, j, cfg.DedupeWindow), log: cfg.Logger,
		notes: newNotes(cfg.Logger), space: newBudget(cfg.MaxWaiting), closing: make(chan struct{}),
	}
	b.connects = limit.New(connectsPerSecond, cfg.MaxClients+halfOpenAllowed, maxLimited)
	if cfg.Rate > 0 {
		b.rates = limit.New(cfg.Rate, max(1, int(cfg.Rate)), maxLimited)
	}
	return b, b.SetUsers(cfg.Users)
}

// Update puts other rules and another dedupe window in the place of the ones
// before, between two messages.
func (b *Broker) Update(rules *mapping.Rules, window time.Duration) { b.funnel.update(rules, window) }

// SetUsers replaces those who may log in; none: nobody has to. Who is connected
// stays, with the rights of the new list. After an error nothing has changed.
func (b *Broker) SetUsers(list []User) error {
	users := make(map[string]user)
	for i, u := range list {
		key := fmt.Sprintf("mqtt.embedded.users[%d].", i)
		if _, twice := users[u.Username]; twice || u.Username == "" {
			return fmt.Errorf("%susername: %q is empty or given twice", key, u.Username)
		}
		if u.Password == "" {
			return fmt.Errorf("%spassword is empty", key)
		}
		known := user{password: sha256.Sum256([]byte(u.Password))}
		for k, text := range u.Publish {
			f, err := topic.Parse(text)
			if err != nil {
				return fmt.Errorf("%spublish[%d]: %q %w", key, k, text, err)
			}
			known.publish = append(known.publish, f)
		}
		users[u.Username] = known
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
		Logger:                 slog.New(quiet{b.notes}),
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

// flush waits until what the journal has is acknowledged, at most flushTime.
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

// Connected reports whether it is listening.
func (b *Broker) Connected() bool { return b.listens.Load() }

// Status returns what it is doing.
func (b *Broker) Status() BrokerStatus {
	st := BrokerStatus{
		Listening: b.listens.Load(), Full: b.refusing(), Waiting: b.space.waiting(),
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
	if b.full.Load() && !b.funnel.full() {
		b.full.Store(false)
	}
	return b.full.Load()
}

// watchBirths asks edge nodes for their rebirth until ctx ends.
func (b *Broker) watchBirths(ctx context.Context, server *mochi.Server) {
	births := b.funnel.mapper.Births()
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
