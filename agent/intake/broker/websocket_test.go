package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/gorilla/websocket"

	"scanrelay/agent/intake"
	"scanrelay/agent/intake/internal/intaketest"
	"scanrelay/agent/intake/mapping"
	"scanrelay/configs/tlsfile"
	"scanrelay/configs/tlsfile/tlstest"
)

// Devices that speak in clear, TLS, websockets and secure websockets come in at once.
func TestListenersAtOnce(t *testing.T) {
	authority := tlstest.NewAuthority(t)
	crt, key := authority.Issue("server", "127.0.0.1")
	conf, err := tlsfile.Server{CertFile: crt, KeyFile: key}.Config(tls.NoClientCert)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := tlsfile.Client{CAFile: authority.File("ca.crt")}.Config()
	if err != nil {
		t.Fatal(err)
	}
	j := intaketest.NewOutbox(t, 0)
	b := New(Config{}, intake.New(intaketest.Mapper(t, mapping.Config{}), j, 0))
	schemes := []string{"tcp", "ssl", "ws", "wss"}
	var listeners []Listener
	for _, scheme := range schemes {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l := Listener{Listener: ln, WebSocket: strings.HasPrefix(scheme, "ws")}
		if scheme == "ssl" || scheme == "wss" {
			l.TLS = conf
		}
		listeners = append(listeners, l)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx, listeners...) }()
	var want []string
	for i, scheme := range schemes {
		c := intaketest.Connect(t, scheme+"://"+listeners[i].Addr().String(), "gun-"+scheme, func(o *mqtt.ClientOptions) { o.SetTLSConfig(trust) })
		for _, size := range []int{1, 5000, 60000} { // in one frame and in several
			number := "YT" + strings.ToUpper(scheme) + strings.Repeat("0", 8) + string(rune('A'+size%23))
			want = append(want, number)
			intaketest.Publish(t, c, "scans/g", strings.TrimSuffix(intaketest.Payload(number), "}")+`,"x":"`+strings.Repeat("x", size)+`"}`)
		}
	}
	if got := j.Waybills(); !slices.Equal(got, want) {
		t.Errorf("stored %v, want %v", got, want)
	}
	ws := "ws://" + listeners[2].Addr().String()
	if _, answer, err := websocket.DefaultDialer.Dial(ws, http.Header{"Origin": {"http://elsewhere.example"}}); err == nil || answer == nil || answer.StatusCode != http.StatusForbidden {
		t.Errorf("a page of another host gets %v, %v", answer, err)
	}
	c, _, err := websocket.DefaultDialer.Dial(ws, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.ReadMessage(); err == nil {
		t.Error("a text message is answered")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Who has opened a websocket has no more time for its CONNECT than others.
func TestAWebsocketThatSaysNothing(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	go func() {
		_, _ = io.WriteString(far, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n") // the other end says what comes of it
		_, _ = io.Copy(io.Discard, far)
	}()
	ws, err := upgrade(near, time.Now().Add(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := ws.Read(make([]byte, 1))
		ended <- err
	}()
	select {
	case err := <-ended:
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Error(err)
		}
	case <-time.After(intaketest.Patience):
		t.Error("it may say nothing for ever")
	}
}
