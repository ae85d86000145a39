package central

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"strings"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/uplink/syncapi"
)

// keyring knows the credentials, by keyed hashes only: finding one takes the
// same time whatever was sent, and a dump of memory shows no token.
type keyring struct {
	key    [32]byte
	depots map[[32]byte]scan.DepotID
	ids    map[scan.DepotID]bool
	admin  [32]byte
	open   bool // there is an admin token
}

func newKeyring(c Config) *keyring {
	k := &keyring{depots: map[[32]byte]scan.DepotID{}, ids: map[scan.DepotID]bool{}}
	rand.Read(k.key[:]) // never fails
	for _, d := range c.Depots {
		k.ids[d.ID] = true
		if d.Token != "" {
			k.depots[k.hash(d.Token)] = d.ID
		}
	}
	k.admin, k.open = k.hash(c.AdminToken), c.AdminToken != ""
	return k
}

func (k *keyring) hash(token secret.Text) [32]byte {
	mac := hmac.New(sha256.New, k.key[:])
	mac.Write([]byte(token.Reveal()))
	return [32]byte(mac.Sum(nil))
}

// depot names the depot that a request comes from. status is 200, 401 or 403.
func (k *keyring) depot(r *http.Request) (id scan.DepotID, status int, why string) {
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

// administrator checks the admin token, as a bearer token or, for browsers, as
// the password of basic authentication.
func (k *keyring) administrator(r *http.Request) bool {
	token, ok := bearer(r)
	if _, password, basic := r.BasicAuth(); basic {
		token, ok = secret.Text(password), true
	}
	sum := k.hash(token)
	return k.open && ok && subtle.ConstantTimeCompare(sum[:], k.admin[:]) == 1
}

func bearer(r *http.Request) (secret.Text, bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return secret.Text(strings.TrimSpace(token)), true
}

// needAdmin answers a request that lacks the admin token, and reports whether
// it did.
func (c *Central) needAdmin(w http.ResponseWriter, r *http.Request) bool {
	if c.keys.administrator(r) {
		return false
	}
	if !c.keys.open {
		fail(w, http.StatusForbidden, "closed: no admin_token is configured at the centre")
		return true
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="scanrelay"`)
	fail(w, http.StatusUnauthorized, "this call needs Authorization: Bearer <admin_token>")
	return true
}

// fail answers with a Failure.
func fail(w http.ResponseWriter, status int, why string) {
	writeJSON(w, status, syncapi.Failure{Error: why})
}

// writeJSON answers with v. A client that has gone away is no error of ours.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
}
