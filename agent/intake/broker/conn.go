package broker

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"scanrelay/agent/intake/packet"
)

// conn is a device's connection. One goroutine reads it and one, the queue's, writes
// acknowledgements; what others want of it is to hang up.
type conn struct {
	net.Conn          // TLS or websocket, where it is one; only serve's goroutine changes it
	raw      net.Conn // below: closing it never waits
	a        *acceptor
	b        *Broker
	queue    *queue
	remote   string
	host     string // the address, for what is bounded for each of them
	came     time.Time

	// What login found out; only serve's goroutine has it.
	in           *bufio.Reader
	session      *session // nil: not logged in
	version      byte
	maxPacket    uint32 // that the device takes; 0: any
	user         string
	who          string        // the client's id, for the log
	limit        *rate.Limiter // the client's; nil: unlimited
	large        int64         // of the broker's budget, for the packet that was read last
	client       uint16        // whose share of the room it takes
	keepAlive    time.Duration // 0: it may be silent for ever
	resendsUntil time.Time     // until then what is identical comes again
	ended        bool          // the client said goodbye

	v5       atomic.Bool
	commands atomic.Int32 // that are being written
	seated   bool         // it counts as a client; guarded by the acceptor's mu
	hung     atomic.Bool  // hangUp was called
	cut      atomic.Bool  // and has said goodbye: the reader ends

	out chan struct{} // capacity 1; full while a packet is written
}

var errDenied = errors.New("publish without permission")

// read reads one packet of at most max_packet, and before the login of what a CONNECT
// may need. One that has begun has to come to its end, also of a device that may be
// silent for ever.
func (c *conn) read() (h packet.Header, content []byte, err error) {
	if h, err = packet.ReadHeader(c.in); err != nil {
		return h, nil, err
	}
	most := c.b.cfg.MaxPacket
	if c.session == nil {
		most = min(most, maxConnect)
	}
	if int64(h.Length)+1 > most {
		return h, nil, &packet.Error{Code: packet.TooLarge, Text: fmt.Sprintf("a packet of more than max_packet, which is %d bytes", most)}
	}
	if h.Length > largePacket {
		if !c.b.large.await(c.host, int64(h.Length), c.queue.gone) {
			return h, nil, errGone
		}
		c.large = int64(h.Length)
	}
	whole := time.Now().Add(packetWithin + time.Duration(h.Length)*time.Second/packetRate)
	if silent := c.silentUntil(); c.session != nil && h.Length > c.in.Buffered() && (silent.IsZero() || whole.Before(silent)) {
		if err = c.SetReadDeadline(whole); err != nil || c.cut.Load() {
			return h, nil, cmp.Or(err, errGone)
		}
	}
	if h.Length <= largePacket {
		content = make([]byte, h.Length)
		_, err = io.ReadFull(c.in, content)
		return h, content, err
	}
	var all bytes.Buffer // what is only announced takes nothing
	if _, err = io.CopyN(&all, c.in, int64(h.Length)); errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return h, all.Bytes(), err
}

// done gives back what the packet that was read last took.
func (c *conn) done() {
	if c.large > 0 {
		c.b.large.give(c.host, c.large)
		c.large = 0
	}
}

// takes reports whether the device takes a packet of this size.
func (c *conn) takes(size int) bool { return c.maxPacket == 0 || uint64(size) <= uint64(c.maxPacket) }

// write writes a packet, if the device takes it.
func (c *conn) write(p []byte) error {
	if !c.takes(len(p)) {
		return nil
	}
	return c.writeAll(p)
}

// writeAll writes packets. A device that does not read is cut, whatever keepalive it
// asked for.
func (c *conn) writeAll(p []byte) error {
	c.out <- struct{}{}
	defer func() { <-c.out }()
	if err := c.SetWriteDeadline(time.Now().Add(c.b.cfg.slow)); err != nil {
		return err
	}
	_, err := c.Conn.Write(p)
	return err
}

// acknowledge writes acknowledgements, all in one go: of those that the device takes.
func (c *conn) acknowledge(acks []ack) error {
	buf := make([]byte, 0, 5*len(acks))
	for _, a := range acks {
		t, before := packet.TypePuback, len(buf)
		if a.qos == 2 {
			t = packet.TypePubrec
		}
		if buf = packet.AppendAck(buf, t, a.id, a.code); !c.takes(len(buf) - before) {
			buf = buf[:before]
		}
	}
	return c.writeAll(buf)
}

