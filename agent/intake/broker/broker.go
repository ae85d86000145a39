package broker

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"scanrelay/agent/intake"
	"scanrelay/agent/intake/packet"
	"scanrelay/agent/intake/sparkplug"
	"scanrelay/agent/intake/user"
	"scanrelay/configs/limit"
	"scanrelay/configs/wait"
)

// Broker is an MQTT broker for devices to publish to: their PUBACK is our fsync.
// It forwards nothing: who subscribes hears nothing of other devices, only our
// own requests to be born again.
type Broker struct {
	cfg   Config
	pipe  *intake.Pipe
	log   *slog.Logger
	warns *limit.Log
	users atomic.Pointer[user.List]
	space *budget // what waits for its commit
	large *budget // large packets, until they wait for their commit
	maps  *budget // messages that are being mapped: nobody knows before what comes out of one

	sessions *sessions
	guesses  *guesses
	connects *limit.Keyed // by address
	rates    *limit.Keyed // by client id; nil: unlimited
	newIDs   *limit.Keyed // client ids that get a rate of their own, by address
	newOnes  *limit.Keyed // sessions that are begun, by address

	full     atomic.Bool // connections were closed for want of room
	stopping atomic.Bool
	listens  atomic.Bool
	began    time.Time
	ctx      context.Context // of Run
	closing  chan struct{}   // closed when Run closes the connections
	acceptor atomic.Pointer[acceptor]

	throttled atomic.Int64 // clients
	asking    wait.Rarely  // of the log's lines

	qos0, lost, redelivered, refused, denied, cuts, broken, takeovers atomic.Uint64
}

// What devices do wrong is named in the log once a minute for each of so many.
const (
	warnEvery = time.Minute
	maxKinds  = 256
)

// New returns a Broker that gives what it takes to a pipe; Run starts it, once.
func New(cfg Config, pipe *intake.Pipe) *Broker {
	cfg.setDefaults()
	cores := int64(runtime.GOMAXPROCS(0))
	b := &Broker{
		cfg: cfg, pipe: pipe, log: cfg.Logger, warns: limit.NewLog(cfg.Logger, warnEvery, maxKinds),
		space: newBudget(cfg.MaxWaiting, cfg.MaxWaiting-cfg.MaxWaiting/4),
		large: newBudget(cfg.MaxWaiting, cfg.MaxWaiting-cfg.MaxWaiting/4),
		maps:  newBudget(2*cores, cores), closing: make(chan struct{}),
		guesses: newGuesses(), asking: wait.Rarely{Every: warnEvery},
		began: time.Now(), ctx: context.Background(),
		// As many at once as all clients need that come back together behind one router.
		connects: limit.New(cfg.connects, cfg.MaxClients+halfOpenAllowed, maxLimited),
	}
	b.newOnes = limit.New(newSessionsPerSecond, cfg.MaxClients, maxLimited)
	b.sessions = newSessions(max(minSessions, 4*cfg.MaxClients), b.isUser)
	if cfg.Rate > 0 {
		b.rates = limit.New(cfg.Rate, max(1, int(cfg.Rate)), maxLimited)
		b.newIDs = limit.New(newIDsPerSecond, cfg.MaxClients, maxLimited)
	}
	b.SetUsers(cfg.Users)
	b.sessions.load(cfg.Sessions, b.began, b.log)
	return b
}

// SetUsers replaces those who may log in; none: nobody has to. Who is connected
// stays, with the rights of the new list.
func (b *Broker) SetUsers(users user.List) { b.users.Store(&users) }

func (b *Broker) isUser(name string) bool { return b.users.Load().Has(name) }

// Run serves on the listeners until ctx ends; then it acknowledges what is committed,
// closes all connections and returns nil. It closes the listeners.
func (b *Broker) Run(ctx context.Context, listeners ...Listener) error {
	b.ctx = ctx
	a := newAcceptor(b, listeners)
	b.acceptor.Store(a)
	keeping, over := context.WithCancel(context.WithoutCancel(ctx))
	var kept sync.WaitGroup
	kept.Go(func() { b.sessions.keep(keeping, b.log) })
	a.start()
	b.listens.Store(true)
	for _, ln := range listeners {
		b.log.Info("mqtt broker listens", "address", ln.Addr().String(), "tls", ln.TLS != nil, "websocket", ln.WebSocket)
	}
	b.work(ctx)
	b.listens.Store(false)
	b.stopping.Store(true)
	a.shut()
	b.flush(a)
	close(b.closing)
	a.close()
	over()
	kept.Wait()
	return nil
}

// rateOf finds a client's rate, which it does not lose by connecting again. Those who
// come under ever new ids share that of their address.
func (b *Broker) rateOf(host, id string) *rate.Limiter {
	if b.rates == nil {
		return nil
	}
	if !b.rates.Has(id) && !b.newIDs.Of(host).Allow() {
		id = "\x00" + host // no id holds U+0000
	}
	return b.rates.Of(id)
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
		Refused: b.refused.Load(), Denied: b.denied.Load(), Cut: b.cuts.Load(), Broken: b.broken.Load(),
		Takeovers: b.takeovers.Load(), Throttled: int(b.throttled.Load()),
	}
	if a := b.acceptor.Load(); a != nil {
		st.Clients = a.clients()
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

// work asks edge nodes for their rebirth and forgets old sessions until ctx ends.
func (b *Broker) work(ctx context.Context) {
	births := b.pipe.Mapper().Births()
	tick := time.NewTicker(rebirthEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-births.Wanted():
		case <-tick.C:
			b.sessions.sweep(time.Now())
		}
		for _, node := range births.Ask(time.Now()) {
			b.command(sparkplug.RebirthTopic(node), sparkplug.Rebirth(time.Now()))
		}
	}
}

// command sends a message of our own to those who subscribed to its topic; it is
// the only thing that anybody hears here.
func (b *Broker) command(topic string, payload []byte) {
	if more, due := b.asking.Due(time.Now()); due { // anybody can invent nodes
		b.log.Info("asking a sparkplug edge node for a rebirth", "topic", topic, "others_before", more)
	}
	for _, c := range b.sessions.subscribers(topic) {
		if c.commands.Add(1) > maxCommands {
			c.commands.Add(-1)
			continue // it does not read
		}
		c.a.open.Go(func() { // one that does not read keeps no command from others
			defer c.commands.Add(-1)
			version := byte(packet.V311)
			if c.v5.Load() {
				version = packet.V5
			}
			if err := c.write(packet.Message(version, topic, payload)); err != nil {
				b.log.Debug("mqtt client does not take a command", "remote", c.remote, "error", err)
			}
		})
	}
}
