package control

import (
	"bytes"
	_ "embed"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"

	"scanrelay/configs/serve"
)

//go:embed page.html
var page []byte

// Public returns the handler for TCP: it only reads, and answers only to hosts
// it has.
func Public(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", probe(o.Live))
	mux.HandleFunc("GET /readyz", probe(o.Ready))
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		var b bytes.Buffer
		o.Metrics(&b)
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write(b.Bytes()) // if the reader is gone, nobody is left to tell
	})
	mux.HandleFunc("GET /api/status", func(w http.ResponseWriter, _ *http.Request) { serve.JSON(w, http.StatusOK, o.Status()) })
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy",
			"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'")
		w.Header().Set("Referrer-Policy", "no-referrer")
		_, _ = w.Write(page)
	})
	return hosts(o.Hosts, secured(mux))
}

// probe answers 200 ok, or 503 and why not.
func probe(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if err := check(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(err.Error() + "\n"))
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	}
}

func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("X-Frame-Options", "DENY")
		next.ServeHTTP(w, r)
	})
}

// hosts lets a request through whose Host is an address, localhost, this
// machine's name or one of names. Any other name could be a stranger's that was
// made to point here (DNS rebinding).
func hosts(names []string, next http.Handler) http.Handler {
	known := map[string]bool{"localhost": true}
	if name, err := os.Hostname(); err == nil {
		known[strings.ToLower(name)] = true
		short, _, _ := strings.Cut(name, ".")
		known[strings.ToLower(short)] = true
	}
	for _, n := range names {
		known[strings.ToLower(n)] = true
	}
	delete(known, "")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !hostAllowed(r.Host, known) {
			http.Error(w, "this host name is not the agent's; call it by address, as localhost or by the machine's name", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func hostAllowed(host string, known map[string]bool) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return known[strings.ToLower(strings.TrimSuffix(host, "."))]
}
