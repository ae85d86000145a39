package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"scanrelay/build/rig"
)

// Each of them is measured this often, in turns; medians are told.
const sinkRounds = 3

const (
	sinkConnections = 8 // scanners
	sinkWindow      = 50
	sinkWait        = 2 * time.Minute
)

// peer is a program that others would take for the way from MQTT to a POST. Its
// configuration is ours, in build/bench/peers; the program is brought by who measures.
type peer struct {
	binary string // in -peers
	args   []string
	file   string
}

var peers = []peer{
	{"redpanda-connect", []string{"run"}, "redpanda-connect.yaml"},
	{"redpanda-connect", []string{"run"}, "redpanda-connect-sqlite.yaml"},
	{"telegraf", []string{"--config"}, "telegraf.conf"},
}

// nozzle is a server that takes every POST, and says yes as WeChat does.
type nozzle struct {
	*httptest.Server
	taken atomic.Int64
}

func newNozzle() *nozzle {
	s := &nozzle{}
	answers := map[string]string{
		"stable_token": `{"access_token":"` + strings.Repeat("t", 136) + `","expires_in":7200}`,
		"userquery":    `{"exist":1}`,
		"get":          `{"errcode":0,"quota":{"daily_limit":1000000000,"used":0,"remain":1000000000}}`,
	}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // a client that leaves is no matter
		w.Header().Set("Content-Type", "application/json")
		answer, known := answers[filepath.Base(r.URL.Path)]
		if !known {
			s.taken.Add(1)
			answer = `{"errcode":0,"errmsg":"ok"}`
		}
		_, _ = io.WriteString(w, answer)
	}))
	return s
}

