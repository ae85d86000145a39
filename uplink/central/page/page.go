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
	"scanrelay/uplink/central/caller"
	"scanrelay/uplink/central/presence"
	"scanrelay/uplink/central/quota"
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
		Depots(ctx context.Context) ([]snapshot.Depot, error)
	}
	Tokens interface {
		Current(ctx context.Context) (secret.Text, syncapi.WeChatView, error)
	}
	Shares interface {
		Total(ctx context.Context) (float64, error)
		Of(ctx context.Context, depot scan.DepotID) (rate float64, backlog int64, err error)
	}
	Waiting interface {
		Counts(ctx context.Context) (declared, ready int, err error)
	}
	Presence interface {
		Members(ctx context.Context) (map[scan.DepotID]presence.Member, error)
	}
	Quotas interface {
		Of(api string) (quota.View, bool)
	}
	// Events tells how many events were answered so since the start.
	Events func(syncapi.Result) uint64
}

// Page is GET /.
type Page struct {
	o    Options
	tmpl *template.Template
}

// New reads the page's template.
func New(o Options) (*Page, error) {
	t, err := template.New("page.html").Funcs(template.FuncMap{"stamp": stamp, "epoch": syncapi.FormatEpoch}).ParseFS(files, "page.html")
	if err != nil {
		return nil, fmt.Errorf("read fleet page: %w", err)
	}
	return &Page{o, t}, nil
}

// ServeHTTP shows the page to an administrator.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch status := p.o.Keys.Admin(r); status {
	case http.StatusOK:
		p.show(w, r)
	case http.StatusForbidden:
		http.Error(w, "closed: no admin_token is configured", status)
	default:
		w.Header().Set("WWW-Authenticate", `Basic realm="scanrelay: any name, the admin token as password", charset="UTF-8"`)
		http.Error(w, "the fleet page needs the admin token", status)
	}
}

func (p *Page) show(w http.ResponseWriter, r *http.Request) {
	nonce := make([]byte, 12)
	rand.Read(nonce) // never fails
	v, err := p.collect(r.Context())
	v.Lang, v.Nonce = language(r), hex.EncodeToString(nonce)
	v.T = texts[v.Lang]
	var out bytes.Buffer
	if err == nil {
		err = p.tmpl.Execute(&out, v)
	}
	if err != nil {
		p.o.Logger.Error("write fleet page", "err", err)
		http.Error(w, "the page cannot be written, see the log", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", fmt.Sprintf(
		"default-src 'none'; style-src 'nonce-%s'; script-src 'nonce-%s'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		v.Nonce, v.Nonce))
	_, _ = w.Write(out.Bytes())
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format(time.RFC3339)
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
