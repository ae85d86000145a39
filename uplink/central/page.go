package central

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/uplink/syncapi"
)

//go:embed page.html
var pageFiles embed.FS

// pages is the fleet page. It shows counts and numbers of the depots only:
// nothing of a waybill.
type pages struct{ tmpl *template.Template }

func newPages() (*pages, error) {
	t, err := template.ParseFS(pageFiles, "page.html")
	if err != nil {
		return nil, err
	}
	return &pages{t}, nil
}

// pageData is what the template gets.
type pageData struct {
	T        map[string]string // texts in the reader's language
	Lang     string
	Nonce    string
	Version  string
	Now      string
	Uptime   string
	WeChat   syncapi.WeChatView
	Rate     string
	Quotas   []pageQuota
	Stats    snapshot.Stats
	StoreMiB string
	Declared int
	Ready    int
	Results  []pageCount
	Depots   []pageDepot
	Gaps     []pageGap
}

type pageQuota struct {
	API, Asked    string
	Remain, Daily int64
	Low           bool
}

type pageCount struct {
	Name  string
	Count uint64
}

type pageDepot struct {
	ID, Last, Version, Epoch string
	Away                     bool
	Have, Events             uint64
	Backlog                  int64
	Share                    string
	Gaps                     int
}

type pageGap struct {
	Depot, Epoch string
	From, To     uint64
}

// maxGapsShown bounds the page; the log names all.
const maxGapsShown = 200

// servePage is GET /.
func (c *Central) servePage(w http.ResponseWriter, r *http.Request) {
	if !c.keys.administrator(r) {
		c.refusePage(w)
		return
	}
	nonce := make([]byte, 12)
	rand.Read(nonce) // never fails
	d, err := c.pageData(r, hex.EncodeToString(nonce))
	var out bytes.Buffer
	if err == nil {
		err = c.pages.tmpl.Execute(&out, d)
	}
	if err != nil {
		c.o.Logger.Error("write fleet page", "err", err)
		http.Error(w, "the page cannot be written, see the log", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", fmt.Sprintf(
		"default-src 'none'; style-src 'nonce-%s'; script-src 'nonce-%s'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		d.Nonce, d.Nonce))
	_, _ = w.Write(out.Bytes())
}

func (c *Central) refusePage(w http.ResponseWriter) {
	if !c.keys.open {
		http.Error(w, "closed: no admin_token is configured", http.StatusForbidden)
		return
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="scanrelay: any name, the admin token as password", charset="UTF-8"`)
	http.Error(w, "the fleet page needs the admin token", http.StatusUnauthorized)
}

func (c *Central) pageData(r *http.Request, nonce string) (pageData, error) {
	now := c.o.Now()
	stats, err := c.o.Snapshot.Stats(r.Context())
	if err != nil {
		return pageData{}, err
	}
	d := pageData{
		Nonce: nonce, Version: c.o.Version, Now: stamp(now), Uptime: now.Sub(c.started).Round(time.Second).String(),
		WeChat: c.broker.view(), Rate: strconv.FormatFloat(c.shares.total(), 'f', -1, 64), Stats: stats,
	}
	d.Lang = language(r)
	d.T = texts[d.Lang]
	d.StoreMiB = fmt.Sprintf("%.1f", float64(d.Stats.FileBytes)/(1<<20))
	d.Declared, d.Ready = c.waiting.counts()
	for _, name := range []syncapi.Result{
		syncapi.Taken, syncapi.NoWaybillData, syncapi.Late, syncapi.Duplicate, syncapi.Refused, syncapi.Conflict,
	} {
		d.Results = append(d.Results, pageCount{d.T[string(name)], c.meters.events(name).Get()})
	}
	for _, api := range quotaAPIs {
		if q, ok := c.quotas.view(api.name); ok {
			d.Quotas = append(d.Quotas, pageQuota{api.name, stamp(q.at), q.Remain, q.Daily, q.warned})
		}
	}
	return d, c.pageDepots(r.Context(), &d, now)
}

func (c *Central) pageDepots(ctx context.Context, d *pageData, now time.Time) error {
	depots, err := c.o.Snapshot.Depots(ctx)
	if err != nil {
		return err
	}
	members := c.fleet.copy()
	known := map[scan.DepotID]snapshot.Depot{}
	for _, k := range depots {
		known[k.ID] = k
		if _, ok := members[k.ID]; !ok {
			members[k.ID] = member{away: true}
		}
	}
	for id, m := range members {
		k := known[id]
		rate, backlog := c.shares.view(id, now)
		row := pageDepot{
			ID: string(id), Last: stamp(m.last), Version: m.version, Epoch: m.epoch, Away: m.last.IsZero() || now.Sub(m.last) > silentAfter,
			Have: k.Have, Events: k.Events, Backlog: backlog, Share: fmt.Sprintf("%.1f", rate), Gaps: len(k.Gaps),
		}
		if row.Epoch == "" && k.Epoch != 0 {
			row.Epoch = epochText(k.Epoch)
		}
		d.Depots = append(d.Depots, row)
		for _, g := range k.Gaps {
			if len(d.Gaps) < maxGapsShown {
				d.Gaps = append(d.Gaps, pageGap{string(g.Depot), epochText(g.Epoch), g.From, g.To})
			}
		}
	}
	slices.SortFunc(d.Depots, func(x, y pageDepot) int { return cmp.Compare(x.ID, y.ID) })
	slices.SortFunc(d.Gaps, func(x, y pageGap) int {
		return cmp.Or(cmp.Compare(x.Depot, y.Depot), cmp.Compare(x.Epoch, y.Epoch), cmp.Compare(x.From, y.From))
	})
	return nil
}

func epochText(epoch uint64) string { return fmt.Sprintf("%016x", epoch) }

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
