package page

import (
	"bytes"
	"context"
	"crypto/rand"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/store/snapshot"
	"scanrelay/uplink/central/audit"
	"scanrelay/uplink/central/caller"
	"scanrelay/uplink/central/fleet"
	"scanrelay/uplink/central/quota"
	"scanrelay/uplink/central/rollout"
	"scanrelay/uplink/central/waiting"
	"scanrelay/uplink/central/waybills"
	"scanrelay/uplink/syncapi"
)

//go:embed page.html
var files embed.FS

// Options is what the page shows, and to whom.
type Options struct {
	Keys     *caller.Keyring
	Version  string
	Started  time.Time
	Now      func() time.Time
	Logger   *slog.Logger
	Snapshot interface {
		Stats(ctx context.Context) (snapshot.Stats, error)
	}
	Tokens interface {
		Current(ctx context.Context) (secret.Text, syncapi.WeChatView, error)
	}
	Shares interface {
		Total(ctx context.Context) (float64, error)
	}
	Waiting interface {
		Counts(ctx context.Context) (waiting.Counts, error)
	}
	Quotas interface {
		Of(api string) (quota.View, bool)
	}
	// Depots is the fleet, judged; it may be a moment old, and is not changed.
	Depots func(ctx context.Context) ([]fleet.Depot, error)
	// Depot is one of them; nil: there is none.
	Depot func(ctx context.Context, id scan.DepotID) (*fleet.Depot, error)
	// Waybill is all that is known of one; nil: it was never heard of.
	Waybill func(ctx context.Context, number string, reveal bool) (*waybills.View, error)
	// Reveal notes that somebody is shown the personal data of a waybill.
	Reveal func(r *http.Request, who, number string) error
	Audit  *audit.Log
	// Rollout is the one that is on, or was the last; nil: there was none.
	Rollout func(ctx context.Context) (*rollout.View, error)
	// Backup tells why there is no new copy of the store, and since when; "": there is.
	Backup func() (why string, since time.Time)
	// Events tells how many events were answered so since the start.
	Events func(syncapi.Result) uint64
}

// Page is GET /, GET /depots/{id}, GET /waybills, GET /audit, and how a browser signs in and out.
type Page struct {
	o    Options
	tmpl *template.Template
}

// New reads the page's template.
func New(o Options) (*Page, error) {
	t, err := template.New("page.html").Funcs(template.FuncMap{
		"stamp": stamp, "unix": func(n int64) time.Time { return time.Unix(n, 0) }, "epoch": syncapi.FormatEpoch, "word": rollout.Word, "span": span, "mib": func(n int64) string { return fmt.Sprintf("%.1f", float64(n)/(1<<20)) },
	}).ParseFS(files, "page.html")
	if err != nil {
		return nil, fmt.Errorf("read fleet page: %w", err)
	}
	return &Page{o, t}, nil
}

// ServeHTTP shows the page to operators who may look, and others where to sign in.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch o, status := p.o.Keys.Looker(r); status {
	case http.StatusOK:
		if !o.Role.May(caller.Viewer) {
			http.Error(w, "the fleet page needs the role viewer, "+o.Name+" has "+string(o.Role), http.StatusForbidden)
			return
		}
		need, v, err := caller.Viewer, (*view)(nil), error(nil)
		switch {
		case r.URL.Path == "/audit":
			need = caller.Admin
		case waybills.Reveals(r):
			need = caller.Actor
		}
		if !o.Role.May(need) {
			http.Error(w, "this needs the role "+string(need)+", "+o.Name+" has "+string(o.Role), http.StatusForbidden)
			return
		}
		switch r.URL.Path {
		case "/waybills":
			v, err = p.waybill(r, o)
		case "/audit":
			v, err = p.audit(r)
		default:
			v, err = p.collect(r)
		}
		if err == nil && v.Wanted != "" && v.One == nil {
			http.Error(w, "no such depot is registered, configured or was heard of", http.StatusNotFound)
			return
		}
		v.FormToken, _ = p.o.Keys.FormToken(r)
		p.write(w, r, status, v, err)
	case http.StatusForbidden:
		http.Error(w, "closed: neither admin_token nor operators are configured", status)
	case http.StatusTooManyRequests:
		tooMany(w)
	default:
		p.door(w, r, status, false)
	}
}

func tooMany(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "60")
	http.Error(w, "too many wrong tokens from this address: try again in a minute", http.StatusTooManyRequests)
}

// door asks for an operator's token.
func (p *Page) door(w http.ResponseWriter, r *http.Request, status int, wrong bool) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="scanrelay"`)
	p.write(w, r, status, &view{Door: true, Wrong: wrong}, nil)
}

// maxForm bounds what a browser sends.
const maxForm = 4 << 10

// SignIn is POST /signin: an operator's token becomes the browser's session.
func (p *Page) SignIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	switch _, status := p.o.Keys.SignIn(w, r, secret.Text(strings.TrimSpace(r.PostFormValue("token"))), p.o.Keys.Proxies().HTTPS(r)); status {
	case http.StatusOK:
		http.Redirect(w, r, "/", http.StatusSeeOther)
	case http.StatusForbidden:
		http.Error(w, "closed: neither admin_token nor operators are configured", status)
	case http.StatusTooManyRequests:
		tooMany(w)
	default:
		p.door(w, r, status, true)
	}
}

// SignOut is POST /signout.
func (p *Page) SignOut(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if !p.o.Keys.SignOut(w, r, r.PostFormValue("form_token"), p.o.Keys.Proxies().HTTPS(r)) {
		http.Error(w, "not signed in, or not asked for by the fleet page", http.StatusForbidden)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (p *Page) write(w http.ResponseWriter, r *http.Request, status int, v *view, err error) {
	nonce := make([]byte, 12)
	rand.Read(nonce) // never fails
	v.Lang, v.Nonce, v.Path = language(r), hex.EncodeToString(nonce), r.URL.Path
	v.T = texts[v.Lang]
	var out bytes.Buffer
	if err == nil {
		err = p.tmpl.Execute(&out, v)
	}
	if err != nil {
		p.o.Logger.Error("write fleet page", "error", err)
		http.Error(w, "the page cannot be written, see the log", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", fmt.Sprintf(
		"default-src 'none'; style-src 'nonce-%s'; script-src 'nonce-%s'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
		v.Nonce, v.Nonce))
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes())
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format(time.RFC3339)
}

// span is a number of seconds for people.
func span(seconds int64) string {
	switch d := time.Duration(min(seconds, 1<<32)) * time.Second; {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", seconds)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	default:
		return fmt.Sprintf("%d d", d/(24*time.Hour))
	}
}

// language is the one that the reader asks for; Chinese where the browser
// prefers it.
func language(r *http.Request) string {
	if lang := r.URL.Query().Get("lang"); texts[lang] != nil {
		return lang
	}
	first, _, _ := strings.Cut(r.Header.Get("Accept-Language"), ",")
	if strings.HasPrefix(strings.ToLower(strings.TrimSpace(first)), "zh") {
		return "zh"
	}
	return "en"
}
