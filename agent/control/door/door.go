package door

import (
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"scanrelay/configs/limit"
	"scanrelay/configs/secret"
	"scanrelay/configs/serve"
	"scanrelay/configs/wait"
)

// How many wrong passwords an address may send at once and a minute, and all of them
// together.
const (
	guesses    = 10
	allGuesses = 60
)

// strongPassword is from how many characters the right password is taken however many
// wrong ones others send: nobody finds it by guessing, and who guesses must not shut out
// those who know it. scanrelay check warns of shorter ones.
const strongPassword = 16

// Options is what a Door is made of.
type Options struct {
	Password secret.Text // "": nobody signs in, and only this machine looks
	Now      func() time.Time
	Logger   *slog.Logger
}

// Door guards the depot page. Its methods may be called concurrently.
type Door struct {
	o        Options
	hash     [32]byte // of the password
	guessed  *limit.Guesses
	told     wait.Rarely
	cross    *http.CrossOriginProtection
	sessions sessions
}

// New returns a Door; without a clock it has the machine's.
func New(o Options) *Door {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Door{
		o: o, hash: sha256.Sum256([]byte(o.Password.Reveal())), guessed: limit.NewGuesses(guesses, allGuesses),
		told: wait.Rarely{Every: time.Minute}, cross: http.NewCrossOriginProtection(), sessions: sessions{open: map[[32]byte]session{}},
	}
}

// Open reports whether nobody has to sign in.
func (d *Door) Open() bool { return d.o.Password == "" }

// Look lets those through who may look, and gives others to else.
func (d *Door) Look(next, other http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case d.Open() && !from(r).IsLoopback():
			serve.Fail(w, http.StatusForbidden, "without http.password only this machine is answered: give one")
		case d.Open() || d.signedIn(r):
			next(w, r)
		default:
			other(w, r)
		}
	}
}

// Shut is an answer for programs that are not signed in.
func Shut(w http.ResponseWriter, _ *http.Request) {
	serve.Fail(w, http.StatusUnauthorized, "sign in on the depot page first")
}

// LookBasic is Look for a program that has the password.
func (d *Door) LookBasic(next http.HandlerFunc) http.HandlerFunc {
	return d.Look(next, func(w http.ResponseWriter, r *http.Request) {
		_, password, ok := r.BasicAuth()
		status := http.StatusUnauthorized
		if ok {
			status = d.admits(r, secret.Text(password))
		}
		switch status {
		case http.StatusOK:
			next(w, r)
		case http.StatusTooManyRequests:
			tooMany(w)
		default:
			w.Header().Set("WWW-Authenticate", `Basic realm="scanrelay", charset="UTF-8"`)
			serve.Fail(w, status, "this needs basic authentication with http.password")
		}
	})
}

func tooMany(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "60")
	serve.Fail(w, http.StatusTooManyRequests, "too many wrong passwords: try again in a minute")
}

// FormToken is where a request that acts carries what its session's page was given.
const FormToken = "X-Form-Token"

// Act lets those through who have signed in and send, from our own page, its token.
func (d *Door) Act(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, ok := d.Session(r)
		switch {
		case d.Open():
			serve.Fail(w, http.StatusForbidden, "without http.password the page only reads: give one in the agent's configuration")
		case !ok:
			Shut(w, r)
		case d.cross.Check(r) != nil || subtle.ConstantTimeCompare([]byte(token), []byte(r.Header.Get(FormToken))) != 1:
			serve.Fail(w, http.StatusForbidden, "this was not asked for by the depot page: load it again")
		default:
			next(w, r)
		}
	}
}

// admits compares a password. It returns 200, 401 or, after too many wrong ones, 429.
func (d *Door) admits(r *http.Request, password secret.Text) int {
	sent := sha256.Sum256([]byte(password.Reveal()))
	right, now := subtle.ConstantTimeCompare(sent[:], d.hash[:]) == 1, d.o.Now()
	switch at := from(r); {
	case d.Open():
		return http.StatusUnauthorized
	case d.guessed.Shut(at, now), (!right || len(password) < strongPassword) && d.guessed.TooMany(at, now):
		d.tell(at, true)
		return http.StatusTooManyRequests
	case !right:
		d.guessed.Wrong(at, now)
		d.tell(at, false)
		return http.StatusUnauthorized
	}
	return http.StatusOK
}

func (d *Door) tell(at netip.Addr, shut bool) {
	if more, due := d.told.Due(d.o.Now()); due {
		d.o.Logger.Warn("a wrong password was sent to the depot page", "address", at.String(), "shut_out", shut, "more_since_last_line", more)
	}
}

// from is the address of whoever asks.
func from(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return peer.Addr().Unmap().WithZone("")
}
