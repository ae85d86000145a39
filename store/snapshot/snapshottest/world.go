package snapshottest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store/snapshot"
)

// Fresh makes an empty store whose clock is now. It returns how that store is
// opened: the first time, and again as it was left when it was closed.
type Fresh func(t testing.TB, now func() time.Time) (open func() snapshot.Store)

// world is a store under test with a clock. Where restless is set the store is
// closed and opened again before every call: no state may live in memory only.
type world struct {
	testing.TB
	open     func() snapshot.Store
	mu       sync.Mutex // guards clock, which the store reads at any time
	clock    time.Time  // only the test sets it
	store    snapshot.Store
	restless bool
	wechat   time.Time // what WeChat's clock shows; zero: it is right
}

// start is the time at which the tests' clock begins.
var start = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

func newWorld(t testing.TB, fresh Fresh, restless bool) *world {
	w := &world{TB: t, clock: start, restless: restless}
	w.open = fresh(t, w.now)
	w.store = w.open()
	t.Cleanup(w.close)
	return w
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *world) set(t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = t
}

func (w *world) close() {
	w.Helper()
	if err := w.store.Close(); err != nil {
		w.Fatalf("close: %v", err)
	}
}

func (w *world) reopen() {
	w.Helper()
	w.close()
	w.store = w.open()
}

func (w *world) rest() {
	if w.restless {
		w.reopen()
	}
}

// batch is a batch of the depot's first epoch from its first event on.
func batch(depot scan.DepotID, epoch uint64, events ...snapshot.Event) snapshot.Batch {
	b := snapshot.Batch{Depot: depot, Epoch: epoch, Events: events}
	if n := len(events); n > 0 {
		b.From, b.NextSeq = events[0].Seq, events[n-1].Seq+1
	}
	return b
}

// ev is an event; at is in minutes after start.
func ev(seq uint64, waybill, id string, at int) snapshot.Event {
	return snapshot.Event{Seq: seq, Event: scan.Event{
		EventID: id, Waybill: scan.WaybillID(waybill), ActionTime: start.Unix() + int64(at)*60, ActionType: scan.ActionTransport,
		ActionMsg: "快件到达 【杭州转运中心】", ReceivedAt: start,
		Delivery: scan.Courier{Name: "王五", Phone: "13700137000"},
	}}
}

func muted(e snapshot.Event) snapshot.Event { e.Muted = true; return e }

func with(e snapshot.Event, data scan.Waybill) snapshot.Event { e.Data = &data; return e }

// data is waybill data, created that many days after start, of a receiver.
func data(days int, phone scan.Phone) scan.Waybill {
	return scan.Waybill{
		CreateTime: start.Unix() + int64(days)*86400,
		Sender:     scan.Party{Name: "张三", Phone: "13900139001", Province: "浙江省", City: "绍兴市", Area: "柯桥区", Address: "纺都路137号"},
		Receiver:   scan.Party{Name: "李四", Phone: phone, Province: "福建省", City: "泉州市", Area: "晋江市", Address: "庄宅北区158-6"},
	}
}

const (
	phoneA = scan.Phone("13800138000")
	phoneB = scan.Phone("13800138111")
)

func (w *world) merge(b snapshot.Batch) snapshot.Merged {
	w.Helper()
	w.rest()
	m, err := w.store.Merge(w.Context(), b)
	if err != nil {
		w.Fatalf("merge: %v", err)
	}
	return m
}

func (w *world) imports(id string, d scan.Waybill) []scan.WaybillID {
	w.Helper()
	w.rest()
	got, err := w.store.Import(w.Context(), []snapshot.Import{{Waybill: scan.WaybillID(id), Data: d}})
	if err != nil {
		w.Fatalf("import: %v", err)
	}
	return got.Gained
}

func (w *world) lookup(id string) (snapshot.Waybill, bool) {
	w.Helper()
	w.rest()
	wb, ok, err := w.store.Lookup(w.Context(), scan.WaybillID(id))
	if err != nil {
		w.Fatalf("lookup: %v", err)
	}
	return wb, ok
}

// path is the waybill's nodes as depot/event_id, late ones with a !.
func (w *world) path(id string) string {
	w.Helper()
	wb, _ := w.lookup(id)
	return pathOf(wb.Nodes)
}

func pathOf(nodes []scan.PathNode) string {
	s := ""
	for _, n := range nodes {
		late := ""
		if n.Late {
			late = "!"
		}
		s += fmt.Sprintf("%s/%s%s ", n.Depot, n.EventID, late)
	}
	return s
}

func (w *world) asks(depot scan.DepotID, epoch uint64, events ...snapshot.Event) []snapshot.Answer {
	w.Helper()
	w.rest()
	var asks []snapshot.Ask
	for _, e := range events {
		asks = append(asks, snapshot.Ask{Epoch: epoch, Seq: e.Seq, Waybill: e.Waybill, EventID: e.EventID})
	}
	a, err := w.store.Answers(w.Context(), depot, asks)
	if err != nil {
		w.Fatalf("answers: %v", err)
	}
	return a
}

// want compares the results of answers.
func (w *world) want(got []snapshot.Answer, want ...snapshot.Result) {
	w.Helper()
	ok := len(got) == len(want)
	for i := range got {
		ok = ok && got[i].Result == want[i]
	}
	if !ok {
		w.Fatalf("answers %+v, want %v", got, want)
	}
}

// forget runs that many rounds of forgetting and returns how many waybills went;
// WeChat is heard or not.
func (w *world) forget(keep time.Duration, rounds int, wechat bool) (gone int) {
	w.Helper()
	r := snapshot.Retention{Keep: keep}
	if wechat {
		if r.WeChat = w.wechat; r.WeChat.IsZero() {
			r.WeChat = w.clock
		}
	}
	for range rounds {
		w.rest()
		for {
			f, err := w.store.Forget(w.Context(), r)
			if err != nil {
				w.Fatalf("forget: %v", err)
			}
			if gone += f.Waybills; f.Done {
				break
			}
		}
	}
	return gone
}

// held is why the clock is not believed.
func (w *world) held() string {
	w.Helper()
	s, err := w.store.Stats(w.Context())
	if err != nil {
		w.Fatalf("stats: %v", err)
	}
	return s.Held
}

// depot is what is known of the first depot's numbering.
func (w *world) depot() snapshot.Depot {
	w.Helper()
	w.rest()
	all, err := w.store.Depots(w.Context())
	if err != nil || len(all) == 0 {
		w.Fatalf("depots: %+v, %v", all, err)
	}
	return all[0]
}

func (w *world) id() string {
	w.Helper()
	id, err := w.store.ID(w.Context())
	if err != nil {
		w.Fatalf("id: %v", err)
	}
	return id
}

func (w *world) equal(what string, got, want any) {
	w.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		w.Fatalf("%s: got %v, want %v", what, got, want)
	}
}
