package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/build/rig"
	"scanrelay/store/snapshot"
	"scanrelay/store/snapshot/bolt"
	"scanrelay/wechat/callback"
	"scanrelay/wechat/fake"
)

const (
	lookupConns = 32               // connections that ask as fast as they are answered
	lookupRate  = 1000             // a second, the peak of a large carrier
	lookupFor   = 10 * time.Second // each measurement
	lookupPhone = "13800138000"
)

// lookups measures WeChat's reverse lookup in secure mode, over HTTP, from a
// centre that knows many waybills with three nodes each.
func (b *bench) lookups() {
	site := b.site(rig.Options{})
	begin := time.Now()
	b.fill(site.CentralData, b.waybills)
	b.Logf("  filled the centre with %d waybills in %v", b.waybills, time.Since(begin).Round(time.Second))
	site.StartCentral()
	asker := b.newAsker("http://" + site.CentralHTTP)
	asker.each(lookupConns, time.Second, 0) // connections, caches
	took := asker.each(lookupConns, lookupFor, 0)
	what := fmt.Sprintf("callback, secure mode, %d waybills", b.waybills)
	b.add(what, ">= 15,000 lookups/s", "%.0f lookups/s", float64(len(took))/lookupFor.Seconds())
	took = asker.each(lookupConns, lookupFor, lookupRate)
	b.add(fmt.Sprintf("callback at %d lookups/s, p50", lookupRate), "", "%v", percentile(took, 50).Round(10*time.Microsecond))
	b.add(fmt.Sprintf("callback at %d lookups/s, p99", lookupRate), "<= 5 ms", "%v", percentile(took, 99).Round(10*time.Microsecond))
	b.add("RssAnon of central after it", "", "%.1f MiB", proc{site.Central.PID()}.anon())
}

func lookupWaybill(i int) scan.WaybillID { return scan.WaybillID(fmt.Sprintf("YT%013d", i)) }

// fill puts waybills into a centre's folder while no centre runs: by the API it
// would take longer than all that is measured.
func (b *bench) fill(dir string, waybills int) {
	store, err := bolt.Open(dir, bolt.Options{})
	if err != nil {
		b.Fatalf("open snapshot: %v", err)
	}
	const group = 2000
	party := scan.Party{Name: "李四", Phone: lookupPhone, Province: "福建省", City: "泉州市", Area: "晋江市"}
	created := time.Now().Add(-24 * time.Hour).Unix()
	seq := uint64(1)
	for at := 0; at < waybills && err == nil; at += group {
		in := snapshot.Batch{Depot: rig.Depot, Epoch: 1, From: seq}
		var data []snapshot.Import
		for i := at; i < min(at+group, waybills); i++ {
			id := lookupWaybill(i)
			data = append(data, snapshot.Import{Waybill: id, Data: scan.Waybill{CreateTime: created, Sender: party, Receiver: party}})
			for n := range 3 {
				in.Events = append(in.Events, snapshot.Event{Seq: seq, Event: scan.Event{
					EventID: strconv.Itoa(n), Waybill: id, ActionType: scan.ActionTransport,
					ActionTime: created + int64(n)*3600, ActionMsg: "快件到达 【杭州转运中心】", ReceivedAt: time.Now(),
				}})
				seq++
			}
		}
		in.NextSeq = seq
		if _, err = store.Import(b.Context(), data); err == nil {
			_, err = store.Merge(b.Context(), in)
		}
	}
	var st snapshot.Stats
	for st.Tail = 1; err == nil && st.Tail > 0; time.Sleep(50 * time.Millisecond) {
		st, err = store.Stats(b.Context())
	}
	if err != nil {
		b.Fatalf("fill snapshot: %v", err)
	}
	if err := store.Close(); err != nil {
		b.Fatalf("close snapshot: %v", err)
	}
}

// asker sends questions that were encrypted before, so that the measurement pays
// for answering alone.
type asker struct {
	b      *bench
	client *http.Client
	urls   []string
	bodies [][]byte
}

func (b *bench) newAsker(base string) *asker {
	a := &asker{b: b, client: &http.Client{
		Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: lookupConns},
	}}
	b.Cleanup(a.client.CloseIdleConnections)
	crypt, err := callback.NewCrypt(fake.DefaultToken, fake.DefaultAESKey, fake.DefaultAppID)
	if err != nil {
		b.Fatalf("make crypt: %v", err)
	}
	at, nonce := strconv.FormatInt(time.Now().Unix(), 10), "415670741"
	for range 8192 {
		var salt [16]byte
		rand.Read(salt[:]) // never fails
		encrypted := crypt.Encrypt(salt, fmt.Appendf(nil,
			`{"ToUserName":"gh_1","FromUserName":"o1","CreateTime":%s,"MsgType":"event","Event":"waybill_notify_query","WaybillId":%q,"SenderPhone":%q,"ReceiverPhone":%q}`,
			at, lookupWaybill(mrand.IntN(b.waybills)), lookupPhone, lookupPhone))
		body, err := json.Marshal(map[string]string{"ToUserName": "gh_1", "Encrypt": encrypted})
		if err != nil {
			b.Fatalf("make question: %v", err)
		}
		a.bodies = append(a.bodies, body)
		a.urls = append(a.urls, base+"/wechat/callback?timestamp="+at+"&nonce="+nonce+"&encrypt_type=aes&msg_signature="+crypt.Sign(at, nonce, encrypted))
	}
	return a
}

// each asks over that many connections for a while: at a rate a second in all,
// or, with 0, as fast as the answers come. A question that had to wait for the
// one before counts from the moment it was due.
func (a *asker) each(conns int, length time.Duration, rate int) (took []time.Duration) {
	ctx, cancel := context.WithTimeout(a.b.Context(), length+20*time.Second)
	defer cancel()
	var all sync.WaitGroup
	var lock sync.Mutex
	begin := time.Now()
	for c := range conns {
		all.Go(func() {
			var mine []time.Duration
			for n := 0; ; n++ {
				due := time.Now()
				if rate > 0 {
					due = begin.Add(time.Duration(n*conns+c) * time.Second / time.Duration(rate))
					time.Sleep(time.Until(due))
				}
				if due.Sub(begin) > length {
					break
				}
				if err := a.ask(ctx, mrand.IntN(len(a.urls))); err != nil {
					a.b.Logf("  lookup: %v", err)
					break
				}
				mine = append(mine, time.Since(due))
			}
			lock.Lock()
			defer lock.Unlock()
			took = append(took, mine...)
		})
	}
	all.Wait()
	return took
}

func (a *asker) ask(ctx context.Context, i int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.urls[i], bytes.NewReader(a.bodies[i]))
	if err != nil {
		return err
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || len(body) < 400 {
		return fmt.Errorf("HTTP %d and %d bytes, want 200 and a path", resp.StatusCode, len(body))
	}
	return nil
}
