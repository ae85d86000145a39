package serve_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"scanrelay/configs/serve"
)

// Who opens connections and says nothing takes no descriptor from anyone: those of his
// that wait longest are closed, others are answered, and a request that runs is not cut.
func TestConnectionsAreBounded(t *testing.T) {
	const most = 8
	var log bytes.Buffer
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hold, running := make(chan struct{}), make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(running)
			<-hold
		}
		_, _ = io.WriteString(w, "ok")
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- serve.HTTP(ctx, ln, h, slog.New(slog.NewTextHandler(&log, nil)), most, time.Second)
	}()
	dial := func(from string) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	ask := func(c net.Conn, path string) {
		t.Helper()
		if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
			t.Error(err)
		}
	}
	answered := func(c net.Conn) {
		t.Helper()
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(resp.Body); string(b) != "ok" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
	}
	slow, honest := dial("127.0.0.2"), dial("127.0.0.3")
	ask(slow, "/slow")
	<-running
	ask(honest, "/")
	answered(honest)
	var silent []net.Conn
	for range 3 * most {
		silent = append(silent, dial("127.0.0.1"))
	}
	for _, c := range silent[:2*most] { // of its address less than three quarters stay
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a silent connection got an answer")
		}
	}
	ask(honest, "/") // was kept alive all the time
	answered(honest)
	another := dial("127.0.0.4")
	ask(another, "/")
	answered(another)
	close(hold)
	answered(slow)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "too many connections") || strings.Count(log.String(), "\n") != 1 {
		t.Errorf("log: %s", log.String())
	}
}
