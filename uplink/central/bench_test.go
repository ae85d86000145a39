package central_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
	"scanrelay/uplink/central"
	"scanrelay/uplink/central/internal/centraltest"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat/callback"
)

// fill stores that many waybills with three nodes each.
func fill(b *testing.B, c *centraltest.Bench, waybills int) {
	b.Helper()
	var line syncapi.Waybill
	if err := json.Unmarshal([]byte(centraltest.Line("X", 1e9)), &line); err != nil {
		b.Fatal(err)
	}
	const group = 2000
	seq := uint64(1)
	for at := 0; at < waybills; at += group {
		in := snapshot.Batch{Depot: "hz-01", Epoch: 1, From: seq}
		imports := make([]snapshot.Import, 0, group)
		for i := at; i < min(at+group, waybills); i++ {
			id := scan.WaybillID(fmt.Sprintf("YT%013d", i))
			imports = append(imports, snapshot.Import{Waybill: id, Data: line.Scan()})
			for n := range 3 {
				e := centraltest.Event(seq, string(id), 1e9+int64(n))
				in.Events = append(in.Events, snapshot.Event{Seq: seq, Event: e.Event()})
				seq++
			}
		}
		in.NextSeq = seq
		if _, err := c.Store.Import(b.Context(), imports); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Store.Merge(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
	for c.Stats().Tail > 0 {
		time.Sleep(10 * time.Millisecond)
	}
}

// lookupRequest is one reverse lookup as WeChat sends it in secure mode.
func lookupRequest(b *testing.B, crypt *callback.Crypt, id string) (url string, body []byte) {
	b.Helper()
	msg := fmt.Sprintf(`{"ToUserName":"gh_1","FromUserName":"o1","CreateTime":%d,"MsgType":"event","Event":"waybill_notify_query","WaybillId":%q,"SenderPhone":%q,"ReceiverPhone":%q}`,
		time.Now().Unix(), id, centraltest.Sender, centraltest.Receiver)
	var random [16]byte
	rand.Read(random[:])
	encrypted := crypt.Encrypt(random, []byte(msg))
	body, err := json.Marshal(map[string]string{"ToUserName": "gh_1", "Encrypt": encrypted})
	if err != nil {
		b.Fatal(err)
	}
	at, nonce := fmt.Sprint(time.Now().Unix()), "415670741"
	return "/wechat/callback?timestamp=" + at + "&nonce=" + nonce + "&encrypt_type=aes&msg_signature=" + crypt.Sign(at, nonce, encrypted), body
}

// BenchmarkCallback answers reverse lookups in secure mode from 100,000
// waybills, all that is ours on the way but the network.
func BenchmarkCallback(b *testing.B) {
	const waybills = 100_000
	c := centraltest.New(b, func(o *central.Options) { o.Config.Callback.Mode = callback.Secure })
	fill(b, c, waybills)
	cb := centraltest.Config().Callback
	crypt, err := callback.NewCrypt(cb.Token, cb.EncodingAESKey, centraltest.Config().AppID)
	if err != nil {
		b.Fatal(err)
	}
	type request struct {
		url  string
		body []byte
	}
	requests := make([]request, 4096)
	for i := range requests {
		requests[i].url, requests[i].body = lookupRequest(b, crypt, fmt.Sprintf("YT%013d", i*7919%waybills))
	}
	var took []time.Duration
	var mu sync.Mutex
	var next atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		var mine []time.Duration
		for pb.Next() {
			r := requests[next.Add(1)%int64(len(requests))]
			start := time.Now()
			w := httptest.NewRecorder()
			c.Handler().ServeHTTP(w, httptest.NewRequest("POST", r.url, bytes.NewReader(r.body)))
			mine = append(mine, time.Since(start))
			if w.Code != 200 || w.Body.Len() < 200 {
				b.Errorf("%d %s", w.Code, w.Body)
				return
			}
		}
		mu.Lock()
		took = append(took, mine...)
		mu.Unlock()
	})
	b.StopTimer()
	report(b, took, "lookups/s")
}

func report(b *testing.B, took []time.Duration, unit string) {
	slices.Sort(took)
	b.ReportMetric(float64(len(took))/b.Elapsed().Seconds(), unit)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkStoreLookup is the store's part of it.
func BenchmarkStoreLookup(b *testing.B) {
	const waybills = 100_000
	c := centraltest.New(b, nil)
	fill(b, c, waybills)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if _, ok, err := c.Store.Lookup(b.Context(), scan.WaybillID(fmt.Sprintf("YT%013d", i*7919%waybills))); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lookups/s")
}

// BenchmarkSync takes zipped batches of 500 events of four depots at once, each
// event of another waybill, synced to disk before it is answered.
func BenchmarkSync(b *testing.B) {
	const depots, each = 4, 500
	c := centraltest.New(b, func(o *central.Options) {
		o.Config.Depots = nil
		for d := range depots {
			o.Config.Depots = append(o.Config.Depots, central.Depot{ID: scan.DepotID(fmt.Sprintf("d%d", d)), Token: secretOf(d)})
		}
	})
	body := func(depot, round int) []byte {
		r := syncapi.Request{V: 1, Epoch: centraltest.EpochA, From: uint64(round*each + 1), NextSeq: uint64((round+1)*each + 1)}
		for i := range each {
			seq := uint64(round*each + i + 1)
			r.Events = append(r.Events, centraltest.Event(seq, fmt.Sprintf("YT%02d%011d", depot, seq), 1e9))
		}
		out, err := json.Marshal(r)
		if err != nil {
			b.Fatal(err)
		}
		return []byte(centraltest.Zipped(string(out)))
	}
	bodies := make([][][]byte, depots)
	for d := range bodies {
		for round := range b.N {
			bodies[d] = append(bodies[d], body(d, round))
		}
	}
	var mu sync.Mutex
	var took []time.Duration
	b.ResetTimer()
	var all sync.WaitGroup
	for d := range depots {
		all.Go(func() {
			for _, in := range bodies[d] {
				start := time.Now()
				r := httptest.NewRequest("POST", "/v1/sync", bytes.NewReader(in))
				r.Header.Set("Authorization", "Bearer "+secretOf(d).Reveal())
				r.Header.Set("Content-Encoding", "gzip")
				w := httptest.NewRecorder()
				c.Handler().ServeHTTP(w, r)
				if w.Code != 200 {
					b.Errorf("%d %s", w.Code, w.Body)
					return
				}
				mu.Lock()
				took = append(took, time.Since(start))
				mu.Unlock()
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(depots*each*b.N)/b.Elapsed().Seconds(), "events/s")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Milliseconds()), "p99-ms")
}
