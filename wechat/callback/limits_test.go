package callback_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/wechat/callback"
)

// When MaxInFlight lookups are under way, one more is told to try again at
// once, without being looked up; when there is room it is answered.
func TestOverload(t *testing.T) {
	everyWay(t, func(t *testing.T, s sender) {
		const room = 2
		started, release := make(chan bool), make(chan bool)
		var kinds []string
		h := newTestHandler(t, s.mode, func(ctx context.Context, q callback.Query) callback.Answer {
			if q.WaybillID == "SLOW" {
				started <- true
				<-release
			}
			return callback.TwoNodes
		}, func(c *callback.Config) {
			c.MaxInFlight = room
			c.Observe = func(kind string, code int, _ time.Duration) {
				if kind == callback.KindShed {
					kinds = append(kinds, fmt.Sprint(kind, code)) // only ever called from this goroutine
				}
			}
		})
		done := make(chan *httptest.ResponseRecorder)
		for range room {
			go func() { done <- serve(h, s.request(lookupOf("waybill_notify_query", "SLOW"))) }()
			<-started
		}
		r := s.read(t, serve(h, s.request(lookupOf("waybill_notify_query", "YT1"))))
		if r.ResultCode != callback.CodeTryAgain || len(r.Path) != 0 || r.WaybillCreateTime != 0 {
			t.Errorf("beyond the limit: %+v", r)
		}
		if len(kinds) != 1 || kinds[0] != "shed3" {
			t.Errorf("observed %v", kinds)
		}
		for range room {
			release <- true
			if r := s.read(t, <-done); r.ResultCode != callback.CodeOK {
				t.Errorf("within the limit: %+v", r)
			}
		}
		if r := s.read(t, serve(h, s.request(lookupOf("waybill_notify_query", "YT1")))); r.ResultCode != callback.CodeOK {
			t.Errorf("after: %+v", r)
		}
	})
}

// A lookup that panics gives its place back.
func TestPanicFreesItsPlace(t *testing.T) {
	s := newSender(t, callback.Plain, formatJSON)
	fail := true
	h := newTestHandler(t, callback.Plain, func(context.Context, callback.Query) callback.Answer {
		if fail {
			panic("lookup is broken")
		}
		return callback.TwoNodes
	}, func(c *callback.Config) { c.MaxInFlight = 1 })
	func() {
		defer func() { _ = recover() }()
		serve(h, s.request(lookupOf("waybill_notify_query", "YT1")))
	}()
	fail = false
	if r := s.read(t, serve(h, s.request(lookupOf("waybill_notify_query", "YT1")))); r.ResultCode != callback.CodeOK {
		t.Errorf("after a panic: %+v", r)
	}
}

// A lookup that does not come to an end is told to, and WeChat to try again,
// long before WeChat's 5 s.
func TestSlowLookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSender(t, callback.Secure, formatXML)
		h := newTestHandler(t, callback.Secure, func(ctx context.Context, _ callback.Query) callback.Answer {
			<-ctx.Done()
			return callback.Answer{} // a careless one: code 0 and no path
		})
		started := time.Now()
		r := s.read(t, serve(h, s.request(lookupOf("waybill_notify_query", "YT1"))))
		if took := time.Since(started); r.ResultCode != callback.CodeTryAgain || took != lookupLimit {
			t.Errorf("after %v: %+v", took, r)
		}
	})
}

// oneConn is a listener with a single connection.
type oneConn struct {
	conn   chan net.Conn
	closed chan struct{}
}

func (l oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l oneConn) Close() error   { close(l.closed); return nil }
func (l oneConn) Addr() net.Addr { return &net.TCPAddr{} }

// overPipe serves h on one connection within a synctest bubble.
func overPipe(t *testing.T, h http.Handler) net.Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	l := oneConn{make(chan net.Conn, 1), make(chan struct{})}
	l.conn <- theirs
	server := &http.Server{Handler: h} // without limits: the handler has its own
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		ours.Close()
		server.Close()
		<-done
	})
	return ours
}

// A client that stops in the middle of its body is refused after bodyLimit,
// whether or not its signature is right, although the server has no limits.
func TestSlowBody(t *testing.T) {
	for _, m := range []callback.Mode{callback.Plain, callback.Secure} {
		for _, signed := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				conn := overPipe(t, newTestHandler(t, m, neverAsked(t)))
				q := newSender(t, m, formatJSON).query("")
				if !signed {
					q.Set("signature", "0")
				}
				started := time.Now()
				fmt.Fprintf(conn, "POST /?%s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{\"a\":", q.Encode())
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(started); resp.StatusCode != http.StatusForbidden || took > bodyLimit {
					t.Errorf("%s, signed %v: %d after %v", m, signed, resp.StatusCode, took)
				}
			})
		}
	}
}

// The limit of the body is gone once it is there: the lookup that follows, and
// the next request on the connection, have their own time.
func TestBodyLimitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const almost = lookupLimit - time.Millisecond
		s := newSender(t, callback.Plain, formatJSON)
		conn := overPipe(t, newTestHandler(t, callback.Plain, func(ctx context.Context, _ callback.Query) callback.Answer {
			time.Sleep(almost)
			if ctx.Err() != nil {
				t.Error("the lookup was cancelled")
			}
			return callback.TwoNodes
		}))
		in := bufio.NewReader(conn)
		for range 3 {
			body := s.write(lookupOf("waybill_notify_query", "YT1"))
			fmt.Fprintf(conn, "POST /?%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", s.query("").Encode(), len(body))
			time.Sleep(bodyLimit - time.Millisecond)
			fmt.Fprint(conn, body)
			resp, err := http.ReadResponse(in, nil)
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("%v %v", resp, err)
			}
			reply, err := io.ReadAll(resp.Body)
			if err != nil || !strings.Contains(string(reply), `"ResultCode":0`) {
				t.Errorf("%s, %v", reply, err)
			}
			resp.Body.Close()
			time.Sleep(2 * bodyLimit)
		}
	})
}
