package serve

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// Descriptors is how many files and connections this process may have open.
func Descriptors() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	return int(min(limit.Cur, 1<<20))
}

// Few bounds the connections of a server that a few people and programs use.
func Few() int { return min(256, Descriptors()/8) }

// Many bounds those of a server that a fleet uses.
func Many() int { return Descriptors() / 2 }

// bound keeps a server's connections below a number, and those of one address below
// three quarters of it, so that what else the process opens finds a descriptor, and
// nobody takes all of them. Where there are too many the one makes way that has waited
// longest for a request, of the address that has most of those; where none waits, the
// new one. Of many some are looked at, taken by chance.
type bound struct {
	most   int
	logger *slog.Logger

	mu    sync.Mutex
	conns map[net.Conn]peerConn
	of    map[string]int // conns by address
	cut   int            // not told yet
	told  time.Time
}

type peerConn struct {
	host  string
	since time.Time // when it began to wait for a request; zero: it has one
}

func newBound(most int, logger *slog.Logger) *bound {
	return &bound{most: max(1, most), logger: logger, conns: make(map[net.Conn]peerConn), of: make(map[string]int)}
}

// state is http.Server's ConnState.
func (b *bound) state(c net.Conn, s http.ConnState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	known, there := b.conns[c]
	switch s {
	case http.StateNew:
		known.host = hostOf(c)
		b.of[known.host]++
		fallthrough
	case http.StateIdle:
		known.since = time.Now()
	case http.StateActive:
		known.since = time.Time{}
	default:
		b.drop(c)
		return
	}
	if s != http.StateNew && !there {
		return // it was closed a moment ago
	}
	if b.conns[c] = known; s == http.StateNew {
		b.makeWay(c)
	}
}

func hostOf(c net.Conn) string {
	addr := c.RemoteAddr().String()
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return host
	}
	return addr
}

func (b *bound) drop(c net.Conn) {
	known, there := b.conns[c]
	if !there {
		return
	}
	delete(b.conns, c)
	if b.of[known.host]--; b.of[known.host] == 0 {
		delete(b.of, known.host)
	}
}

// sample is how many connections are looked at for one that makes way: all of a fleet's
// would hold up each new one for milliseconds.
const sample = 256

// makeWay closes a connection if there are too many. The caller holds mu.
func (b *bound) makeWay(newest net.Conn) {
	host := b.conns[newest].host
	crowded := b.of[host] > max(1, b.most*3/4)
	if !crowded && len(b.conns) <= b.most {
		return
	}
	waiting, some := make(map[string]int), make([]net.Conn, 0, sample)
	for c, k := range b.conns { // begins anywhere
		if len(some) == sample {
			break
		}
		if some = append(some, c); !k.since.IsZero() {
			waiting[k.host]++
		}
	}
	out := newest
	for _, c := range some {
		k, o := b.conns[c], b.conns[out]
		switch {
		case k.since.IsZero() || crowded && k.host != host:
		case waiting[k.host] > waiting[o.host] || waiting[k.host] == waiting[o.host] && k.since.Before(o.since):
			out = c
		}
	}
	b.drop(out)
	if b.cut++; time.Since(b.told) >= time.Minute {
		b.logger.Warn("too many connections: those that wait longest for a request are closed", "from", host, "closed", b.cut, "bound", b.most)
		b.cut, b.told = 0, time.Now()
	}
	if t, ok := out.(*tls.Conn); ok {
		out = t.NetConn() // it says no goodbye, which may take seconds
	}
	_ = out.Close() // the server hears of it when it reads
}
