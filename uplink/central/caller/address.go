package caller

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Proxies are trusted to say in X-Forwarded-For whom they speak for.
type Proxies []netip.Prefix

// Client is where a request comes from. X-Forwarded-For is believed only from a
// trusted proxy, and read from its end: the first address that is no trusted
// proxy is the client, whatever it may have written before it.
func (p Proxies) Client(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	at := peer.Addr().Unmap().WithZone("")
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && p.trust(at); i-- {
		hop, ok := parseHop(hops[i])
		if !ok {
			break
		}
		at = hop
	}
	return at
}

// HTTPS reports whether the client came by https, to us or to a trusted proxy.
func (p Proxies) HTTPS(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return r.TLS != nil || err == nil && p.trust(peer.Addr().Unmap().WithZone("")) && r.Header.Get("X-Forwarded-Proto") == "https"
}

func (p Proxies) trust(at netip.Addr) bool {
	return slices.ContainsFunc(p, func(p netip.Prefix) bool { return p.Contains(at) })
}

// parseHop reads an address, with or without a port.
func parseHop(s string) (netip.Addr, bool) {
	s = strings.TrimSpace(s)
	if at, err := netip.ParseAddr(s); err == nil {
		return at.Unmap().WithZone(""), true
	}
	if at, err := netip.ParseAddrPort(s); err == nil {
		return at.Addr().Unmap().WithZone(""), true
	}
	return netip.Addr{}, false
}
