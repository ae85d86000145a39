package rig

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"golang.org/x/time/rate"
)

// Scanner publishes scans with QoS 1 over one connection at a time and enters
// into the ledger what was acknowledged. When the connection is lost it makes a
// new one and sends, in order, everything again that was not acknowledged, as a
// device with a memory does.
type Scanner struct {
	Addr   string // host:port of the broker
	ID     string // MQTT client id
	Topic  string // default scans/<ID>
	Window int    // publishes under way; default 20
	Rate   int    // scans a second; 0: as fast as it goes
	Ledger *Ledger
	// OnSend, if set, is called before each publish.
	OnSend func(Scan)

	lost atomic.Int64
}

// Reconnects returns how often the connection was lost.
func (s *Scanner) Reconnects() int64 { return s.lost.Load() }

// sending is a scan under way.
type sending struct {
	scan  Scan
	token mqtt.Token
}

// Publish returns when every scan was acknowledged, or with ctx's error.
func (s *Scanner) Publish(ctx context.Context, scans []Scan) error {
	topic, window := s.Topic, s.Window
	if topic == "" {
		topic = "scans/" + s.ID
	}
	if window == 0 {
		window = 20
	}
	pace := newPace(s.Rate)
	for len(scans) > 0 {
		client, lost, err := s.connect(ctx)
		if err != nil {
			return fmt.Errorf("publish %d scans: %w", len(scans), err)
		}
		f := &flow{Scanner: s, client: client, lost: lost, topic: topic}
		done, err := f.pump(ctx, scans, window, pace)
		client.Disconnect(100)
		scans = scans[done:]
		if err != nil {
			return fmt.Errorf("publish, %d scans left: %w", len(scans), err)
		}
		if len(scans) > 0 {
			s.lost.Add(1)
		}
	}
	return nil
}

// flow is what one connection has under way.
type flow struct {
	*Scanner
	client mqtt.Client
	lost   <-chan struct{}
	topic  string
	under  []sending
	acked  int // from the front, over this connection
}

// pump publishes over one connection and returns how many scans from the front
// were acknowledged. The error is ctx's only.
func (f *flow) pump(ctx context.Context, scans []Scan, window int, pace *rate.Limiter) (int, error) {
	for next := 0; f.acked < len(scans); {
		if next < len(scans) && len(f.under) < window {
			if err := pace.Wait(ctx); err != nil {
				return f.acked, err
			}
			f.send(scans[next])
			next++
		}
		full := next == len(scans) || len(f.under) >= window
		if ok, err := f.settle(ctx, full); !ok || err != nil {
			return f.acked, err // not ok: all from here on again
		}
	}
	return f.acked, nil
}

func (f *flow) send(s Scan) {
	f.Ledger.send(s)
	if f.OnSend != nil {
		f.OnSend(s)
	}
	f.under = append(f.under, sending{s, f.client.Publish(f.topic, 1, false, s.Payload())})
}

// settle enters what was acknowledged, in order; with wait it waits for one at
// least. It returns false when the connection went.
func (f *flow) settle(ctx context.Context, wait bool) (bool, error) {
	for len(f.under) > 0 {
		first := f.under[0]
		if wait {
			select {
			case <-first.token.Done():
			case <-f.lost:
				return false, nil
			case <-ctx.Done():
				return false, ctx.Err()
			}
			wait = false
		}
		select {
		case <-first.token.Done():
		default:
			return true, nil
		}
		if first.token.Error() != nil {
			return false, nil
		}
		f.Ledger.ack(first.scan)
		f.under = f.under[1:]
		f.acked++
	}
	return true, nil
}

// connect tries until it is connected; lost is closed when the connection goes.
func (s *Scanner) connect(ctx context.Context) (mqtt.Client, <-chan struct{}, error) {
	for {
		lost := make(chan struct{})
		o := mqtt.NewClientOptions().AddBroker("tcp://" + s.Addr).SetClientID(s.ID).
			SetProtocolVersion(4).SetCleanSession(true).SetAutoReconnect(false).
			SetConnectTimeout(Limit).SetKeepAlive(time.Minute).SetPingTimeout(Limit).
			SetConnectionLostHandler(func(mqtt.Client, error) { close(lost) })
		client := mqtt.NewClient(o)
		token := client.Connect()
		select {
		case <-token.Done():
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
		if token.Error() == nil {
			return client, lost, nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, nil, errors.Join(ctx.Err(), token.Error())
		}
	}
}

// newPace spreads scans evenly over time; what was missed is caught up with, for a
// second.
func newPace(perSecond int) *rate.Limiter {
	if perSecond <= 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	pace := rate.NewLimiter(rate.Limit(perSecond), perSecond)
	pace.AllowN(time.Now(), perSecond) // nothing is missed yet
	return pace
}
