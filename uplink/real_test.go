package uplink_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/store"
	"scanrelay/uplink"
	"scanrelay/uplink/push"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat"
	"scanrelay/wechat/fake"
)

func TestEverythingReal(t *testing.T) {
	w := newWorld(t, uplink.Notify{}, fake.Options{BoundByDefault: true})
	w.wechat.Bind("13900000003", false)
	base := time.Now().Add(-10 * time.Minute)
	for node := range 4 {
		var events []scan.Event
		for i := range 50 {
			events = append(events, scanOf(i, base.Add(time.Duration(node)*time.Minute)))
		}
		w.append(events...)
	}
	c := w.await()
	w.check(c, 196, 0)
	if c.State[store.NotBound] != 4 {
		t.Errorf("outcomes are %v, want 4 not_bound", c.State)
	}
	if n := w.wechat.Count(fake.UserQuery, 0); n != 50 {
		t.Errorf("%d userqueries for 50 phones", n)
	}
	if st := w.up.Status(); st.WeChatState != syncapi.StateOK || !st.Central.Connected {
		t.Errorf("status is %+v", st)
	}
}

// The carrier's system sends the waybill data after the scans.
func TestWaybillDataFromCarrier(t *testing.T) {
	w := newWorld(t, uplink.Notify{}, fake.Options{BoundByDefault: true})
	e := scanOf(1, time.Now().Add(-time.Minute))
	e.Data = nil
	later := scanOf(1, time.Now())
	later.Data = nil
	w.append(e, later)
	for end := time.Now().Add(longest); w.outbox.Counts().State[store.AwaitingWaybill] != 2; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("states are %v", w.outbox.Counts().State)
		}
	}
	party := `{"name":"n","phone":"13800138000","province":"p","city":"c","area":"a"}`
	w.post("/v1/waybills", fmt.Sprintf(`{"waybill_id":"%s","create_time":%d,"sender":%s,"receiver":%s}`, e.Waybill, time.Now().Unix()-3600, party, party))
	w.check(w.await(), 2, 0)
	if got := w.wechat.Pushes()[0].Receiver.Name; got != "n" {
		t.Errorf("pushed with receiver %q, want the carrier's data", got)
	}
}

// A token rotated in mid-flow costs no event and no second push.
// Something on the way to the centre does not let one event through: the others
// pass it, before it and after.
func TestOneEventIsHeldUp(t *testing.T) {
	w := newWorld(t, uplink.Notify{}, fake.Options{BoundByDefault: true})
	w.centre.mu.Lock()
	centre := w.centre.h
	w.centre.h = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		if z, err := gzip.NewReader(bytes.NewReader(body)); err == nil {
			if plain, _ := io.ReadAll(z); bytes.Contains(plain, []byte("held-up")) {
				http.Error(rw, "no", http.StatusBadRequest)
				return
			}
		}
		centre.ServeHTTP(rw, r)
	})
	w.centre.mu.Unlock()
	var events []scan.Event
	for i := range 20 {
		events = append(events, scanOf(i, time.Now()))
	}
	events[7].EventID = "held-up"
	w.append(events...)
	w.check(w.await(), 19, 0)
	w.append(scanOf(20, time.Now()))
	w.check(w.await(), 20, 0)
}

func TestTokenRotation(t *testing.T) {
	w := newWorld(t, uplink.Notify{}, fake.Options{BoundByDefault: true})
	for i := range 300 {
		w.append(scanOf(i, time.Now()))
		if i == 100 || i == 200 {
			w.wechat.RotateToken()
		}
	}
	w.check(w.await(), 300, 0)
}

// The centre comes back from a backup: what it lost is sent again, nothing is
// pushed twice.
func TestCentreFromBackup(t *testing.T) {
	w := newWorld(t, uplink.Notify{}, fake.Options{BoundByDefault: true})
	for i := range 100 {
		w.append(scanOf(i, time.Now()))
	}
	w.await()
	w.stopC()
	backup := t.TempDir()
	if err := os.CopyFS(backup, os.DirFS(w.dir)); err != nil {
		t.Fatal(err)
	}
	w.startCentral()
	for i := range 100 {
		w.append(scanOf(i+100, time.Now()))
	}
	w.await()
	w.stopC()
	w.dir = backup
	w.startCentral()
	for i := range 200 { // later nodes of all of them need the whole path at the centre
		e := scanOf(i, time.Now().Add(2*time.Second))
		e.Data = nil
		w.append(e)
	}
	w.check(w.await(), 400, 0)
	if d, _ := w.snap.Depots(t.Context()); len(d) != 1 || d[0].Have != 400 || len(d[0].Gaps) != 0 {
		t.Errorf("the centre has %+v", d)
	}
}

// A centre without anything, under the same address: all is sent again.
func TestCentreLostEverything(t *testing.T) {
	w := newWorld(t, uplink.Notify{}, fake.Options{BoundByDefault: true})
	for i := range 50 {
		w.append(scanOf(i, time.Now()))
	}
	w.await()
	w.stopC()
	w.dir = t.TempDir()
	w.startCentral()
	w.append(scanOf(7, time.Now().Add(time.Second)))
	w.check(w.await(), 51, 0)
	if d, _ := w.snap.Depots(t.Context()); len(d) != 1 || d[0].Have != 51 {
		t.Errorf("the centre has %+v", d)
	}
}

