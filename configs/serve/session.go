package serve

import (
	"net/http"
	"time"
)

// SetSession gives a browser its session for some time, or takes it with a negative one.
// No script reads the cookie, no other site's page sends it, and with https it goes over
// nothing else.
func SetSession(w http.ResponseWriter, name, value string, life time.Duration, https bool) {
	age := -1
	if life > 0 {
		age = int(life / time.Second)
	}
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: age, HttpOnly: true, Secure: https, SameSite: http.SameSiteStrictMode,
	})
}
