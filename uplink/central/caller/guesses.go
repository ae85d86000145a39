package caller

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/configs/limit"
	"scanrelay/configs/wait"
)

// How many wrong credentials a client address may send at once and a minute. An
// agent with a wrong token sends twelve, and several may stand behind one address.
const (
	adminGuesses = 10
	depotGuesses = 120
	// allGuesses is how many all addresses may send together, at once and a minute.
	allGuesses = 3000
)

// Guesses bounds, counts and tells of wrong credentials of one kind.
type Guesses struct {
	kind    string
	o       *Options
	proxies func() Proxies
	bound   *limit.Guesses
	told    wait.Rarely
	counter *metrics.Counter
}

func (k *Keyring) newGuesses(kind string, most int) *Guesses {
	return &Guesses{
		kind: kind, o: &k.o, proxies: k.Proxies, told: wait.Rarely{Every: time.Minute},
		bound:   limit.NewGuesses(most, allGuesses),
		counter: k.o.Metrics.GetOrCreateCounter(`scanrelay_central_wrong_credentials_total{kind="` + kind + `"}`),
	}
}

// Guesses bounds those of another kind, as depots' are.
func (k *Keyring) Guesses(kind string) *Guesses { return k.newGuesses(kind, depotGuesses) }

// shut reports whether the client has sent so many that none of its is looked at.
func (g *Guesses) shut(r *http.Request) bool {
	full := g.bound.Shut(g.proxies().Client(r), g.o.Now())
	if full {
		g.tell(r, true)
	}
	return full
}

// TooMany reports whether a wrong one is one too many: of its client, or of all.
func (g *Guesses) TooMany(r *http.Request) bool {
	full := g.bound.TooMany(g.proxies().Client(r), g.o.Now())
	if full {
		g.tell(r, true)
	}
	return full
}

// Wrong notes a wrong one.
func (g *Guesses) Wrong(r *http.Request) {
	g.bound.Wrong(g.proxies().Client(r), g.o.Now())
	g.tell(r, false)
}

func (g *Guesses) tell(r *http.Request, shut bool) {
	g.counter.Inc()
	if more, due := g.told.Due(g.o.Now()); due {
		g.o.Logger.Warn("a wrong credential was sent", "kind", g.kind, "address", g.proxies().Client(r).String(),
			"shut_out", shut, "more_since_last_line", more, "hint", "whoever it is may be guessing; behind a proxy name it in trusted_proxies")
	}
}

// Options is what a Keyring is made of.
type Options struct {
	Credentials
	Proxies Proxies
	Now     func() time.Time
	Logger  *slog.Logger
	Metrics *metrics.Set
}