// WeChat's bad days: nothing is lost, and only lost answers push twice.
func TestFaults(t *testing.T) {
	w := newWorld(t, uplink.Notify{}, fake.Options{BoundByDefault: true, Script: fake.Script{Faults: []fake.Fault{
		{API: fake.PathNotify, Share: 0.02, Errcode: -1},
		{API: fake.PathNotify, Share: 0.02, Drop: true},
		{API: fake.PathNotify, Count: 3, Drop: true, After: true},
		{API: fake.PathNotify, Count: 5, Errcode: 932003},
		{API: fake.UserQuery, Share: 0.02, Status: 502, Body: "<html>"},
	}}})
	for i := range 400 {
		w.append(scanOf(i, time.Now()))
	}
	w.check(w.await(), 400, 3)
}

// A stop and a new start go on where it was.
func TestRestart(t *testing.T) {
	n := uplink.Notify{}
	w := newWorld(t, n, fake.Options{BoundByDefault: true})
	for round := range 4 {
		for i := range 100 {
			w.append(scanOf(i, time.Now().Add(time.Duration(round)*time.Second)))
		}
		w.stopUp()
		w.startUplink(n)
	}
	w.check(w.await(), 400, 0)
}

// At the default concurrency 99 of 100 events are at WeChat within 250 ms of
// their scan, at 100 a second. Time is the town's: it passes while something
// waits, not while the machine works.
func TestLatency(t *testing.T) {
	inTown(t, 1, uplink.Notify{}, fake.Options{}, func(w *town) {
		const events = 300
		d, start := w.depots[0], time.Now()
		at := func(i int) time.Time { return start.Add(time.Duration(i) * 10 * time.Millisecond) }
		for i := range events {
			time.Sleep(time.Until(at(i)))
			d.scan(scanOf(i, time.Now()))
		}
		d.until(scanOf(events-1, start).Waybill, time.Minute, finished)
		time.Sleep(time.Second)
		var took []time.Duration
		for _, p := range w.wechat.Pushes() {
			var i int
			fmt.Sscanf(p.WaybillID, "YT%d", &i)
			took = append(took, p.At.Sub(at(i)))
		}
		slices.Sort(took)
		if len(took) != events {
			t.Fatalf("%d pushes of %d events", len(took), events)
		}
		if p99 := took[events*99/100]; p99 > 250*time.Millisecond {
			t.Errorf("p99 is %v, want at most 250 ms", p99)
		}
	})
}

// BenchmarkScanToPush measures what leaves the outbox for WeChat, bindings
// known. In fake everything is real but WeChat, which looks each push up and
// takes most of the machine; in stub WeChat answers in no time, which leaves what
// the outbox, the relays and the centre cost.
func BenchmarkScanToPush(b *testing.B) {
	for name, stub := range map[string]push.WeChat{"fake": nil, "stub": atOnce{}} {
		for _, concurrency := range []int{8, 64} {
			b.Run(fmt.Sprintf("%s/concurrency-%d", name, concurrency), func(b *testing.B) {
				scanToPush(b, newWorldWith(b, uplink.Notify{Concurrency: concurrency}, fake.Options{BoundByDefault: true}, stub))
			})
		}
	}
}

// atOnce is a WeChat that takes everything.
type atOnce struct{}

func (atOnce) UserQuery(context.Context, secret.Text, string) (bool, error) { return true, nil }
func (atOnce) PathNotify(context.Context, secret.Text, wechat.Notification) (bool, error) {
	return true, nil
}

func scanToPush(b *testing.B, w *world) {
	const waybills = 5000
	var first []scan.Event
	for i := range waybills { // learns the bindings
		first = append(first, scanOf(i, time.Now().Add(-time.Hour)))
	}
	w.append(first...)
	w.await()
	b.ResetTimer()
	start := time.Now()
	var batch []scan.Event
	for i := range b.N {
		e := scanOf(i%waybills, start)
		e.EventID, e.Data, e.ActionTime = fmt.Sprint("n", i), nil, start.Unix()+int64(i/waybills)
		if batch = append(batch, e); len(batch) == 100 || i == b.N-1 {
			w.append(batch...)
			batch = nil
		}
	}
	w.await()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/w.since(start).Seconds(), "events/s")
}

// WeChat allows 200 a second, so does rate: 600 take three seconds, and next to
// none is refused.
func TestRateAgainstRealQuota(t *testing.T) {
	o := fake.Options{Quotas: map[fake.API]fake.Quota{fake.PathNotify: {PerSecond: 200}}}
	inTown(t, 1, uplink.Notify{Rate: 200}, o, func(w *town) {
		d, learn := w.depots[0], scanOf(0, time.Now())
		d.scan(learn)
		d.until(learn.Waybill, time.Minute, finished)
		var events []scan.Event
		for i := range 600 { // of one receiver, whose binding is known
			e := scanOf(i+1, time.Now())
			e.Data = learn.Data
			events = append(events, e)
		}
		d.scan(events...)
		time.Sleep(3600 * time.Millisecond)
		if n := len(w.wechat.Pushes()); n != 601 {
			t.Errorf("%d of 601 were pushed within 3.6 s", n)
		}
		if n := w.wechat.Count(fake.PathNotify, 0); n != 601 {
			t.Errorf("%d calls were taken, want each event once", n)
		}
		refused := 0
		for _, c := range w.calls(fake.PathNotify) {
			if c.Status == http.StatusTooManyRequests {
				refused++
			}
		}
		if refused >= 5 {
			t.Errorf("%d calls were refused, want fewer than 5", refused)
		}
	})
}
