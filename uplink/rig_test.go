package uplink_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/agent/scan"
	"scanrelay/configs/secret"
	"scanrelay/configs/wait"
	"scanrelay/store"
	"scanrelay/uplink"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat"
)

// rig is both relays between a memory outbox, a scripted centre and a scripted
// WeChat, inside a bubble of testing/synctest.
type rig struct {
	t      *testing.T
	out    *memory
	centre *centre
	wechat *fakeWeChat
	clock  *testClock
	set    *metrics.Set
	lines  lines // of the log
	up     *uplink.Uplink
	ended  []store.Record
	endMu  sync.Mutex
	cancel context.CancelFunc
	done   chan error
}

// lines counts those of a log.
type lines struct{ atomic.Int64 }

func (l *lines) Write(p []byte) (int, error) { l.Add(1); return len(p), nil }

// defaults are those of package configs, where a test says nothing else.
func defaults(n uplink.Notify) uplink.Notify {
	n.Concurrency = cmp.Or(n.Concurrency, 8)
	n.FreshFor = cmp.Or(n.FreshFor, 30*time.Minute)
	n.MaxAge = cmp.Or(n.MaxAge, 24*time.Hour)
	n.BindingBound = cmp.Or(n.BindingBound, 24*time.Hour)
	n.BindingUnbound = cmp.Or(n.BindingUnbound, time.Hour)
	return n
}

// inBubble runs test with a rig that is not started yet; afterwards the relays
// are stopped and the outbox's rules are checked.
func inBubble(t *testing.T, n uplink.Notify, test func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, out: newMemory(), clock: &testClock{}, set: metrics.NewSet()}
		r.centre = newCentre()
		r.wechat = &fakeWeChat{rig: r}
		r.up = uplink.New(uplink.Config{
			Client: r.centre, Outbox: r.out, WeChat: r.wechat, Clock: r.clock, Notify: defaults(n), Logger: slog.New(slog.NewTextHandler(&r.lines, nil)), Metrics: r.set, StartSpread: -1,
			Hooks: uplink.Hooks{OnOutcome: func(rec store.Record) {
				r.endMu.Lock()
				defer r.endMu.Unlock()
				r.ended = append(r.ended, rec)
			}},
		})
		test(r)
		r.stop()
		for _, p := range slices.Concat(r.out.problems, r.wechat.problems) {
			t.Error(p)
		}
	})
}

func (r *rig) start() {
	ctx, cancel := context.WithCancel(r.t.Context())
	r.cancel, r.done = cancel, make(chan error, 1)
	go func() { r.done <- r.up.Run(ctx) }()
}

func (r *rig) stop() {
	if r.cancel == nil {
		return
	}
	r.cancel()
	r.cancel = nil
	began := time.Now()
	if err := <-r.done; err != nil {
		r.t.Errorf("run: %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		r.t.Errorf("the stop took %v", took)
	}
}

// sleep lets time pass.
func (r *rig) sleep(d time.Duration) { time.Sleep(d); synctest.Wait() }

func (r *rig) wantStates(want ...store.State) {
	r.t.Helper()
	if got := r.out.states(); !slices.Equal(got, want) {
		r.t.Errorf("states are %v, want %v", got, want)
	}
}

func (r *rig) wantState(state string) {
	r.t.Helper()
	if st := r.up.Status(); st.WeChatState != state {
		r.t.Errorf("wechat.state is %q (%s), want %q", st.WeChatState, st.WeChatReason, state)
	}
}

// event makes an event of waybill w, n seconds ago.
func event(w string, ago time.Duration) scan.Event {
	at := time.Now().Add(-ago)
	return scan.Event{
		EventID: fmt.Sprintf("e-%s-%d", w, at.UnixNano()), Waybill: scan.WaybillID(w), ActionType: scan.ActionTransport,
		ActionTime: at.Unix(), ActionMsg: "快件到达", ReceivedAt: at,
	}
}

func waybillOf(phone string) syncapi.Waybill {
	p := syncapi.Party{Name: "张三", Phone: phone, Province: "浙江省", City: "杭州市", Area: "余杭区"}
	return syncapi.Waybill{CreateTime: 1700000000, Sender: p, Receiver: p}
}

type testClock struct {
	mu      sync.Mutex
	unknown bool
	ahead   time.Duration // of the time that it is
}

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}
func (c *testClock) Believable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.unknown
}
func (c *testClock) Heard(time.Time, time.Duration) {}
func (c *testClock) set(unknown bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unknown = unknown
}

// jump steps it, so that nobody believes it, or, by 0, puts it right.
func (c *testClock) jump(ahead time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unknown, c.ahead = ahead != 0, ahead
}

// centre is a scripted centre. It takes everything and has data for every
// waybill, unless told otherwise.
type centre struct {
	mu       sync.Mutex
	requests []syncapi.Request
	resp     syncapi.Response // what every answer starts from
	have     uint64
	result   func(e syncapi.Event) syncapi.Answer
	asked    func(a syncapi.Ask) syncapi.Answer
	data     func(id scan.WaybillID) *syncapi.Waybill
	binding  func(id scan.WaybillID) *syncapi.Binding
	fault    func(r *syncapi.Request) error
	adjust   func(r *syncapi.Request, resp *syncapi.Response)
	delay    time.Duration
	events   []uint64 // numbers taken, in order
}

