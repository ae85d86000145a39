package web

import (
	"bytes"
	"crypto/rand"
	"embed"
	"net/http"
	"path"
	"strconv"
)

//go:embed *.html *.css *.js
var files embed.FS

// types are the kinds of files that there are.
var types = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
}

// policy lets nothing run but what this server sends, and nobody else show it.
const policy = "default-src 'none'; connect-src 'self'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; "

// Serve is GET / of somebody who may look; formToken, "" where nobody signs in, is what
// the page sends to act.
func Serve(w http.ResponseWriter, formToken string) {
	w.Header().Set("Content-Security-Policy", policy+"style-src 'self'; script-src 'self'")
	send(w, "page.html", http.StatusOK, "form_token", formToken)
}

// Asset is a further file of the page.
func Asset(w http.ResponseWriter, r *http.Request) {
	send(w, path.Base(r.URL.Path), http.StatusOK)
}

// Door is the form with which somebody signs in; status tells how the last try ended.
func Door(w http.ResponseWriter, status int) {
	nonce := rand.Text()
	w.Header().Set("Content-Security-Policy", policy+"style-src 'nonce-"+nonce+"'; script-src 'nonce-"+nonce+"'")
	send(w, "door.html", status, "nonce", nonce, "state", strconv.Itoa(status))
}

// send answers with a file; values go into the places of their names.
func send(w http.ResponseWriter, name string, status int, values ...string) {
	text, err := files.ReadFile(name)
	if err != nil {
		http.NotFound(w, nil)
		return
	}
	for i := 0; i < len(values); i += 2 {
		text = bytes.ReplaceAll(text, []byte("{{"+values[i]+"}}"), []byte(values[i+1]))
	}
	w.Header().Set("Content-Type", types[path.Ext(name)])
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Cache-Control", "no-cache, no-store")
	w.WriteHeader(status)
	_, _ = w.Write(text) // if the reader is gone, nobody is left to tell
}
