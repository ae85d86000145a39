package wechat_test

import (
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"scanrelay/wechat"
)

// HTTP/2 is used where offered, and one connection serves call after call.
func TestTransportKeepsConnections(t *testing.T) {
	for _, h2 := range []bool{true, false} {
		var opened atomic.Int64
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if (r.ProtoMajor == 2) != h2 {
				t.Errorf("spoke %s, HTTP/2 offered: %v", r.Proto, h2)
			}
			_, _ = w.Write([]byte(`{"exist":1}`))
		}))
		server.EnableHTTP2 = h2
		server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				opened.Add(1)
			}
		}
		server.StartTLS()
		transport := wechat.NewTransport()
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		transport.TLSClientConfig.RootCAs.AddCert(server.Certificate())
		c := newTestClient(t, server.URL, transport)
		for range 10 {
			if _, err := c.UserQuery(t.Context(), testSecret, "1"); err != nil {
				t.Fatal(err)
			}
		}
		if n := opened.Load(); n != 1 {
			t.Errorf("%d connections for 10 calls, HTTP/2: %v", n, h2)
		}
		c.CloseIdleConnections()
		server.Close()
	}
}

// A certificate that nobody vouches for ends the call; the token is not sent.
func TestTransportChecksCertificates(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("served") }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	if _, err := newTestClient(t, server.URL, nil).UserQuery(t.Context(), testSecret, "1"); err == nil {
		t.Error("no error")
	}
}

func TestTransportLimits(t *testing.T) {
	tr := wechat.NewTransport()
	for name, d := range map[string]time.Duration{
		"TLS": tr.TLSHandshakeTimeout, "headers": tr.ResponseHeaderTimeout, "idle": tr.IdleConnTimeout,
		"HTTP/2 silence": tr.HTTP2.SendPingTimeout, "HTTP/2 ping": tr.HTTP2.PingTimeout,
	} {
		if d <= 0 {
			t.Errorf("no limit for %s", name)
		}
	}
	if tr.ResponseHeaderTimeout < wechat.PathNotifyLimit {
		t.Error("headers are waited for less than pathnotify may take")
	}
}

// The proxy comes from the environment; net/http reads that once a process, so
// the function itself is compared.
func TestTransportUsesProxy(t *testing.T) {
	asked := 0
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		_, _ = w.Write([]byte(`{"exist":1}`))
	}))
	defer proxy.Close()
	tr := wechat.NewTransport()
	if tr.Proxy == nil {
		t.Fatal("no proxy function")
	}
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	tr.Proxy = http.ProxyURL(at)
	if exist, err := newTestClient(t, "http://wechat.test", tr).UserQuery(t.Context(), testSecret, "1"); err != nil || !exist || asked != 1 {
		t.Errorf("%v, %v, proxy asked %d times", exist, err, asked)
	}
}
