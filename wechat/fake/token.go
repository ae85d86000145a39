package fake

import (
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Rules of stable_token (wechat/README.md, Access token).
const (
	renewBefore  = 5 * time.Minute
	forceApart   = 30 * time.Second
	forcesPerDay = 20
	tokenLength  = 136
)

// tokenBook knows every token that was issued and not voided. Its owner's lock guards it.
type tokenBook struct {
	life   time.Duration
	latest string
	ends   map[string]time.Time // of those not voided
	forced []time.Time
}

// current returns the token of normal mode: the same until 5 minutes before
// its end, then a new one, while the old one lives on to its own end.
func (b *tokenBook) current(now time.Time, rng *rand.Rand) (string, time.Duration) {
	if left := b.ends[b.latest].Sub(now); b.latest != "" && left > renewBefore {
		return b.latest, left
	}
	return b.issue(now, rng), b.life
}

func (b *tokenBook) issue(now time.Time, rng *rand.Rand) string {
	b.latest = newTokenText(rng)
	b.ends[b.latest] = now.Add(b.life)
	return b.latest
}

// force kills all tokens at once and issues another. The code is not 0 when it
// was asked for too often.
func (b *tokenBook) force(now time.Time, rng *rand.Rand) (string, int) {
	today := slices.DeleteFunc(slices.Clone(b.forced), func(t time.Time) bool { return !beijingDay(t).Equal(beijingDay(now)) })
	if len(today) >= forcesPerDay {
		return "", 45009
	}
	if n := len(b.forced); n > 0 && now.Sub(b.forced[n-1]) < forceApart {
		return "", 45011
	}
	b.forced = append(b.forced, now)
	return b.rotate(now, rng), 0
}

// rotate voids all tokens and issues another.
func (b *tokenBook) rotate(now time.Time, rng *rand.Rand) string {
	clear(b.ends)
	return b.issue(now, rng)
}

// check returns 0 for a valid token, else the errcode.
func (b *tokenBook) check(token string, now time.Time) int {
	if token == "" {
		return 41001
	}
	if end, ok := b.ends[token]; ok {
		if now.Before(end) {
			return 0
		}
		return 42001
	}
	if strings.Trim(token, tokenAlphabet) != "" { // not even the form of one
		return 40014
	}
	return 40001
}

const tokenAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

func newTokenText(rng *rand.Rand) string {
	b := []byte("98_")
	for len(b) < tokenLength {
		b = append(b, tokenAlphabet[rng.IntN(len(tokenAlphabet))])
	}
	return string(b)
}

func (s *Server) checkToken(token string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tokens.check(token, s.o.Now())
}

// RotateToken voids the token at once and issues another, as when somebody
// else refreshed it by force.
func (s *Server) RotateToken() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens.rotate(s.o.Now(), s.rng)
}

func (s *Server) stableToken(body []byte) answer {
	o, ok := readObject(body)
	if !ok {
		return refuse(47001, "the body is no JSON object")
	}
	grant, appid, secret := o.text("grant_type"), o.text("appid"), o.text("secret")
	force := o.truth("force_refresh")
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case appid == "":
		return refuse(41002, "appid is missing")
	case secret == "":
		return refuse(41004, "secret is missing")
	case grant != "client_credential":
		return refuse(40002, "grant_type is %q", grant)
	case o.wrong() != "":
		return refuse(47001, "%s", o.wrong())
	case appid != s.o.AppID:
		return refuse(40013, "appid is another")
	case secret != s.o.Secret:
		return refuse(40125, "secret is another")
	}
	now := s.o.Now()
	if !force {
		token, left := s.tokens.current(now, s.rng)
		return tokenAnswer(token, left)
	}
	token, code := s.tokens.force(now, s.rng)
	if code != 0 {
		return refuse(code, "force_refresh too often")
	}
	return tokenAnswer(token, s.tokens.life)
}

func tokenAnswer(token string, left time.Duration) answer {
	return answer{fields: map[string]any{"access_token": token, "expires_in": int64(left / time.Second)}}
}
