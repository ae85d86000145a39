package demo

import (
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"time"
)

//go:embed page
var pageFiles embed.FS

// handler serves the page, its stream of frames and the button that cuts the
// uplink.
func (h *hub) handler() (http.Handler, error) {
	files, err := fs.Sub(pageFiles, "page")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	mux.HandleFunc("GET /events", h.serveEvents)
	mux.HandleFunc("POST /cut", h.serveCut)
	return guard(mux), nil
}

// guard sets headers: the page loads nothing from anywhere else.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head := w.Header()
		head.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("Referrer-Policy", "no-referrer")
		head.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// writeLimit is how long one frame may take to be written.
const writeLimit = 10 * time.Second

// serveEvents streams frames as server-sent events.
func (h *hub) serveEvents(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(w)
	frames := h.join()
	defer h.leave(frames)
	for {
		select {
		case <-r.Context().Done():
			return
		case b, ok := <-frames:
			if !ok {
				return
			}
			if control.SetWriteDeadline(time.Now().Add(writeLimit)) != nil {
				return
			}
			if _, err := fmt.Fprintf(w, "data: %s\n\n", b); err != nil || control.Flush() != nil {
				return
			}
		}
	}
}

// serveCut cuts the uplink; other sites' pages must not.
func (h *hub) serveCut(w http.ResponseWriter, r *http.Request) {
	if o, err := url.Parse(r.Header.Get("Origin")); err != nil || o.Host != r.Host {
		http.Error(w, "only the demo's own page may cut the uplink", http.StatusForbidden)
		return
	}
	h.cable.Cut(h.cut)
	w.WriteHeader(http.StatusNoContent)
}
