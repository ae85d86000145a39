package broker

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"scanrelay/agent/intake/packet"
)

// Listener is where devices connect to.
type Listener struct {
	net.Listener
	TLS       *tls.Config // nil: in clear
	WebSocket bool        // MQTT in websockets
}

// acceptor takes connections from all listeners. It bounds them, and closing waits for
// all of them.
type acceptor struct {
	b         *Broker
	listeners []Listener

	accepting sync.WaitGroup
	open      sync.WaitGroup
	slow      atomic.Int32 // refusals under way

	mu     sync.Mutex
	conns  map[*conn]struct{} // guarded by mu
	seated int                // connections that are logged in; guarded by mu
	of     map[string]int     // them by address; guarded by mu
	closed bool               // guarded by mu
}

func newAcceptor(b *Broker, listeners []Listener) *acceptor {
	return &acceptor{b: b, listeners: listeners, conns: make(map[*conn]struct{}), of: make(map[string]int)}
}

// start accepts connections until shut.
func (a *acceptor) start() {
	for i := range a.listeners {
		a.accepting.Go(func() { a.accept(&a.listeners[i]) })
	}
}

func (a *acceptor) accept(ln *Listener) {
	for {
		raw, err := ln.Accept()
		switch {
		case err == nil:
			a.b.cfg.Pulse.Begin()
			a.admit(raw, ln)
			a.b.cfg.Pulse.End()
		case errors.Is(err, net.ErrClosed):
			return
		default: // out of file descriptors, most likely
			a.b.warns.Warn("", "accept mqtt connection", "error", err.Error())
			select {
			case <-a.b.ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
}

// admit starts a connection, unless its address connects too often. Where there are
// too many, one that has not logged in makes way.
func (a *acceptor) admit(raw net.Conn, ln *Listener) {
	host := hostOf(raw.RemoteAddr())
	if !a.b.connects.Of(host).Allow() {
		a.refuse(raw, host, "mqtt connection refused: its address connects too often")
		return
	}
	c := a.wrap(raw, host)
	a.mu.Lock()
	var out *conn
	if len(a.conns) >= a.b.cfg.MaxClients+halfOpenAllowed {
		out = a.stranger()
	}
	if a.closed || out == nil && len(a.conns) >= a.b.cfg.MaxClients+halfOpenAllowed {
		a.mu.Unlock()
		a.refuse(raw, host, "mqtt connection refused: too many")
		return
	}
	delete(a.conns, out)
	a.conns[c] = struct{}{}
	a.open.Add(2)
	a.mu.Unlock()
	if out != nil {
		a.refuse(out.raw, out.host, "mqtt connection closed: it has not logged in, and there are too many")
	}
	go func() {
		defer a.open.Done()
		c.queue.run()
	}()
	go func() {
		defer a.open.Done()
		defer a.leave(c)
		c.run(ln)
	}()
}

// stranger is the oldest connection that is no client, or no longer, of the address
// that has most of them. The caller holds mu.
func (a *acceptor) stranger() (oldest *conn) {
	count := make(map[string]int)
	for c := range a.conns {
		if !c.seated {
			count[c.host]++
		}
	}
	for c := range a.conns {
		if !c.seated && (oldest == nil || count[c.host] > count[oldest.host] ||
			count[c.host] == count[oldest.host] && c.came.Before(oldest.came)) {
			oldest = c
		}
	}
	return oldest
}

// seat lets a client have a place, or says why it gets none. Whoever takes over its
// own connection needs no other place.
func (a *acceptor) seat(c *conn, id string) (why string) {
	before := a.b.sessions.connected(id)
	a.mu.Lock()
	defer a.mu.Unlock()
	all, here := a.seated, a.of[c.host]
	if before != nil && before.seated {
		all--
		if before.host == c.host {
			here--
		}
	}
	switch {
	case all >= a.b.cfg.MaxClients:
		return "too many clients: max_clients"
	case here >= a.b.cfg.MaxPerAddress:
		return "too many clients of one address: max_clients_per_address"
	}
	c.seated = true
	a.seated++
	a.of[c.host]++
	return ""
}

func (a *acceptor) clients() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.seated
}

func (a *acceptor) leave(c *conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.conns, c)
	a.rise(c)
}

// giveUp frees the place of a client that is gone, or came anew.
func (a *acceptor) giveUp(c *conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rise(c)
}

// rise frees the place of a connection. The caller holds mu.
func (a *acceptor) rise(c *conn) {
	if !c.seated {
		return
	}
	c.seated = false
	a.seated--
	if a.of[c.host]--; a.of[c.host] <= 0 {
		delete(a.of, c.host)
	}
}

// refuse closes a connection that is not wanted, a few of them only after a while:
// who tries again as soon as it is refused does so once a second then, not ten
// thousand times.
func (a *acceptor) refuse(raw net.Conn, host, why string) {
	a.b.warns.Warn(host, why, "remote", raw.RemoteAddr().String())
	a.b.refused.Add(1)
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

// wrap makes a conn of an accepted connection. Until CONNECT has come it has
// little time.
func (a *acceptor) wrap(raw net.Conn, host string) *conn {
	if t, ok := raw.(*net.TCPConn); ok {
		_ = t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3})
	}
	c := &conn{Conn: raw, raw: raw, a: a, b: a.b, remote: raw.RemoteAddr().String(), host: host, came: time.Now(), out: make(chan struct{}, 1)}
	c.queue = newQueue(a.b, c)
	c.queue.host = host
	_ = c.SetReadDeadline(time.Now().Add(connectWithin))
	return c
}

// shut stops accepting.
func (a *acceptor) shut() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	for _, ln := range a.listeners {
		_ = ln.Close() // it was open
	}
	a.accepting.Wait()
}

// close hangs all connections up and waits for what works on them.
func (a *acceptor) close() {
	a.mu.Lock()
	all := make([]*conn, 0, len(a.conns))
	for c := range a.conns {
		all = append(all, c)
	}
	a.mu.Unlock()
	for _, c := range all {
		a.open.Go(func() { c.hangUp(packet.ShuttingDown, nil) })
	}
	a.open.Wait()
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
