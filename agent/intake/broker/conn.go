package broker

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
	"golang.org/x/time/rate"
)

// conn is a device's connection. mochi-mqtt sets one deadline for reading and
// writing from the client's keepalive; here writing has its own, so that a
// device that does not read is cut, whatever keepalive it asked for.
type conn struct {
	net.Conn
	raw   net.Conn // below TLS: closing it never waits
	b     *Broker
	queue *queue
	limit *rate.Limiter // the client's; nil: unlimited; only the reader has it
	who   string        // the client's id, once it has one

	once sync.Once // for hangUp
}

// SetDeadline implements net.Conn for reading.
func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.b.cfg.slow)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.queue.close()
	return c.raw.Close()
}

// hangUp closes the connection at once, which ends its reader.
func (c *conn) hangUp(why error) {
	c.once.Do(func() {
		c.b.cut.Add(1)
		c.b.warns.warn(host(c.raw), "mqtt connection closed: "+why.Error(), "remote", c.raw.RemoteAddr().String())
		_ = c.raw.Close()
	})
}

// acknowledge writes PUBACKs, all in one go. They are the same in MQTT 3.1.1
// and 5: without a reason code they say success.
func (c *conn) acknowledge(ids []uint16) error {
	buf := make([]byte, 0, 4*len(ids))
	for _, id := range ids {
		buf = append(buf, 0x40, 2, byte(id>>8), byte(id))
	}
	_, err := c.Write(buf)
	return err
}

// acceptor is mochi's listener over a net.Listener. Unlike mochi's own it knows
// its connections: it bounds them, and closing waits for all of them.
type acceptor struct {
	b   *Broker
	ln  net.Listener
	tls *tls.Config

	accepting sync.WaitGroup
	open      sync.WaitGroup
	slow      atomic.Int32 // refusals under way

	mu     sync.Mutex
	conns  map[*conn]struct{} // guarded by mu
	closed bool               // guarded by mu
}

var _ listeners.Listener = (*acceptor)(nil)

func newAcceptor(b *Broker, ln net.Listener) *acceptor {
	a := &acceptor{b: b, ln: ln, tls: b.cfg.TLS, conns: make(map[*conn]struct{})}
	a.accepting.Add(1)
	return a
}

func (a *acceptor) Init(*slog.Logger) error { return nil }
func (a *acceptor) ID() string              { return "embedded" }
func (a *acceptor) Address() string         { return a.ln.Addr().String() }
func (a *acceptor) Protocol() string        { return "tcp" }

// Serve accepts connections until the listener is closed.
func (a *acceptor) Serve(establish listeners.EstablishFn) {
	defer a.accepting.Done()
	for {
		raw, err := a.ln.Accept()
		switch {
		case err == nil:
			a.admit(raw, establish)
		case errors.Is(err, net.ErrClosed):
			return
		default: // out of file descriptors, most likely
			a.b.warns.warn("", "accept mqtt connection", "error", err.Error())
			select {
			case <-a.b.ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
}

// admit starts a connection, unless there are too many, or too many of its
// address in a short time.
func (a *acceptor) admit(raw net.Conn, establish listeners.EstablishFn) {
	if !a.b.connects.Of(host(raw)).Allow() {
		a.refuse(raw, "mqtt connection refused: its address connects too often")
		return
	}
	c := a.wrap(raw)
	a.mu.Lock()
	full := len(a.conns) >= a.b.cfg.MaxClients+halfOpenAllowed
	if full || a.closed {
		a.mu.Unlock()
		a.refuse(raw, "mqtt connection refused: too many")
		return
	}
	a.conns[c] = struct{}{}
	a.open.Add(2)
	a.mu.Unlock()
	go func() {
		defer a.open.Done()
		c.queue.run()
	}()
	go func() {
		defer a.open.Done()
		defer a.leave(c)
		if err := establish(a.ID(), c); err != nil {
			a.ended(c, err)
		}
	}()
}

// What a device did where its connection is closed for it, as MQTT 5 numbers it.
const (
	malformedPacket   = 0x81
	protocolViolation = 0x82
	packetTooLarge    = 0x95
)

// ended tells why a connection ended. What the device sent last then is lost to
// us, though not acknowledged, so it is counted and the device named.
func (a *acceptor) ended(c *conn, err error) {
	remote := c.raw.RemoteAddr().String()
	a.b.log.Debug("mqtt connection ended", "remote", remote, "error", err)
	var code packets.Code
	if !errors.As(err, &code) {
		return
	}
	switch code.Code {
	case packetTooLarge:
		err = fmt.Errorf("a packet of more than max_packet, which is %d bytes", a.b.cfg.MaxPacket)
	case malformedPacket, protocolViolation:
	default:
		return
	}
	a.b.broken.Add(1)
	who := c.who
	if who == "" {
		who = host(c.raw)
	}
	a.b.warns.warn(who, "mqtt connection closed for what the device sent", "client", c.who, "remote", remote, "error", err.Error())
}

// refuse closes a connection that is not wanted, a few of them only after a while:
// who tries again as soon as it is refused does so once a second then, not ten
// thousand times.
func (a *acceptor) refuse(raw net.Conn, why string) {
	a.b.refused.Add(1)
	a.b.warns.warn(host(raw), why, "remote", raw.RemoteAddr().String())
	if a.slow.Add(1) > maxSlowRefusals {
		a.slow.Add(-1)
		_ = raw.Close()
		return
	}
	time.AfterFunc(slowRefusal, func() {
		_ = raw.Close()
		a.slow.Add(-1)
	})
}

// host is a connection's remote address without its port.
func host(c net.Conn) string { return hostOf(c.RemoteAddr().String()) }

func hostOf(addr string) string {
	if h, _, err := net.SplitHostPort(addr); err == nil {
		return h
	}
	return addr
}

// wrap makes a conn of an accepted connection. Until CONNECT has come it has
// little time.
func (a *acceptor) wrap(raw net.Conn) *conn {
	if t, ok := raw.(*net.TCPConn); ok {
		_ = t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3})
	}
	c := &conn{Conn: raw, raw: raw, b: a.b}
	if a.tls != nil {
		c.Conn = tls.Server(raw, a.tls)
	}
	c.queue = newQueue(a.b, c)
	_ = c.SetReadDeadline(time.Now().Add(connectWithin))
	return c
}

func (a *acceptor) leave(c *conn) {
	_ = c.Close()
	a.mu.Lock()
	delete(a.conns, c)
	a.mu.Unlock()
}

// Close implements listeners.Listener: it stops accepting, closes all
// connections and waits for what works on them.
func (a *acceptor) Close(listeners.CloseFn) {
	a.shut()
	a.mu.Lock()
	for c := range a.conns {
		_ = c.Close()
	}
	a.mu.Unlock()
	a.open.Wait()
}

// shut stops accepting.
func (a *acceptor) shut() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	_ = a.ln.Close()
	a.accepting.Wait()
}

// idle reports whether nothing of any connection waits for its commit.
func (a *acceptor) idle() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for c := range a.conns {
		if c.queue.busy() {
			return false
		}
	}
	return true
}
