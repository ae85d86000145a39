package door

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
	"sync"
	"time"

	"scanrelay/configs/secret"
	"scanrelay/configs/serve"
)

const (
	// sessionLife is how long a browser stays signed in, and maxSessions how many are:
	// one more ends the oldest.
	sessionLife = 12 * time.Hour
	maxSessions = 32
	// cookieName is another than the centre's, which may be on the same machine: a
	// browser tells no ports apart.
	cookieName = "scanrelay_depot"
	maxForm    = 4 << 10
)

// sessions are those of browsers that are signed in, by the hash of their text: what is
// looked up says nothing of what was nearly right.
type sessions struct {
	mu   sync.Mutex
	open map[[32]byte]session // guarded by mu
}

type session struct {
	until     time.Time
	formToken string
}

// begin makes a session and returns its text.
func (s *sessions) begin(now time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	oldest, least := [32]byte{}, time.Time{}
	for key, one := range s.open {
		if !now.Before(one.until) {
			delete(s.open, key)
		} else if least.IsZero() || one.until.Before(least) {
			oldest, least = key, one.until
		}
	}
	if len(s.open) >= maxSessions {
		delete(s.open, oldest)
	}
	text := rand.Text()
	s.open[sha256.Sum256([]byte(text))] = session{now.Add(sessionLife), rand.Text()}
	return text
}

func (s *sessions) of(text string, now time.Time) (session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one, ok := s.open[sha256.Sum256([]byte(text))]
	return one, ok && now.Before(one.until)
}

func (s *sessions) end(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, sha256.Sum256([]byte(text)))
}

// Session is what a page of the browser's session must send to act; ok is false without
// a session.
func (d *Door) Session(r *http.Request) (formToken string, ok bool) {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return "", false
	}
	one, ok := d.sessions.of(cookie.Value, d.o.Now())
	return one.formToken, ok
}

func (d *Door) signedIn(r *http.Request) bool { _, ok := d.Session(r); return ok }

// SignIn is POST /signin with the form's password. wrong shows the form again.
func (d *Door) SignIn(wrong func(w http.ResponseWriter, r *http.Request, status int)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := d.cross.Check(r); err != nil {
			serve.Fail(w, http.StatusForbidden, "another site's page sent this")
			return
		}
		if status := d.admits(r, secret.Text(strings.TrimSpace(r.PostFormValue("password")))); status != http.StatusOK {
			wrong(w, r, status)
			return
		}
		if cookie, err := r.Cookie(cookieName); err == nil {
			d.sessions.end(cookie.Value)
		}
		d.o.Logger.Info("signed in to the depot page", "address", from(r).String())
		serve.SetSession(w, cookieName, d.sessions.begin(d.o.Now()), sessionLife, r.TLS != nil)
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
}

// SignOut is POST /signout with the form's token.
func (d *Door) SignOut(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	token, ok := d.Session(r)
	if !ok || subtle.ConstantTimeCompare([]byte(token), []byte(r.PostFormValue("form_token"))) != 1 {
		serve.Fail(w, http.StatusForbidden, "not signed in, or not asked for by the depot page")
		return
	}
	cookie, _ := r.Cookie(cookieName) // it has a session
	d.sessions.end(cookie.Value)
	serve.SetSession(w, cookieName, "", -1, r.TLS != nil)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