// hangUp ends the connection soon: an MQTT 5 client hears the code, the reader stops.
// With a cause it counts as cut. It does not block for longer than twice goodbyeTime.
func (c *conn) hangUp(code packet.Code, why error) {
	if c.hung.Swap(true) {
		return
	}
	if why != nil {
		c.b.warns.Warn(c.host, "mqtt connection closed: "+why.Error(), "remote", c.remote)
		c.b.cuts.Add(1)
	}
	c.goodbye(code)
	c.cut.Store(true)
	c.queue.close()
	_ = c.raw.SetReadDeadline(time.Now()) // the reader ends
}

// crowded logs that the outbox takes no more of this client, though of others.
func (c *conn) crowded() {
	c.b.warns.Warn(c.who, "mqtt client has its share of the room: its scans are not acknowledged until some of them are done", "client", c.who, "remote", c.remote)
}

// goodbye tells an MQTT 5 client why the connection ends, unless it does not read.
func (c *conn) goodbye(code packet.Code) {
	if !c.v5.Load() {
		return
	}
	select {
	case c.out <- struct{}{}:
		defer func() { <-c.out }()
	case <-time.After(goodbyeTime):
		return
	}
	_ = c.Conn.SetWriteDeadline(time.Now().Add(goodbyeTime))
	_, _ = c.Conn.Write(packet.Disconnect(code)) // it may be gone
}

// close ends the connection in order. What was written last would get lost if what
// the device has sent meanwhile lay unread, so that is read over, for a short time.
func (c *conn) close() {
	c.queue.close()
	if t, ok := c.raw.(*net.TCPConn); ok && t.CloseWrite() == nil {
		_ = t.SetReadDeadline(time.Now().Add(lingerTime))
		_, _ = io.CopyN(io.Discard, t, lingerBytes)
	}
	_ = c.raw.Close()
}

// run serves the connection until it ends.
func (c *conn) run(ln *Listener) {
	err := c.open(ln)
	if err == nil {
		err = c.serve()
	}
	c.done()
	c.a.ended(c, err)
	c.b.sessions.leave(c, time.Now())
	c.a.giveUp(c) // before the device sees the end, and comes anew
	c.close()
}

// open begins with TLS and websockets, where the listener is for these.
func (c *conn) open(ln *Listener) (err error) {
	if ln.TLS != nil {
		secure := tls.Server(c.raw, ln.TLS)
		ctx, cancel := context.WithTimeout(c.b.ctx, connectWithin)
		defer cancel()
		if err := secure.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("tls handshake: %w", err)
		}
		c.Conn = secure
	}
	if ln.WebSocket {
		if c.Conn, err = upgrade(c.Conn, c.came.Add(connectWithin)); err != nil {
			return fmt.Errorf("open websocket: %w", err)
		}
	}
	c.in = bufio.NewReaderSize(c.Conn, readBuffer)
	return nil
}

// ended tells why a connection ended. What the device sent last then is lost to
// us, though not acknowledged, so it is counted and the device named.
func (a *acceptor) ended(c *conn, err error) {
	a.b.log.Debug("mqtt connection ended", "remote", c.remote, "error", err)
	var wrong *packet.Error
	var network net.Error // a websocket's is no os.ErrDeadlineExceeded
	switch {
	case c.hung.Load():
	case errors.As(err, &wrong):
		who := c.who
		if who == "" {
			who = c.host
		}
		a.b.warns.Warn(who, "mqtt connection closed for what the device sent", "client", c.who, "remote", c.remote, "error", err.Error())
		a.b.broken.Add(1)
		c.goodbye(wrong.Code)
	case errors.As(err, &network) && network.Timeout():
		c.goodbye(packet.KeepAliveTimeout)
	}
}

// hostOf is an address without its port, as what is bounded for each goes by it: of
// IPv6 one has a whole network.
func hostOf(remote net.Addr) string {
	at, err := netip.ParseAddrPort(remote.String())
	if err != nil {
		return remote.String()
	}
	ip := at.Addr().Unmap().WithZone("")
	if ip.Is6() && !ip.IsLoopback() {
		return netip.PrefixFrom(ip, 64).Masked().String()
	}
	return ip.String()
}
