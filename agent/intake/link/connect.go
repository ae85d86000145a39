package link

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"

	"scanrelay/configs/secret"
	"scanrelay/configs/tlsfile"
)

// Config is how brokers are reached and who we are there.
type Config struct {
	Brokers  []string // tcp, ssl, ws or wss URLs with a port, in the order in which they are tried
	ClientID string
	Username string
	Password secret.Text
	TLS      tlsfile.Client // read anew for each connection
}

// Options are those of one connection. What is zero has a default.
type Options struct {
	Keep      bool          // the session outlives the connection
	Manual    bool          // a message is acknowledged by its Ack alone
	KeepAlive time.Duration // default 30 s
	Ping      time.Duration // how long a ping may go unanswered; default 10 s
	Silence   time.Duration // longer without a byte is a dead link; default one minute
	Most      int64         // bytes; a larger payload is cut short as it comes; default 1 MiB
	// Handle gets each message and the size of its whole payload. It must not
	// block: nothing else, no ping either, is read meanwhile.
	Handle func(m mqtt.Message, size int64)
	Lost   func(error) // called once, when the connection breaks

	closes time.Duration // after DISCONNECT, for the broker to have read all
}

const (
	connectTimeout = 10 * time.Second
	writeTimeout   = 10 * time.Second
	closeWithin    = 900 * time.Millisecond
)

// LeaveTime is how long Leave takes at most.
const LeaveTime = time.Second

// Leave says goodbye and waits until the broker has read what was written before it.
func Leave(client mqtt.Client) { client.Disconnect(uint(LeaveTime / time.Millisecond)) }

func (o *Options) setDefaults() {
	o.KeepAlive = cmp.Or(o.KeepAlive, 30*time.Second)
	o.Ping = cmp.Or(o.Ping, 10*time.Second)
	o.Silence = cmp.Or(o.Silence, time.Minute)
	o.Most = cmp.Or(o.Most, 1<<20)
	o.closes = cmp.Or(o.closes, closeWithin)
	if o.Handle == nil {
		o.Handle = func(mqtt.Message, int64) {}
	}
	if o.Lost == nil {
		o.Lost = func(error) {}
	}
}

// Connect logs in at one broker. present tells that the broker had kept our
// session. The error says what it means and what to do. A paho client is good for
// one connection: after that its state cannot be relied on, so a new one is made
// each time and reconnecting is left to the caller.
func Connect(ctx context.Context, cfg Config, broker string, o Options) (client mqtt.Client, present bool, err error) {
	o.setDefaults()
	u, err := parse(broker)
	if err != nil {
		return nil, false, err
	}
	client = mqtt.NewClient(clientOptions(ctx, cfg, u, o))
	token := client.Connect()
	if err := Done(ctx, token); err != nil {
		client.Disconnect(0)
		return nil, false, describe(cfg, broker, err)
	}
	answer, ok := token.(*mqtt.ConnectToken)
	return client, ok && answer.SessionPresent(), nil
}

func clientOptions(ctx context.Context, cfg Config, u *url.URL, o Options) *mqtt.ClientOptions {
	var g *guard // set before any message can come
	c := mqtt.NewClientOptions()
	c.Servers = []*url.URL{u}
	c.SetClientID(cfg.ClientID).SetUsername(cfg.Username).SetPassword(cfg.Password.Reveal())
	c.SetCleanSession(!o.Keep).SetProtocolVersion(4).SetOrderMatters(true).SetAutoAckDisabled(o.Manual)
	c.SetAutoReconnect(false).SetConnectRetry(false).SetConnectTimeout(connectTimeout)
	c.SetKeepAlive(o.KeepAlive).SetPingTimeout(o.Ping)
	c.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { o.Handle(m, g.size(m.Payload())) })
	c.SetConnectionLostHandler(func(_ mqtt.Client, err error) { o.Lost(err) })
	c.SetCustomOpenConnectionFn(func(u *url.URL, _ mqtt.ClientOptions) (net.Conn, error) {
		conn, err := dial(ctx, cfg.TLS, u)
		if err != nil {
			return nil, err
		}
		g = newGuard(&watched{Conn: conn, quiet: o.Silence, closes: o.closes}, o.Most)
		return g, nil
	})
	return c
}

// Reaches reports whether something listens at a broker's address. Nothing is said
// to it.
func Reaches(ctx context.Context, cfg Config, broker string) bool {
	u, err := parse(broker)
	if err != nil {
		return false
	}
	conn, err := dial(ctx, cfg.TLS, u)
	if err != nil {
		return false
	}
	_ = conn.Close() // it was only to see who answers
	return true
}

// Done waits for what a client was asked to do, or for ctx.
func Done(ctx context.Context, token mqtt.Token) error {
	select {
	case <-token.Done():
		return token.Error()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// RefusedQoS is what a broker grants where it refuses a subscription.
const RefusedQoS = 0x80

// AnswerTimeout is how long a broker may take to answer.
const AnswerTimeout = connectTimeout

// Answered waits for a broker's answer to what is named, for so long without another
// sign of life: behind a backlog the answer comes last. signs counts them; nil: there
// are none.
func Answered(ctx context.Context, token mqtt.Token, what string, within time.Duration, signs func() uint64) error {
	for before := uint64(0); ; {
		silent, cancel := context.WithTimeout(ctx, within)
		err := Done(silent, token)
		cancel()
		if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		if signs == nil || signs() == before {
			return fmt.Errorf("does not answer %s within %s", what, within)
		}
		before = signs()
	}
}

// describe says what a failed connection means and what to do.
func describe(cfg Config, broker string, err error) error {
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
