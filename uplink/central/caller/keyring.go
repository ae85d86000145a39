package caller

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/configs/serve"
)

// Depot is a depot's static credential. Without a token it needs a certificate.
type Depot struct {
	ID    scan.DepotID
	Token secret.Text
}

// Keyring knows the credentials of the depots and the administrator.
type Keyring struct {
	key    [32]byte
	depots map[[32]byte]scan.DepotID
	ids    map[scan.DepotID]bool
	admin  [32]byte
	open   bool // there is an admin token
}

// NewKeyring takes the depots' credentials; without an admin token nobody is an
// administrator.
func NewKeyring(depots []Depot, admin secret.Text) *Keyring {
	k := &Keyring{depots: map[[32]byte]scan.DepotID{}, ids: map[scan.DepotID]bool{}, open: admin != ""}
	rand.Read(k.key[:]) // never fails
	for _, d := range depots {
		k.ids[d.ID] = true
		if d.Token != "" {
			k.depots[k.hash(d.Token)] = d.ID
		}
	}
	k.admin = k.hash(admin)
	return k
}

func (k *Keyring) hash(token secret.Text) [32]byte {
	mac := hmac.New(sha256.New, k.key[:])
	mac.Write([]byte(token.Reveal()))
	return [32]byte(mac.Sum(nil))
}

// Depot names the depot that a request comes from. status is 200, 401 or 403.
func (k *Keyring) Depot(r *http.Request) (id scan.DepotID, status int, why string) {
	byToken, hasToken, known := scan.DepotID(""), false, false
	if token, ok := bearer(r); ok {
		hasToken = true
		byToken, known = k.depots[k.hash(token)]
	}
	byCert, hasCert := certificate(r)
	switch {
	case hasToken && !known:
		return "", http.StatusUnauthorized, "unknown depot token"
	case hasCert && !k.ids[byCert]:
		return "", http.StatusForbidden, "the client certificate names no depot of this centre"
	case hasToken && hasCert && byToken != byCert:
		return "", http.StatusForbidden, "the token and the client certificate name different depots"
	case hasToken:
		return byToken, http.StatusOK, ""
	case hasCert:
		return byCert, http.StatusOK, ""
	}
	return "", http.StatusUnauthorized, "no credential: send Authorization: Bearer <depot token>"
}

// certificate returns the depot that a verified client certificate names.
func certificate(r *http.Request) (scan.DepotID, bool) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(r.TLS.PeerCertificates) == 0 {
		return "", false
	}
	return scan.DepotID(r.TLS.PeerCertificates[0].Subject.CommonName), true
}

// Admin is 200 for the admin token, as a bearer token or, for browsers, as the
// password of basic authentication; else 401, or 403 where there is none.
func (k *Keyring) Admin(r *http.Request) int {
	token, ok := bearer(r)
	if _, password, basic := r.BasicAuth(); basic {
		token, ok = secret.Text(password), true
	}
	sum := k.hash(token)
	switch {
	case !k.open:
		return http.StatusForbidden
	case !ok || subtle.ConstantTimeCompare(sum[:], k.admin[:]) != 1:
		return http.StatusUnauthorized
	}
	return http.StatusOK
}

// Admins lets only administrators through to next.
func (k *Keyring) Admins(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch status := k.Admin(r); status {
		case http.StatusOK:
			next(w, r)
		case http.StatusForbidden:
			serve.Fail(w, status, "closed: no admin_token is configured at the centre")
		default:
			w.Header().Set("WWW-Authenticate", `Bearer realm="scanrelay"`)
			serve.Fail(w, status, "this call needs Authorization: Bearer <admin_token>")
		}
	}
}

func bearer(r *http.Request) (secret.Text, bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return secret.Text(strings.TrimSpace(token)), true
}
