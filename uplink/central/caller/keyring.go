package caller

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"net/http"
	"strings"
	"sync/atomic"

	"scanrelay/agent/scan"
	"scanrelay/configs/limit"
	"scanrelay/configs/secret"
)

// Sessions knows the depots that were enrolled, and those that were revoked.
type Sessions interface {
	// Depot tells whose session a token is; false: nobody's, or no longer.
	Depot(ctx context.Context, token secret.Text) (scan.DepotID, bool, error)
	// Barred reports whether a depot is let in by nothing.
	Barred(ctx context.Context, id scan.DepotID) (bool, error)
}

// maxTold is how many depots are told apart by what they make us write.
const maxTold = 100_000

// Keyring knows who may call, and as whom. Its methods may be called concurrently.
type Keyring struct {
	o        Options
	now      atomic.Pointer[credentials]
	proxies  atomic.Pointer[Proxies]
	sessions Sessions // nil: no depot is enrolled
	secret   []byte   // of the centre

	guessed, guessedDepot *Guesses
	lines                 *limit.Keyed // bounds what one depot can make us write
}

// NewKeyring takes the credentials.
func NewKeyring(o Options) *Keyring {
	k := &Keyring{o: o, lines: limit.New(1.0/60, 10, maxTold), secret: []byte(rand.Text())}
	k.Set(o.Credentials, o.Proxies)
	k.guessed, k.guessedDepot = k.newGuesses("admin", adminGuesses), k.newGuesses("depot", depotGuesses)
	return k
}

// Set puts others in the place of the credentials and proxies.
func (k *Keyring) Set(c Credentials, p Proxies) {
	k.now.Store(newCredentials(c))
	k.proxies.Store(&p)
}

// Know makes the sessions known, and a secret that all processes of the centre have,
// before the first call.
func (k *Keyring) Know(s Sessions, secret []byte) { k.sessions, k.secret = s, secret }

// Proxies are those that are trusted now.
func (k *Keyring) Proxies() Proxies { return *k.proxies.Load() }

// Static reports whether a depot stands in the configuration.
func (k *Keyring) Static(id scan.DepotID) bool { return k.now.Load().ids[id] }

// MayTell bounds the lines that are written about one depot's doings.
func (k *Keyring) MayTell(id string) bool { ok, _ := k.lines.Allow(id, k.o.Now()); return ok }

// strongToken is from how many characters a token is taken whatever else comes from
// its address: nobody finds it by guessing, and who guesses from where depots come
// from must not shut out the fleet. scanrelay check warns of shorter ones.
const strongToken = 16

// By is how a depot showed who it is.
type By string

// The ways.
const (
	ByStatic  By = "static"  // a token or certificate of the configuration
	BySession By = "session" // which its own key has made
)

// Depot names the depot that a request comes from. status is 200, 401, 403, 503 or,
// after too many wrong tokens of its address, 429.
func (k *Keyring) Depot(r *http.Request) (id scan.DepotID, by By, status int, why string) {
	c := k.now.Load()
	byToken, by, hasToken, known := scan.DepotID(""), ByStatic, false, false
	if token, ok := bearer(r); ok {
		hasToken = true
		var err error
		if byToken, by, known, err = k.owner(r.Context(), c, token); err != nil {
			return "", by, http.StatusServiceUnavailable, "the centre cannot read its store now"
		}
		if (!known || len(token) < strongToken) && k.guessedDepot.TooMany(r) {
			return "", by, http.StatusTooManyRequests, "too many wrong tokens from this address: try again in a minute"
		}
		if !known && !isSession(token) { // which nobody guesses, and every depot has an old one of
			k.guessedDepot.Wrong(r)
		}
	}
	byCert, hasCert, why := c.certificate(r)
	switch {
	case hasToken && !known:
		return "", by, http.StatusUnauthorized, "unknown depot token, or a session that has ended"
	case hasCert && why != "":
		return "", by, http.StatusForbidden, why
	case hasToken && hasCert && byToken != byCert:
		return "", by, http.StatusForbidden, "the token and the client certificate name different depots"
	case hasToken:
		id = byToken
	case hasCert:
		id = byCert
	default:
		return "", by, http.StatusUnauthorized, "no credential: send Authorization: Bearer <session or depot token>"
	}
	if k.sessions != nil && by == ByStatic {
		switch barred, err := k.sessions.Barred(r.Context(), id); {
		case err != nil:
			return "", by, http.StatusServiceUnavailable, "the centre cannot read its store now"
		case barred:
			return "", by, http.StatusForbidden, "this depot is revoked, or its registration cannot be read here"
		}
	}
	return id, by, http.StatusOK, ""
}

// owner tells whose a token is.
func (k *Keyring) owner(ctx context.Context, c *credentials, token secret.Text) (id scan.DepotID, by By, known bool, err error) {
	if k.sessions != nil && isSession(token) {
		id, known, err = k.sessions.Depot(ctx, token)
		return id, BySession, known, err
	}
	id, known = c.depots[c.hash(token)]
	return id, ByStatic, known, nil
}

// isSession reports whether a token has the form of a session.
func isSession(token secret.Text) bool { return strings.HasPrefix(token.Reveal(), SessionPrefix) }

// SessionPrefix begins every session, and no token.
const SessionPrefix = "srs1."

// certificate returns the depot that a verified client certificate names, and why it
// names none.
func (c *credentials) certificate(r *http.Request) (id scan.DepotID, has bool, why string) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(r.TLS.PeerCertificates) == 0 {
		return "", false, ""
	}
	cert := r.TLS.PeerCertificates[0]
	if id, ok := c.pins[fingerprint(cert)]; ok {
		return id, true, ""
	}
	id = scan.DepotID(cert.Subject.CommonName)
	switch {
	case !c.ids[id]:
		return id, true, "the client certificate names no depot of this centre"
	case c.pinned[id]:
		return id, true, "the client certificate is none of those that cert_sha256 names for this depot"
	}
	return id, true, ""
}

func fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

func bearer(r *http.Request) (secret.Text, bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return secret.Text(strings.TrimSpace(token)), true
}