func newCentre() *centre {
	return &centre{
		resp: syncapi.Response{
			V: 1, StoreID: "store", Process: "p1", WeChat: syncapi.WeChatView{State: "ok"},
			Token: &syncapi.Token{Value: "token-1", Generation: "g1", ExpiresIn: 7200},
		},
		data:    func(scan.WaybillID) *syncapi.Waybill { w := waybillOf("13800138000"); return &w },
		binding: func(scan.WaybillID) *syncapi.Binding { return &syncapi.Binding{Exist: true} },
	}
}

// set changes the centre's script.
func (c *centre) set(fn func(c *centre)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fn(c)
}

func (c *centre) Sync(ctx context.Context, r *syncapi.Request) (*syncapi.Response, error) {
	c.mu.Lock()
	delay := c.delay
	c.mu.Unlock()
	if !wait.Sleep(ctx, delay) {
		return nil, &syncapi.Error{Err: ctx.Err()}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests = append(c.requests, *r)
	if c.fault != nil {
		if err := c.fault(r); err != nil {
			return nil, err
		}
	}
	resp := c.resp
	resp.Time = time.Now().Unix()
	seen := map[scan.WaybillID]bool{}
	add := func(id scan.WaybillID) {
		data := c.data(id)
		if data == nil || seen[id] {
			return
		}
		seen[id] = true
		resp.Waybills = append(resp.Waybills, syncapi.Known{WaybillID: id, Waybill: *data, Binding: c.binding(id)})
	}
	for _, e := range r.Events {
		a := syncapi.Answer{Result: syncapi.Taken}
		if c.data(e.WaybillID) == nil {
			a.Result = syncapi.NoWaybillData
		}
		if c.result != nil {
			a = c.result(e)
		}
		a.Epoch, a.Seq = r.Epoch, e.Seq
		resp.Answers = append(resp.Answers, a)
		c.events = append(c.events, e.Seq)
		c.have = max(c.have, e.Seq)
		add(e.WaybillID)
	}
	for _, q := range r.Ask {
		a := syncapi.Answer{Result: syncapi.Taken}
		if c.data(q.WaybillID) == nil {
			a.Result = syncapi.NoWaybillData
		}
		if c.asked != nil {
			a = c.asked(q)
		}
		a.Epoch, a.Seq = q.Epoch, q.Seq
		resp.Answers = append(resp.Answers, a)
		add(q.WaybillID)
	}
	resp.Have = c.have
	if c.adjust != nil {
		c.adjust(r, &resp)
	}
	return &resp, nil
}

// last returns the requests for which want holds.
func (c *centre) that(want func(r syncapi.Request) bool) (out []syncapi.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.requests {
		if want(r) {
			out = append(out, r)
		}
	}
	return out
}

// fakeWeChat is a scripted WeChat that checks I4: one call in flight per
// waybill, nodes in order.
type fakeWeChat struct {
	rig      *rig
	mu       sync.Mutex
	script   sync.Mutex // held while a script runs
	pushes   []wechat.Notification
	times    []time.Time
	queries  []string
	inFlight map[string]bool
	flying   int
	most     int // in flight together
	problems []string
	took     time.Duration
	notify   func(token string, n wechat.Notification) (bool, error)
	query    func(token, phone string) (bool, error)
}

func (f *fakeWeChat) set(fn func(f *fakeWeChat)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn(f)
}

func (f *fakeWeChat) UserQuery(ctx context.Context, token secret.Text, phone string) (bool, error) {
	f.mu.Lock()
	f.queries = append(f.queries, phone)
	took, answer := f.took, f.query
	f.mu.Unlock()
	if !wait.Sleep(ctx, took) {
		return false, &wechat.Error{API: wechat.APIUserQuery, Err: ctx.Err()}
	}
	if answer != nil {
		f.script.Lock()
		defer f.script.Unlock()
		return answer(token.Reveal(), phone)
	}
	return true, nil
}

func (f *fakeWeChat) PathNotify(ctx context.Context, token secret.Text, n wechat.Notification) (bool, error) {
	f.mu.Lock()
	if f.inFlight == nil {
		f.inFlight = map[string]bool{}
	}
	if f.inFlight[n.WaybillID] {
		f.problems = append(f.problems, "two calls in flight for waybill "+n.WaybillID)
	}
	f.inFlight[n.WaybillID] = true
	f.flying++
	f.most = max(f.most, f.flying)
	f.pushes = append(f.pushes, n)
	f.times = append(f.times, time.Now())
	took, answer := f.took, f.notify
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.inFlight[n.WaybillID] = false
		f.flying--
		f.mu.Unlock()
	}()
	if !wait.Sleep(ctx, took) {
		return false, &wechat.Error{API: wechat.APIPathNotify, Sent: true, Err: ctx.Err()}
	}
	if answer != nil {
		f.script.Lock()
		defer f.script.Unlock()
		return answer(token.Reveal(), n)
	}
	return true, nil
}

func (f *fakeWeChat) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.pushes)
}

func code(api string, n int) error {
	return &wechat.Error{API: api, Status: 200, Code: n, Msg: "some words", RID: "rid-1"}
}

var errConnect = &wechat.Error{API: wechat.APIPathNotify, Err: errors.New("connection refused")}
