package page

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"scanrelay/configs/wait"
	"scanrelay/uplink/central/audit"
	"scanrelay/uplink/central/caller"
	"scanrelay/uplink/central/waybills"
)

// section is a view of a page beside the fleet's.
func (p *Page) section(name string) *view {
	now := p.o.Now()
	return &view{Section: name, Version: p.o.Version, Now: now, Uptime: now.Sub(p.o.Started).Round(time.Second)}
}

// waybill is the page of the waybill that somebody looks for. What is personal is masked
// until an operator asks for it, which is noted before it is shown.
func (p *Page) waybill(r *http.Request, by caller.Operator) (v *view, err error) {
	v = p.section("waybill")
	v.Searched, v.Revealed = strings.TrimSpace(r.URL.Query().Get("id")), waybills.Reveals(r)
	if v.Searched == "" {
		return v, nil
	}
	if v.Revealed {
		if err := p.o.Reveal(r, by.Name, v.Searched); err != nil {
			return v, err
		}
	}
	v.Waybill, err = p.o.Waybill(r.Context(), v.Searched, v.Revealed)
	return v, err
}

// maxEntries bounds how many entries of the audit log a page shows, and sinceDefault how
// far back it goes.
const (
	maxEntries   = 500
	sinceDefault = 7 * 24 * time.Hour
)

// Spans are how far back the audit log can be shown by a click.
func (v *view) Spans() []string { return []string{"24h", "7d", "30d", "365d"} }

// audit is the page of who did what, the newest first.
func (p *Page) audit(r *http.Request) (*view, error) {
	v := p.section("audit")
	v.Since = r.URL.Query().Get("since")
	back, err := wait.ParseDuration(v.Since)
	if err != nil {
		back, v.Since = sinceDefault, "7d"
	}
	err = p.o.Audit.Since(v.Now.Add(-back.Abs()), func(line json.RawMessage) error {
		var e audit.Entry
		if json.Unmarshal(line, &e) == nil {
			v.Entries = append(v.Entries, e)
		}
		if len(v.Entries) >= 2*maxEntries {
			v.Entries = slices.Delete(v.Entries, 0, maxEntries)
		}
		return nil
	})
	v.Entries = v.Entries[max(0, len(v.Entries)-maxEntries):]
	slices.Reverse(v.Entries)
	return v, err
}
