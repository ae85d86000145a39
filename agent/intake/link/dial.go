package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"scanrelay/configs/tlsfile"
)

// Check says what is wrong with a broker's URL, which has a port.
func Check(broker string) error {
	_, err := parse(broker)
	return err
}

func parse(broker string) (*url.URL, error) {
	u, err := url.Parse(broker)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%q is no broker URL: want tcp://host:1883, ssl://host:8883, ws:// or wss://", Redacted(broker))
	}
	if !slices.Contains([]string{"tcp", "ssl", "ws", "wss"}, u.Scheme) {
		return nil, fmt.Errorf("broker %s: scheme %q is none of tcp, ssl, ws, wss", Redacted(broker), u.Scheme)
	}
	return u, nil
}

// Redacted is a broker's URL without a password.
func Redacted(broker string) string {
	u, err := url.Parse(broker)
	if err != nil {
		return "(unreadable URL)"
	}
	return u.Redacted()
}

// dial opens the connection to a broker.
func dial(ctx context.Context, files tlsfile.Client, u *url.URL) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conf, err := files.Config()
	if err != nil {
		return nil, err
	}
	if u.Scheme == "ws" || u.Scheme == "wss" {
		plain := *u
		plain.User = nil
		return mqtt.NewWebsocket(plain.String(), conf, connectTimeout, nil, nil)
	}
	d := net.Dialer{
		Control:         userTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 4},
	}
	conn, err := d.DialContext(ctx, "tcp", u.Host)
	if err != nil || u.Scheme == "tcp" {
		return conn, err
	}
	if conf.ServerName == "" {
		conf = conf.Clone()
		conf.ServerName = u.Hostname()
	}
	secure := tls.Client(conn, conf)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secure, nil
}

// watched is a connection with a watchdog: paho's own writes of PUBACK and PINGREQ
// have no deadline, and a half-open link reads for ever.
//
// It also lets the broker close first: were it closed here while messages that came
// last lie unread, the broker would lose the acknowledgements that it has not read.
type watched struct {
	net.Conn
	quiet   time.Duration // longer without a byte is a dead link
	closes  time.Duration // how long the broker has for it
	live    atomic.Bool   // the handshake is over
	leaving atomic.Bool   // DISCONNECT was written
}

// SetDeadline is called by paho around the handshake: a zero time ends it.
func (w *watched) SetDeadline(t time.Time) error {
	w.live.Store(t.IsZero())
	return w.Conn.SetDeadline(t)
}

// Read implements net.Conn.
func (w *watched) Read(b []byte) (int, error) {
	if w.live.Load() {
		if err := w.SetReadDeadline(time.Now().Add(w.quiet)); err != nil {
			return 0, err
		}
	}
	return w.Conn.Read(b)
}

// Write implements net.Conn.
func (w *watched) Write(b []byte) (int, error) {
	if w.live.Load() {
		if err := w.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return 0, err
		}
	}
	if len(b) == 2 && b[0]>>4 == packetDisconnect {
		w.leaving.Store(true)
	} else if w.leaving.Load() {
		return len(b), nil // nothing may follow it
	}
	return w.Conn.Write(b)
}

// Close implements net.Conn.
func (w *watched) Close() error {
	if w.leaving.Load() && w.SetReadDeadline(time.Now().Add(w.closes)) == nil {
		_, _ = io.Copy(io.Discard, w.Conn) // until the broker closes, or it takes too long
	}
	return w.Conn.Close()
}
