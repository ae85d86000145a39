package control

import (
	"bytes"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"

	"scanrelay/agent/control/door"
	"scanrelay/agent/control/web"
)

// Public returns the handler for TCP: it answers only to hosts it has, and beside bare
// health only to whom the door lets in.
func Public(o Options) http.Handler {
	d := door.New(door.Options{Password: o.Password, Logger: o.Logger})
	l := &local{Options: o, masked: true}
	mux := http.NewServeMux()
	look := func(pattern string, h http.HandlerFunc) { mux.HandleFunc(pattern, d.Look(h, door.Shut)) }
	mux.HandleFunc("GET /healthz", probe(o.Live))
	mux.HandleFunc("GET /readyz", probe(o.Ready))
	mux.HandleFunc("GET /metrics", d.LookBasic(func(w http.ResponseWriter, _ *http.Request) {
		var b bytes.Buffer
		o.Metrics(&b)
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write(b.Bytes()) // if the reader is gone, nobody is left to tell
	}))
	mux.HandleFunc("POST /signin", d.SignIn(func(w http.ResponseWriter, _ *http.Request, status int) { web.Door(w, status) }))
	mux.HandleFunc("POST /signout", d.SignOut)
	mux.HandleFunc("GET /{$}", d.Look(func(w http.ResponseWriter, r *http.Request) {
		token, _ := d.Session(r)
		web.Serve(w, token)
	}, func(w http.ResponseWriter, _ *http.Request) { web.Door(w, http.StatusOK) }))
	for _, name := range []string{"page.css", "page.js", "now.js", "lists.js", "map.js"} {
		look("GET /"+name, web.Asset)
	}
	l.pageAPI(mux, d)
	if o.Desk != nil {
		for call, h := range o.Desk.Calls() {
			method, name, _ := strings.Cut(call, " ")
			if method == http.MethodGet {
				h = d.Look(h, door.Shut)
			} else {
				h = d.Act(h)
			}
			mux.HandleFunc(method+" /api/map/"+name, h)
		}
	}
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
