package central

import (
	"net/http"
	"net/netip"
	"strings"
)

// clientAddress is where a request comes from. X-Forwarded-For is believed only
// from a trusted proxy, and read from its end: the first address that is no
// trusted proxy is the client, whatever it may have written before it.
func (c *Central) clientAddress(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	at := peer.Addr().Unmap().WithZone("")
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && c.trusted(at); i-- {
		hop, ok := parseHop(hops[i])
		if !ok {
			break
		}
		at = hop
	}
	return at
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

func (c *Central) trusted(at netip.Addr) bool {
	for _, p := range c.o.Config.TrustedProxies {
		if p.Contains(at) {
			return true
		}
	}
	return false
}

// limitKey is what an address is limited by: a home has a whole /64.
func limitKey(at netip.Addr) string {
	if at.Is6() {
		if p, err := at.Prefix(64); err == nil {
			return p.String()
		}
	}
	return at.String()
}
