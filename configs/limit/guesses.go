package limit

import (
	"net/netip"
	"time"
)

// maxGuessers is how many addresses are remembered.
const maxGuessers = 100_000

// Guesses bounds wrong credentials: those of an address, and those of all together.
type Guesses struct{ each, all *Keyed }

// NewGuesses lets an address send so many at once and a minute, and all addresses
// together so many.
func NewGuesses(each, all int) *Guesses {
	return &Guesses{New(float64(each)/60, each, maxGuessers), New(float64(all)/60, all, 1)}
}

// Shut reports whether an address has sent so many that nothing of it is looked at.
func (g *Guesses) Shut(from netip.Addr, now time.Time) bool {
	return g.each.Of(AddressKey(from)).TokensAt(now) < 1
}

// TooMany reports whether a wrong one is one too many: of its address, or of all.
func (g *Guesses) TooMany(from netip.Addr, now time.Time) bool {
	return g.Shut(from, now) || g.all.Of("").TokensAt(now) < 1
}

// Wrong notes a wrong one.
func (g *Guesses) Wrong(from netip.Addr, now time.Time) {
	g.each.Allow(AddressKey(from), now)
	g.all.Allow("", now)
}

// AddressKey is what an address is limited by: a home has a whole /64.
func AddressKey(at netip.Addr) string {
	if p, err := at.Prefix(64); err == nil && at.Is6() {
		return p.String()
	}
	return at.String()
}
