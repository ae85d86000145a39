package serve

import "net"

// Peers is a unix socket whose requests say in RemoteAddr which user calls.
type Peers struct{ net.Listener }

// Accept names the caller by the user whom the kernel says it is.
func (p Peers) Accept() (net.Conn, error) {
	c, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &peer{c, peerName(c)}, nil
}

type peer struct {
	net.Conn
	name string
}

func (p *peer) RemoteAddr() net.Addr { return peerAddr(p.name) }

type peerAddr string

func (peerAddr) Network() string  { return "unix" }
func (p peerAddr) String() string { return string(p) }
