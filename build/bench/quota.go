package main

import (
	"fmt"
	"time"

	"scanrelay/build/rig"
	"scanrelay/wechat/fake"
)

const (
	allowed    = 200 // calls a second, beyond them 429
	quotaScans = 2000
)

// quota measures how events get through an API that allows few calls a second,
// called at that rate and far above it.
func (b *bench) quota() {
	b.underQuota(allowed, "<= 11 s, < 5 refused, none twice")
	b.underQuota(5*allowed, "none twice; refusals printed")
}

func (b *bench) underQuota(perSecond int, target string) {
	site := b.site(rig.Options{Env: []string{fmt.Sprintf("SCANRELAY_NOTIFY_RATE=%d", perSecond)}})
	site.Start()
	parcels, all := scans("YT", quotaScans)
	for _, p := range parcels {
		p.Bound = true
	}
	site.Import(parcels)
	publish(b, site, earlier(parcels), 10, 50) // learns the bindings
	site.Drain()
	site.WeChat.SetQuota(fake.PathNotify, fake.Quota{PerSecond: allowed})
	before := len(site.WeChat.Pushes())
	begin := time.Now()
	publish(b, site, all, 10, 50)
	site.Drain()
	took := time.Since(begin)
	seen := map[string]int{}
	for _, p := range site.WeChat.Pushes()[before:] {
		seen[fmt.Sprint(p.WaybillID, p.Node)]++
	}
	twice := len(site.WeChat.Pushes()) - before - len(seen)
	b.add(fmt.Sprintf("%d events, WeChat allows %d/s, rate: %d", len(all), allowed, perSecond), target,
		"%.2f s, %d refused, %d of %d pushed, %d twice", took.Seconds(), site.WeChat.Count(fake.PathNotify, 429), len(seen), len(all), twice)
}
