package limit

import (
	"net/netip"
	"testing"
	"time"
)

func TestGuesses(t *testing.T) {
	g, now := NewGuesses(2, 5), time.Unix(1e9, 0)
	a, b, other := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("2001:db8:0:1::1")
	expect := func(at netip.Addr, shut, tooMany bool) {
		t.Helper()
		if g.Shut(at, now) != shut || g.TooMany(at, now) != tooMany {
			t.Errorf("%s: shut %v, too many %v", at, g.Shut(at, now), g.TooMany(at, now))
		}
	}
	g.Wrong(a, now)
	expect(a, false, false)
	g.Wrong(b, now)
	expect(a, true, true) // one home
	expect(other, false, false)
	for i := range 3 {
		g.Wrong(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), now)
	}
	expect(other, false, true)
	now = now.Add(time.Minute)
	expect(a, false, false)
	expect(other, false, false)
}
