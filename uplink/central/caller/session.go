package caller

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"scanrelay/configs/secret"
	"scanrelay/configs/serve"
)

const (
	// sessionLife is how long a browser stays signed in.
	sessionLife   = 12 * time.Hour
	sessionCookie = "scanrelay_session"
)

// SignIn gives a browser that sent an operator's token a session, with which it may
// look. status is what [Keyring.Looker]'s is.
//
// A session is its end, the operator's name and a random text under a MAC whose key
// is made of the operator's token and the centre's secret: every process of a centre
// knows it, another token, or none, ends it, and nobody tries tokens by it.
func (k *Keyring) SignIn(w http.ResponseWriter, r *http.Request, token secret.Text, https bool) (o Operator, status int) {
	o, status = k.admits(r, token, token != "")
	if status == http.StatusOK && !o.Role.May(Viewer) {
		return o, http.StatusUnauthorized
	}
	if known := k.now.Load().names[o.Name]; status == http.StatusOK && known != nil {
		name := base64.RawURLEncoding.EncodeToString([]byte(o.Name))
		text := strconv.FormatInt(k.o.Now().Add(sessionLife).Unix(), 10) + "." + name + "." + rand.Text()
		serve.SetSession(w, sessionCookie, text+"."+k.sign(known, "session", text), sessionLife, https)
	}
	return o, status
}

// SignOut ends the browser's session, if the form carries the session's token.
func (k *Keyring) SignOut(w http.ResponseWriter, r *http.Request, formToken string, https bool) bool {
	own, ok := k.FormToken(r)
	if !ok || !hmac.Equal([]byte(own), []byte(formToken)) {
		return false
	}
	serve.SetSession(w, sessionCookie, "", -1, https)
	return true
}

// FormToken is what a form of the signed-in browser must carry; ok is false
// without a session.
func (k *Keyring) FormToken(r *http.Request) (token string, ok bool) {
	_, token, ok = k.browser(r)
	return token, ok
}

// browser is whose session a browser sent, and what its forms must carry.
func (k *Keyring) browser(r *http.Request) (o Operator, formToken string, ok bool) {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return o, "", false
	}
	last := strings.LastIndexByte(cookie.Value, '.')
	text, mac := cookie.Value[:max(0, last)], cookie.Value[last+1:]
	end, rest, _ := strings.Cut(text, ".")
	encoded, _, _ := strings.Cut(rest, ".")
	name, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return o, "", false
	}
	known := k.now.Load().names[string(name)]
	if known == nil || !hmac.Equal([]byte(mac), []byte(k.sign(known, "session", text))) {
		return o, "", false
	}
	if until, err := strconv.ParseInt(end, 10, 64); err != nil || k.o.Now().Unix() >= until {
		return o, "", false
	}
	return Operator{Name: known.name, Role: known.role}, k.sign(known, "form", text), true
}

func (k *Keyring) sign(o *operator, purpose, text string) string {
	mac := hmac.New(sha256.New, slices.Concat(o.session[:], k.secret))
	mac.Write([]byte(purpose + "\x00" + text))
	return hex.EncodeToString(mac.Sum(nil))
}
