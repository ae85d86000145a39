package page

import (
	"context"
	"net/http"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/uplink/central/audit"
	"scanrelay/uplink/central/fleet"
	"scanrelay/uplink/central/quota"
	"scanrelay/uplink/central/rollout"
	"scanrelay/uplink/central/waiting"
	"scanrelay/uplink/central/waybills"
	"scanrelay/uplink/syncapi"
)

// view is what the template gets.
type view struct {
	T                 map[string]string // texts in the reader's language
	Lang, Nonce, Path string
	FormToken         string // of the browser's session; "": none
	Door, Wrong       bool   // nothing but the form for the admin token; it was wrong

	Version  string
	Now      time.Time
	Uptime   time.Duration
	WeChat   syncapi.WeChatView
	Rate     float64
	Quotas   []apiQuota
	Stats    snapshot.Stats
	StoreMiB float64
	Waiting  waiting.Counts
	Results  []count
	Rollout  *rollout.View
	Backup   string // why there is no new copy of the store

	Sums          fleet.Sums
	Filter        fleet.Filter
	Choices       fleet.Choices
	Depots        []fleet.Depot // a page of those that the filter takes
	Found, Number int           // depots in all, and the page's number
	Gaps          []snapshot.Gap

	Wanted scan.DepotID // the page of one depot
	One    *fleet.Depot

	Searched string         // of the page of a waybill; "": none is asked for
	Waybill  *waybills.View // nil: it was never heard of
	Revealed bool
	Entries  []audit.Entry // of the page of the audit log, the newest first
	Since    string
	Section  string // waybill, audit, or "": the fleet or a depot
}

// Last is the number of the last page.
func (v *view) Last() int { return max(1, (v.Found+fleet.PerPage-1)/fleet.PerPage) }

// Before and After are the queries of the pages beside; "": there is none.
func (v *view) Before() string { return v.beside(-1) }
func (v *view) After() string  { return v.beside(1) }

func (v *view) beside(step int) string {
	if n := v.Number + step; 1 <= n && n <= v.Last() {
		return v.Filter.Query(n) + "&lang=" + v.Lang
	}
	return ""
}

// Sorts and States are what can be chosen.
func (v *view) Sorts() []string       { return fleet.Sorts }
func (v *view) States() []fleet.State { return fleet.States }

// Word is what there is to say of an alarm.
func (v *view) Word(kind string) fleet.Word { return fleet.WordOf(v.Lang, kind) }

type apiQuota struct {
	API string
	quota.View
}

type count struct {
	Name  syncapi.Result
	Count uint64
}

// Bounds of the page; the log names all gaps, the filter's text finds all sites.
const (
	maxGapsShown = 200
	maxChoices   = 300
)

// collect asks all that the page shows.
func (p *Page) collect(r *http.Request) (v *view, err error) {
	ctx, now := r.Context(), p.o.Now()
	v = &view{
		Version: p.o.Version, Now: now, Uptime: now.Sub(p.o.Started).Round(time.Second),
		Filter: fleet.ParseFilter(r.URL.Query()), Wanted: scan.DepotID(r.PathValue("id")),
	}
	for _, ask := range []func() error{
		func() (err error) { v.Stats, err = p.o.Snapshot.Stats(ctx); return },
		func() (err error) { _, v.WeChat, err = p.o.Tokens.Current(ctx); return },
		func() (err error) { v.Rate, err = p.o.Shares.Total(ctx); return },
		func() (err error) { v.Waiting, err = p.o.Waiting.Counts(ctx); return },
		func() error { return p.depots(ctx, v) },
		func() (err error) { v.Rollout, err = p.o.Rollout(ctx); return },
	} {
		if err := ask(); err != nil {
			return v, err
		}
	}
	v.Backup, _ = p.o.Backup()
	v.StoreMiB = float64(v.Stats.FileBytes) / (1 << 20)
	for _, name := range []syncapi.Result{
		syncapi.Taken, syncapi.NoWaybillData, syncapi.Late, syncapi.Duplicate, syncapi.Refused, syncapi.Conflict,
	} {
		v.Results = append(v.Results, count{name, p.o.Events(name)})
	}
	for _, api := range quota.APIs {
		if q, ok := p.o.Quotas.Of(api.Name); ok {
			v.Quotas = append(v.Quotas, apiQuota{api.Name, q})
		}
	}
	return v, nil
}

// depots finds the depots that the reader looks for.
func (p *Page) depots(ctx context.Context, v *view) error {
	if v.Wanted != "" {
		one, err := p.o.Depot(ctx, v.Wanted)
		if err != nil || one == nil {
			return err
		}
		v.One, v.Gaps = one, one.Gaps
	} else {
		all, err := p.o.Depots(ctx)
		if err != nil {
			return err
		}
		v.Sums, v.Choices = fleet.SumUp(all), fleet.ChoicesOf(all, maxChoices)
		v.Depots, v.Found, v.Number = v.Filter.Select(all)
		for i := range v.Depots {
			v.Gaps = append(v.Gaps, v.Depots[i].Gaps...)
		}
	}
	v.Gaps = v.Gaps[:min(len(v.Gaps), maxGapsShown)]
	return nil
}
