package broker

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

// maxUpgrade bounds what a client says before its connection is a websocket.
const maxUpgrade = 16 << 10

// upgrader refuses pages of other hosts, as browsers name them: a page that somebody
// looks at must not publish scans.
var upgrader = websocket.Upgrader{Subprotocols: []string{"mqtt", "mqttv3.1"}}

// upgrade makes a websocket of a connection, from which nothing is read after until.
func upgrade(conn net.Conn, until time.Time) (net.Conn, error) {
	bounded := &io.LimitedReader{R: conn, N: maxUpgrade}
	in := bufio.NewReader(bounded)
	request, err := http.ReadRequest(in)
	if err != nil {
		return nil, err
	}
	ws, err := upgrader.Upgrade(&upgrading{conn, in, http.Header{}}, request, nil)
	if err != nil {
		return nil, err
	}
	bounded.N = 1<<63 - 1
	if err := conn.SetReadDeadline(until); err != nil { // Upgrade has taken all deadlines away
		return nil, err
	}
	return &socket{Conn: ws.NetConn(), ws: ws}, nil
}

// upgrading is the http.ResponseWriter of a connection that no http.Server has.
type upgrading struct {
	conn   net.Conn
	in     *bufio.Reader
	header http.Header
}

func (u *upgrading) Header() http.Header { return u.header }

// WriteHeader refuses the request.
func (u *upgrading) WriteHeader(code int) {
	response := http.Response{StatusCode: code, ProtoMajor: 1, ProtoMinor: 1, Header: u.header, Close: true}
	_ = response.Write(u.conn) // it is closed next
}

func (u *upgrading) Write(p []byte) (int, error) { return len(p), nil }

// Hijack implements http.Hijacker.
func (u *upgrading) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return u.conn, bufio.NewReadWriter(u.in, bufio.NewWriter(u.conn)), nil
}

// socket is a websocket as a stream of bytes, which is how MQTT uses it.
type socket struct {
	net.Conn
	ws      *websocket.Conn
	message io.Reader // what is left of the one that came last
}

var errText = errors.New("a websocket message that is not binary")

// Read implements net.Conn.
func (s *socket) Read(p []byte) (int, error) {
	for {
		if s.message == nil {
			kind, message, err := s.ws.NextReader()
			switch {
			case websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway, websocket.CloseNoStatusReceived):
				return 0, io.EOF
			case err != nil:
				return 0, err
			case kind != websocket.BinaryMessage:
				return 0, errText
			}
			s.message = message
		}
		n, err := s.message.Read(p)
		if errors.Is(err, io.EOF) {
			s.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// SetWriteDeadline implements net.Conn.
func (s *socket) SetWriteDeadline(t time.Time) error { return s.ws.SetWriteDeadline(t) }

// Write implements net.Conn.
func (s *socket) Write(p []byte) (int, error) {
	if err := s.ws.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}
