package callback

import (
	"net/http"
	"net/url"
	"path"
	"time"
)

// maxShownPath is how much of a stranger's path is logged, in bytes.
const maxShownPath = 100

// At serves the callback at a path, and next everything else. Slashes that a proxy
// doubles or adds at the end change nothing: WeChat follows no redirect. A call to
// another path that says it is signed is named in the log, since it is most likely
// WeChat's.
func (h *Handler) At(at string, next http.Handler) http.Handler {
	at = path.Clean(at)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path.Clean("/"+r.URL.Path) == at {
			h.ServeHTTP(w, r)
			return
		}
		if query := r.URL.RawQuery; query != "" {
			h.astray(query, r.URL.Path, at)
		}
		next.ServeHTTP(w, r)
	})
}

// astray logs a signed call to another path, whatever becomes of it there.
func (h *Handler) astray(query, to, at string) {
	p, err := url.ParseQuery(query)
	signed := p.Has("signature") || p.Has("msg_signature")
	if err != nil || !signed || !p.Has("timestamp") || !p.Has("nonce") {
		return
	}
	more, due := h.strayed.Due(time.Now())
	if !due {
		return
	}
	line := "callback: a call that WeChat signed came to another path; enter the callback's in WeChat's console, or mend the proxy"
	if _, err := h.checkSignature(p); err != nil {
		line = "callback: a call that is signed, but not with our token, came to another path than the callback's"
	}
	h.c.Logger.Warn(line, "path", to[:min(len(to), maxShownPath)], "callback_path", at, "not_logged_before", more)
}
