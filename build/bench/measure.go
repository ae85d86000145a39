package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"scanrelay/build/rig"
	"scanrelay/wechat/fake"
)

// payloadSize is what an event weighs as a device publishes it.
const payloadSize = 400

// disk measures the ground.
func (b *bench) disk() {
	took, err := fsyncTime(b.TempDir())
	if err != nil {
		b.Fatalf("measure fsync: %v", err)
	}
	b.add("write 4 KiB and fsync, median", "", "%v", took.Round(10*time.Microsecond))
}

func (b *bench) site(o rig.Options) *rig.Site {
	o.Binary, o.Embedded = b.binary, true
	o.WeChat.BoundByDefault = true
	// Log records cost time, and nobody reads them here.
	o.Env = append(o.Env, "SCANRELAY_LOG_LEVEL=warn")
	return rig.NewSite(b, o)
}

// idle measures an agent that has nothing to do.
func (b *bench) idle() {
	site := b.site(rig.Options{})
	site.Start()
	site.AwaitStatus("a sync", func(st rig.Status) bool { return st.Central.Connected })
	b.add("RssAnon, idle", "<= 16 MiB", "%.1f MiB", proc{site.Agent.PID()}.anon())
}

// scans makes n scans of 400 bytes over waybills with 4 each.
func scans(prefix string, n int) ([]*rig.Parcel, []rig.Scan) {
	parcels := rig.Traffic(rig.Chance(1, prefix), prefix, n/4)
	for _, p := range parcels {
		p.Bound = true // what is not bound is not pushed, and costs less
	}
	all := rig.Scans(parcels, 4, "bench")
	for i := range all {
		if short := payloadSize - len(all[i].Payload()); short > 0 {
			all[i].Message += strings.Repeat(".", short)
		}
	}
	return parcels, all
}

// earlier makes one scan for each parcel, an hour before those that are
// measured: what it teaches about bindings is known then, and it makes none of
// them late.
func earlier(parcels []*rig.Parcel) []rig.Scan {
	first := rig.Scans(parcels, 1, "first")
	for i := range first {
		first[i].Time -= 3600
	}
	return first
}

// intake measures 50 scanners into the embedded broker while central is away:
// taking scans waits for nobody. Then it starts the agent again on that pile.
func (b *bench) intake() {
	site := b.site(rig.Options{})
	site.StartAgent()
	p := proc{site.Agent.PID()}
	const connections = 50
	_, all := scans("YT", b.events)
	before, peak := p.written(), p.watch()
	begin := time.Now()
	publish(b, site, all, connections, 50)
	took := time.Since(begin)
	b.add("intake, 50 connections, fsync before PUBACK", ">= 10,000 events/s", "%.0f events/s", rate(len(all), took))
	b.add("bytes written per event, under that load", "<= 1,000", "%d", (p.written()-before)/int64(len(all)))
	b.add(fmt.Sprintf("RssAnon, peak while taking %d, all waiting", len(all)), "<= 32 MiB with 100,000 waiting", "%.1f MiB", peak())
	b.add("RSS, peak of the same", "", "%.1f MiB", p.peakRSS())
	b.restart(site, len(all))
}

func (b *bench) restart(site *rig.Site, waiting int) {
	site.Agent.Kill()
	begin := time.Now()
	site.StartAgent()
	b.add(fmt.Sprintf("start after kill -9 with %d waiting, until scans are taken", waiting), "<= 1 s with 1,000,000", "%v", time.Since(begin).Round(10*time.Millisecond))
}

// oneConnection measures one line controller that publishes everything.
func (b *bench) oneConnection() {
	site := b.site(rig.Options{})
	site.StartAgent()
	_, all := scans("YT", b.events/2)
	p := proc{site.Agent.PID()}
	before, begin := p.cpu(), time.Now()
	publish(b, site, all, 1, 200)
	took := time.Since(begin)
	b.add("intake, one connection, window 200", ">= 5,000 events/s, fsync 10 ms", "%.0f events/s, %v CPU per event",
		rate(len(all), took), ((p.cpu() - before) / time.Duration(len(all))).Round(100*time.Nanosecond))
}

