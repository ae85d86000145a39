package control

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/configs/serve"
	"scanrelay/store"
)

// connection is a response whose connection writes until its deadline.
type connection struct {
	*httptest.ResponseRecorder
	deadline time.Time
}

func (c *connection) SetWriteDeadline(t time.Time) error { c.deadline = t; return nil }

func (c *connection) FlushError() error {
	if time.Now().After(c.deadline) {
		return os.ErrDeadlineExceeded
	}
	return nil
}

func (c *connection) Write(p []byte) (int, error) {
	if err := c.FlushError(); err != nil {
		return 0, err
	}
	return c.ResponseRecorder.Write(p)
}

// far is an outbox whose events are long in coming.
type far struct{ *stored }

func (f far) Scan(ctx context.Context, filter store.Filter, fn func(store.Record) error) error {
	for _, d := range []time.Duration{65 * time.Second, 40 * time.Second, 10 * time.Minute} {
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := fn(f.records[1]); err != nil {
			return err
		}
	}
	return nil
}

// pipes is a listener of connections in memory.
type pipes struct {
	conns chan net.Conn
	over  chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.over:
		return nil, net.ErrClosed
	}
}
func (p pipes) Close() error   { close(p.over); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{} }

// A look at a running agent may take as long as there is something to look through.
func TestALongLook(t *testing.T) {
	for name, look := range map[string]func(context.Context, *Client) (int, error){
		"events": func(ctx context.Context, c *Client) (n int, err error) {
			err = c.Events(ctx, "", false, func(json.RawMessage) error { n++; return nil })
			return n, err
		},
		"dead letters": func(ctx context.Context, c *Client) (n int, err error) {
			err = c.DeadLetters(ctx, false, func(json.RawMessage) error { n++; return nil })
			return n, err
		},
		"trace": func(ctx context.Context, c *Client) (int, error) {
			t, err := c.Trace(ctx, "YT1234567890123", false)
			return len(t.Nodes), err
		},
		"retry": func(ctx context.Context, c *Client) (int, error) { return c.Retry(ctx, true) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ln := pipes{make(chan net.Conn), make(chan struct{})}
				ctx, stop := context.WithCancel(t.Context())
				served := make(chan error, 1)
				go func() {
					served <- serve.HTTP(ctx, ln, Local(options(far{sample()})), slog.New(slog.DiscardHandler), serve.Few(), time.Second)
				}()
				c := &Client{&http.Client{Transport: &http.Transport{
					ResponseHeaderTimeout: time.Minute,
					DialContext: func(context.Context, string, string) (net.Conn, error) {
						here, there := net.Pipe()
						ln.conns <- there
						return here, nil
					},
				}}}
				if n, err := look(ctx, c); n != 3 || err != nil {
					t.Errorf("%d of 3, %v", n, err)
				}
				_ = c.Close()
				stop()
				<-served
			})
		})
	}
}

// Only a reader that does not read is cut off, not one that waits for what is
// rare and long in coming.
func TestAStreamWaitsForItsLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &connection{ResponseRecorder: httptest.NewRecorder()}
		(&local{}).stream(c, false, func(line func(any) error) error {
			for range 3 {
				time.Sleep(time.Minute)
				if err := line("rare"); err != nil {
					return err
				}
			}
			time.Sleep(time.Minute)
			return nil
		})
		// What says that it is still at work comes between.
		if got := c.Body.String(); strings.Count(got, "rare") != 3 || strings.Count(got, "\n") < 3+20 || c.FlushError() != nil {
			t.Errorf("it came to %q, and its end could be sent: %v", got, c.FlushError() == nil)
		}
	})
}
