package intake

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// client makes a paho client for one connection to one broker.
func (s *Source) client(ctx context.Context, ss *session, broker string) (mqtt.Client, error) {
	u, err := parseBroker(broker)
	if err != nil {
		return nil, err
	}
	o := mqtt.NewClientOptions()
	o.Servers = []*url.URL{u}
	o.SetClientID(s.cfg.ClientID).SetUsername(s.cfg.Username).SetPassword(s.cfg.Password)
	o.SetCleanSession(false).SetProtocolVersion(4)
	o.SetAutoAckDisabled(true).SetOrderMatters(true)
	o.SetAutoReconnect(false).SetConnectRetry(false)
	o.SetKeepAlive(s.cfg.KeepAlive).SetPingTimeout(s.cfg.pings).SetConnectTimeout(connectTimeout)
	o.SetDefaultPublishHandler(ss.handle)
	o.SetConnectionLostHandler(func(_ mqtt.Client, err error) {
		ss.end(fmt.Errorf("the connection was lost: %w", err))
	})
	o.SetCustomOpenConnectionFn(func(u *url.URL, _ mqtt.ClientOptions) (net.Conn, error) {
		g, err := s.dial(ctx, u)
		if err != nil {
			return nil, err
		}
		ss.guard = g // before any message can come
		return g, nil
	})
	return mqtt.NewClient(o), nil
}

// parseBroker reads a broker's URL.
func parseBroker(broker string) (*url.URL, error) {
	u, err := url.Parse(broker)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%q is no broker URL: want tcp://host:1883, ssl://host:8883, ws:// or wss://", Redacted(broker))
	}
	if kind(u.Scheme) == "" {
		return nil, fmt.Errorf("broker %s: scheme %q is none of tcp, ssl, ws, wss", Redacted(broker), u.Scheme)
	}
	if u.Port() == "" {
		port := map[string]string{"tcp": "1883", "tls": "8883"}[kind(u.Scheme)]
		if port != "" {
			u.Host = net.JoinHostPort(u.Hostname(), port)
		}
	}
	return u, nil
}

// kind tells how a scheme is dialled: tcp, tls, ws or nothing known.
func kind(scheme string) string {
	switch scheme {
	case "tcp", "mqtt":
		return "tcp"
	case "ssl", "tls", "mqtts", "tcps":
		return "tls"
	case "ws", "wss":
		return "ws"
	default:
		return ""
	}
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
func (s *Source) dial(ctx context.Context, u *url.URL) (*guard, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conf, err := s.cfg.TLS.Config()
	if err != nil {
		return nil, err
	}
	conn, err := open(ctx, u, conf)
	if err != nil {
		return nil, err
	}
	return newGuard(&link{Conn: conn, quiet: s.cfg.silence}, s.cfg.maxPayload), nil
}

func open(ctx context.Context, u *url.URL, conf *tls.Config) (net.Conn, error) {
	if kind(u.Scheme) == "ws" {
		plain := *u
		plain.User = nil
		return mqtt.NewWebsocket(plain.String(), conf, connectTimeout, nil, nil)
	}
	d := net.Dialer{
		Control:         userTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 4},
	}
	conn, err := d.DialContext(ctx, "tcp", u.Host)
	if err != nil || kind(u.Scheme) == "tcp" {
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

// link is a connection with a watchdog: paho's own writes of PUBACK and PINGREQ
// have no deadline (deps.md B5), and a half-open link reads for ever.
type link struct {
	net.Conn
	quiet time.Duration // longer without a byte is a dead link
	live  atomic.Bool   // the handshake is over
}

// SetDeadline is called by paho around the handshake: a zero time ends it.
func (l *link) SetDeadline(t time.Time) error {
	l.live.Store(t.IsZero())
	return l.Conn.SetDeadline(t)
}

// Read implements net.Conn.
func (l *link) Read(b []byte) (int, error) {
	if l.live.Load() {
		if err := l.SetReadDeadline(time.Now().Add(l.quiet)); err != nil {
			return 0, err
		}
	}
	return l.Conn.Read(b)
}

// Write implements net.Conn.
func (l *link) Write(b []byte) (int, error) {
	if l.live.Load() {
		if err := l.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return 0, err
		}
	}
	return l.Conn.Write(b)
}

// describe says what a failed connection means and what to do.
func describe(cfg SourceConfig, broker string, err error) error {
	where := "mqtt broker " + Redacted(broker)
	switch {
	case errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword), errors.Is(err, packets.ErrorRefusedNotAuthorised):
		return fmt.Errorf("%s refuses user %q: check mqtt.username and mqtt.password", where, cfg.Username)
	case errors.Is(err, packets.ErrorRefusedIDRejected):
		return fmt.Errorf("%s refuses client id %q: check mqtt.client_id", where, cfg.ClientID)
	case errors.Is(err, packets.ErrorRefusedServerUnavailable):
		return fmt.Errorf("%s refuses connections for now (server unavailable)", where)
	case errors.Is(err, packets.ErrorRefusedBadProtocolVersion):
		return fmt.Errorf("%s does not speak MQTT 3.1.1", where)
	}
	text := strings.TrimPrefix(err.Error(), packets.ErrorNetworkError.Error()+" : ")
	if strings.HasSuffix(text, "EOF") {
		text += " (it closed the connection: is it an MQTT broker, and does it want TLS?)"
	}
	return fmt.Errorf("%s cannot be reached: %s", where, text)
}
