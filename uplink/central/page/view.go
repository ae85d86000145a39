package page

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/uplink/central/presence"
	"scanrelay/uplink/central/quota"
	"scanrelay/uplink/syncapi"
)

// view is what the template gets.
type view struct {
	T           map[string]string // texts in the reader's language
	Lang, Nonce string

	Version         string
	Now             time.Time
	Uptime          time.Duration
	WeChat          syncapi.WeChatView
	Rate            float64
	Quotas          []apiQuota
	Stats           snapshot.Stats
	StoreMiB        float64
	Declared, Ready int
	Results         []count
	Depots          []depot
	Gaps            []snapshot.Gap
}

type apiQuota struct {
	API string
	quota.View
}

type count struct {
	Name  syncapi.Result
	Count uint64
}

type depot struct {
	presence.Member
	snapshot.Depot
	Share   float64
	Backlog int64
}

// maxGapsShown bounds the page; the log names all.
const maxGapsShown = 200

// collect asks all that the page shows.
func (p *Page) collect(ctx context.Context) (v *view, err error) {
	now := p.o.Now()
	v = &view{Version: p.o.Version, Now: now, Uptime: now.Sub(p.o.Started).Round(time.Second)}
	for _, ask := range []func() error{
		func() (err error) { v.Stats, err = p.o.Snapshot.Stats(ctx); return },
		func() (err error) { _, v.WeChat, err = p.o.Tokens.Current(ctx); return },
		func() (err error) { v.Rate, err = p.o.Shares.Total(ctx); return },
		func() (err error) { v.Declared, v.Ready, err = p.o.Waiting.Counts(ctx); return },
		func() error { return p.depots(ctx, v) },
	} {
		if err := ask(); err != nil {
			return v, err
		}
	}
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

// depots lists those that are configured, were heard of, or are in the snapshot.
func (p *Page) depots(ctx context.Context, v *view) error {
	numbering, err := p.o.Snapshot.Depots(ctx)
	if err != nil {
		return err
	}
	members, err := p.o.Presence.Members(ctx)
	if err != nil {
		return err
	}
	all := map[scan.DepotID]depot{}
	for id, m := range members {
		all[id] = depot{Member: m, Depot: snapshot.Depot{ID: id}}
	}
	for _, d := range numbering {
		m, heard := members[d.ID]
		m.Away = m.Away || !heard
		all[d.ID] = depot{Member: m, Depot: d}
		v.Gaps = append(v.Gaps, d.Gaps...)
	}
	v.Gaps = v.Gaps[:min(len(v.Gaps), maxGapsShown)]
	for _, id := range slices.SortedFunc(maps.Keys(all), cmp.Compare[scan.DepotID]) {
		d := all[id]
		if d.Share, d.Backlog, err = p.o.Shares.Of(ctx, id); err != nil {
			return err
		}
		if d.Member.Epoch == "" && d.Depot.Epoch != 0 {
			d.Member.Epoch = syncapi.FormatEpoch(d.Depot.Epoch)
		}
		v.Depots = append(v.Depots, d)
	}
	return nil
}
