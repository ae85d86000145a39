package caller_test

import (
	"net/http/httptest"
	"net/netip"
	"testing"

	"scanrelay/uplink/central/caller"
)

func TestClientAddress(t *testing.T) {
	trusted := caller.Proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, x := range []struct {
		remote string
		header []string
		want   string
	}{
		{"203.0.113.1:99", nil, "203.0.113.1"},
		{"203.0.113.1:99", []string{"198.51.100.1"}, "203.0.113.1"},
		{"10.0.0.1:99", []string{"198.51.100.1"}, "198.51.100.1"},
		{"10.0.0.1:99", []string{"1.1.1.1, 198.51.100.1", "10.2.2.2"}, "198.51.100.1"},
		{"10.0.0.1:99", []string{"198.51.100.1:5000"}, "198.51.100.1"},
		{"10.0.0.1:99", []string{"nonsense"}, "10.0.0.1"},
		{"10.0.0.1:99", []string{"8.8.8.8, unknown"}, "10.0.0.1"},
		{"10.0.0.1:99", nil, "10.0.0.1"},
		{"[::ffff:10.0.0.1]:99", []string{"2001:db8::1"}, "2001:db8::1"},
		{"[fd00::1%eth0]:99", []string{"198.51.100.1"}, "198.51.100.1"},
		{"nonsense", []string{"198.51.100.1"}, "invalid IP"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = x.remote
		for _, h := range x.header {
			r.Header.Add("X-Forwarded-For", h)
		}
		if got := trusted.Client(r).String(); got != x.want {
			t.Errorf("%s %q: %s, want %s", x.remote, x.header, got, x.want)
		}
	}
}
