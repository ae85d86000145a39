package broker

import (
	"crypto/sha256"
	"sync"
	"time"

	"scanrelay/configs/limit"
)

// guesses bounds how many passwords are tried for a user from one address. A
// password that was wrong before is no new guess: devices that were not told of a
// new password try the old one again and again, and shut nobody else out.
type guesses struct {
	each *limit.Keyed // of new passwords that may be tried

	mu    sync.Mutex
	known map[[sha256.Size]byte]struct{} // wrong ones, with who tried them; guarded by mu
}

// Bounds of guesses.
const (
	guessesAtOnce    = 10
	guessesPerSecond = 0.1
	maxWrong         = 1024
)

func newGuesses() *guesses {
	return &guesses{each: limit.New(guessesPerSecond, guessesAtOnce, maxLimited), known: make(map[[sha256.Size]byte]struct{})}
}

// may reports whether a password may be tried.
func (g *guesses) may(who string, sum [sha256.Size]byte, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, again := g.known[tried(who, sum)]; again {
		return true
	}
	return g.each.Of(who).TokensAt(now) >= 1
}

// wrong notes that a password was wrong.
func (g *guesses) wrong(who string, sum [sha256.Size]byte, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := tried(who, sum)
	if _, again := g.known[key]; again {
		return
	}
	g.each.Of(who).AllowN(now, 1)
	if len(g.known) >= maxWrong {
		clear(g.known)
	}
	g.known[key] = struct{}{}
}

func tried(who string, sum [sha256.Size]byte) [sha256.Size]byte {
	return sha256.Sum256(append(sum[:], who...))
}
