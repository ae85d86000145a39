package serve

import (
	"log/slog"
	"net"
	"net/http"
	"testing"
)

// guest is a connection from an address, which notes that it was closed.
type guest struct {
	net.Conn
	from   net.TCPAddr
	closed bool
}

func (p *guest) RemoteAddr() net.Addr { return &p.from }
func (p *guest) Close() error         { p.closed = true; return nil }

// TestBoundOfAFleet: at the size of a fleet, too, who opens connections without end has
// three quarters, and it is his that are closed.
func TestBoundOfAFleet(t *testing.T) {
	const most, fleet = 32768, 5000
	b := newBound(most, slog.New(slog.DiscardHandler))
	open := func(a, c, d int) *guest {
		p := &guest{from: net.TCPAddr{IP: net.IPv4(byte(a), 1, byte(c), byte(d))}}
		b.state(p, http.StateNew)
		return p
	}
	var depots []*guest
	for i := range fleet {
		depots = append(depots, open(10, i>>8, i&255))
	}
	left := 0
	var his []*guest
	for range 2 * most {
		his = append(his, open(11, 0, 1))
	}
	for _, p := range his {
		if !p.closed {
			left++
		}
	}
	for _, p := range depots {
		if p.closed {
			t.Fatal("a depot's connection made way")
		}
	}
	if left > most*3/4 || len(b.conns) != left+fleet {
		t.Errorf("he has %d, all are %d", left, len(b.conns))
	}
}