// await waits until so many were taken since the count was last set to 0.
func (s *nozzle) await(n int64) bool {
	for end := time.Now().Add(sinkWait); s.taken.Load() < n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// through is what one way cost in one round.
type through struct{ rate, micros, centre, anon float64 }

// sink measures the way from MQTT to a POST into a server that does nothing: ours,
// with all that it promises, that of peers, and the POST alone.
func (b *bench) sink() {
	n := b.pushes / 2 / sinkConnections / 4 * 4 * sinkConnections
	ways := []string{"plain POST"}
	got := map[string][]through{}
	measured := func(way string, t through) {
		if len(got[way]) == 0 && !slices.Contains(ways, way) {
			ways = append(ways, way)
		}
		got[way] = append(got[way], t)
	}
	for range sinkRounds {
		measured("plain POST", b.posts(n))
		measured("scanrelay", b.ours(n))
		for _, p := range peers {
			path := filepath.Join(b.peers, p.binary)
			if _, err := os.Stat(path); b.peers == "" || err != nil {
				continue
			}
			if t, ok := b.theirs(p, path, n); ok {
				measured(p.file, t)
			}
		}
		b.runCleanups()
	}
	middle := func(way string, of func(through) float64) float64 {
		var all []float64
		for _, t := range got[way] {
			all = append(all, of(t))
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	rate := func(t through) float64 { return t.rate }
	for _, way := range ways {
		text := fmt.Sprintf("%.0f events/s, %.0f %% of plain POST", middle(way, rate), 100*middle(way, rate)/middle("plain POST", rate))
		if way != "plain POST" {
			text += fmt.Sprintf(", %.0f µs of processor, RssAnon %.1f MiB", middle(way, func(t through) float64 { return t.micros }), middle(way, func(t through) float64 { return t.anon }))
		}
		goal := ""
		if way == "scanrelay" {
			goal = ">= 23 %, or >= 1.5 x Redpanda Connect; <= 24 MiB"
			text += fmt.Sprintf("; centre %.0f µs", middle(way, func(t through) float64 { return t.centre }))
			if first := peers[0].file; len(got[first]) > 0 {
				text += fmt.Sprintf("; %.2f x %s", middle(way, rate)/middle(first, rate), first)
			}
		}
		b.add("MQTT to a bare sink, "+way, goal, "%s", text)
	}
}

// posts sends n bodies, as many at a time as the others do.
func (b *bench) posts(n int) through {
	s := newNozzle()
	defer s.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	body := bytes.Repeat([]byte("x"), payloadSize)
	var next atomic.Int64
	var all sync.WaitGroup
	begin := time.Now()
	for range 64 {
		all.Go(func() {
			for next.Add(1) <= int64(n) {
				resp, err := client.Post(s.URL+"/plain", "application/json", bytes.NewReader(body))
				if err != nil {
					b.Errorf("post: %v", err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	}
	all.Wait()
	return through{rate: rate(n, time.Since(begin))}
}

// ours measures agent and centre; what the first round of scans teaches about
// bindings is known.
func (b *bench) ours(n int) through {
	s := newNozzle()
	b.Cleanup(s.Close)
	site := b.site(rig.Options{Notify: "concurrency: 64", WeChatURL: s.URL})
	site.Start()
	var parcels []*rig.Parcel
	for i := range sinkConnections {
		for j, p := range rig.Traffic(rig.Chance(1, "sink"), "S", n/4/sinkConnections) {
			p.ID = sinkWaybill(fmt.Sprintf("%05d", i), j)
			parcels = append(parcels, p)
		}
	}
	site.Import(parcels)
	b.lines(site.Broker, sinkDevice(1), sinkConnections, n/4, sinkWindow)
	if !s.await(int64(n / 4)) {
		b.Fatalf("%d of the %d first scans were pushed", s.taken.Load(), n/4)
	}
	agent, centre := proc{site.Agent.PID()}, proc{site.Central.PID()}
	return b.flow(s, site.Broker, n, agent, centre)
}

// theirs measures a peer behind a mosquitto.
func (b *bench) theirs(p peer, path string, n int) (through, bool) {
	s := newNozzle()
	b.Cleanup(s.Close)
	broker := rig.NewMosquitto(b)
	broker.Start()
	role := rig.NewRole(b, p.file, append([]string{path}, append(slices.Clone(p.args), filepath.Join("build/bench/peers", p.file))...),
		"BROKER="+broker.Addr, "SINK="+strings.TrimPrefix(s.URL, "http://"), "DIR="+b.TempDir())
	role.Start()
	for end := time.Now().Add(sinkWait); s.taken.Load() == 0; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			b.Logf("%s takes nothing:\n%s", p.file, role.Log())
			return through{}, false
		}
		b.lines(broker.Addr, sinkDevice(1), 1, 1, 1)
	}
	time.Sleep(2 * time.Second) // the others of these
	t := b.flow(s, broker.Addr, n, proc{role.PID()}, proc{})
	return t, t.rate > 0
}

// flow lets n events through, and says what that cost.
func (b *bench) flow(s *nozzle, broker string, n int, p, centre proc) (t through) {
	s.taken.Store(0)
	peak, cpu, centreCPU := p.watch(), p.cpu(), centre.cpu()
	begin := time.Now()
	b.lines(broker, sinkDevice(4), sinkConnections, n, sinkWindow)
	all := s.await(int64(n))
	took := time.Since(begin)
	t.anon = peak()
	if !all {
		b.Logf("%d of %d came through", s.taken.Load(), n)
		return t
	}
	t.rate = rate(n, took)
	t.micros = float64((p.cpu() - cpu).Microseconds()) / float64(n)
	t.centre = float64((centre.cpu() - centreCPU).Microseconds()) / float64(n)
	return t
}

func sinkWaybill(line string, parcel int) string { return fmt.Sprintf("YT%s%08d", line, parcel) }

// sinkDevice reads each parcel so many times in a row.
func sinkDevice(each int) device {
	return device{"scans", "scans/sink", func(waybill string) []byte {
		i, _ := strconv.Atoi(waybill[7:]) // a line's numbers
		text := fmt.Sprintf("scan %d of %d ", i%each+1, each)
		b := fmt.Appendf(nil, `{"waybill_id":%q,"event_id":"%d-%s","action_type":200001,"action_time":%d,"device_id":"bench","action_msg":"%s`,
			sinkWaybill(waybill[2:7], i/each), each, waybill[2:], time.Now().Unix()-int64(4-each)*1000, text)
		return append(append(b, bytes.Repeat([]byte("."), max(0, payloadSize-len(b)-2))...), `"}`...)
	}}
}