// push measures scans to pathnotify with everything real but WeChat, bindings
// known: a first round of one scan per waybill asks for them.
func (b *bench) push() {
	site := b.site(rig.Options{Notify: "concurrency: 64"})
	site.Start()
	parcels, all := scans("YT", b.pushes)
	site.Import(parcels)
	publish(b, site, earlier(parcels), 10, 50)
	site.Drain()
	p, centre := proc{site.Agent.PID()}, proc{site.Central.PID()}
	before, peak, cpu, centreCPU, own := p.written(), p.watch(), p.cpu(), centre.cpu(), processor()
	begin := time.Now()
	publish(b, site, all, 10, 50)
	site.Drain()
	took, n := time.Since(begin), time.Duration(len(all))
	b.add("scan to pathnotify, concurrency 64", "", "%.0f events/s", rate(len(all), took))
	b.add("processor per event of it, agent", "<= 200 µs", "%v", (p.cpu()-cpu)/n)
	b.add("processor per event of it, centre", "<= 140 µs", "%v", (centre.cpu()-centreCPU)/n)
	b.add("processor per event of it, fake WeChat and scanners", "", "%v", (processor()-own)/n)
	b.add("bytes written per event, scan to outcome", "", "%d", (p.written()-before)/int64(len(all)))
	b.add("RssAnon, peak of the same", "", "%.1f MiB", peak())
}

// latency measures from publish to what the receiver sees, at 100 scans a
// second and the default concurrency.
func (b *bench) latency() {
	const perSecond = 100
	var lock sync.Mutex
	sent, took := map[string]time.Time{}, []time.Duration{}
	key := func(waybill, message string) string { return waybill + " " + message }
	site := b.site(rig.Options{WeChat: fake.Options{OnPush: func(p fake.Push) {
		lock.Lock()
		defer lock.Unlock()
		if at, ok := sent[key(p.WaybillID, p.Node.ActionMsg)]; ok {
			took = append(took, p.At.Sub(at))
		}
	}}})
	site.Start()
	n := int(b.steady.Seconds()) * perSecond
	parcels, all := scans("YT", max(n, 4))
	site.Import(parcels)
	publish(b, site, earlier(parcels), 10, 50)
	site.Drain()
	scanner := site.Scanner("steady")
	scanner.Rate = perSecond
	scanner.OnSend = func(s rig.Scan) {
		lock.Lock()
		defer lock.Unlock()
		sent[key(s.Parcel.ID, s.Message)] = time.Now()
	}
	if err := scanner.Publish(b.Context(), all); err != nil {
		b.Fatalf("publish: %v", err)
	}
	site.Drain()
	lock.Lock()
	defer lock.Unlock()
	b.add("scan to pathnotify at 100 events/s, p50", "", "%v", percentile(took, 50).Round(time.Millisecond))
	b.add("scan to pathnotify at 100 events/s, p99", "<= 250 ms", "%v", percentile(took, 99).Round(time.Millisecond))
}

// publish spreads scans over connections, whole waybills each, and returns when
// all are acknowledged.
func publish(b *bench, site *rig.Site, all []rig.Scan, connections, window int) {
	share := make([][]rig.Scan, connections)
	place := map[*rig.Parcel]int{}
	for _, s := range all {
		at, ok := place[s.Parcel]
		if !ok {
			at = len(place) % connections
			place[s.Parcel] = at
		}
		share[at] = append(share[at], s)
	}
	ctx, cancel := context.WithTimeout(b.Context(), rig.Limit)
	defer cancel()
	failures := make(chan error, connections)
	for i, part := range share {
		go func() {
			s := site.Scanner(fmt.Sprintf("line-%d", i))
			s.Window = window
			failures <- s.Publish(ctx, part)
		}()
	}
	for range connections {
		if err := <-failures; err != nil {
			b.Errorf("%v", err)
			cancel()
		}
	}
	if b.Failed() {
		panic(gaveUp{})
	}
}

func rate(n int, took time.Duration) float64 { return float64(n) / took.Seconds() }

// percentile returns the p-th of an unsorted list, 0 of an empty one.
func percentile(list []time.Duration, p int) time.Duration {
	if len(list) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(list))
	return sorted[min(len(sorted)*p/100, len(sorted)-1)]
}
