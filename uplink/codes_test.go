package uplink_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/store"
	"scanrelay/uplink"
	"scanrelay/uplink/syncapi"
	"scanrelay/wechat"
	"scanrelay/wechat/fake"
)

// beijing has had no summer time since 1991.
var beijing = time.FixedZone("Asia/Shanghai", 8*60*60)

// row is one errcode and what becomes of an event that meets it.
type row struct {
	code   int
	meet   int // how often WeChat gives it
	during string
	state  store.State
	calls  int // of the API, all in all
	tries  int // that counted as attempts
	waits  func(met time.Time) (from, to time.Time)
}

// rows is the error table of wechat/README.md as an operator sees it happen.
func rows() []row {
	var all []row
	add := func(r row, codes ...int) {
		for _, r.code = range codes {
			all = append(all, r)
		}
	}
	// One refresh, and the call again at once: no attempt is lost.
	add(row{meet: 1, during: syncapi.StateOK, state: store.Pushed, calls: 2, tries: 1}, 40001, 40014, 42001, 42007, 41001)
	add(row{meet: 3, during: syncapi.StateOK, state: store.Pushed, calls: 4, tries: 4}, -1, 932001)
	// Re-synced before each of at most five tries; the last two stand for "anything else".
	add(row{meet: 4, during: syncapi.StateOK, state: store.Pushed, calls: 5, tries: 5}, 932002, 932003, 12345)
	add(row{meet: 5, during: syncapi.StateOK, state: store.Dead, calls: 5, tries: 5}, 932002, 932003, 12345, 87009)
	add(row{meet: 1, during: syncapi.StateOK, state: store.Dead, calls: 1, tries: 1}, 40097, 44002, 47001, 43002, 43003)
	add(row{meet: 1, during: syncapi.StateThrottled, state: store.Pushed, calls: 2, tries: 1, waits: toMidnight}, 45009)
	add(row{meet: 1, during: syncapi.StateThrottled, state: store.Pushed, calls: 2, tries: 1, waits: toMinute}, 45011)
	// Probed after 5, 10 and 20 s.
	add(row{meet: 3, during: syncapi.StateBlocked, state: store.Pushed, calls: 4, tries: 1, waits: probes},
		40013, 40125, 41002, 41004, 40243, 40164, 45035, 61004, 89503, 89504, 89505, 89506, 89507,
		40230, 40231, 40232, 40233, 40234, 40235, 48001, 48004, 50001, 50002, 50004, 50007, 61024, 150004)
	return all
}

func toMidnight(met time.Time) (from, to time.Time) {
	y, m, d := met.In(beijing).Date()
	from = time.Date(y, m, d+1, 0, 0, 0, 0, beijing)
	return from, from.Add(3 * time.Minute)
}

func toMinute(met time.Time) (from, to time.Time) {
	from = met.Truncate(time.Minute).Add(time.Minute)
	return from, from.Add(4 * time.Second)
}

func probes(met time.Time) (from, to time.Time) {
	return met.Add(35 * time.Second), met.Add(45 * time.Second)
}

// TestEveryRow holds what that table says against everything at once: an event
// meets each code at WeChat, once through pathnotify and once through userquery.
// Its outcome, its attempts, its pauses, the state that status shows meanwhile,
// and what trace and deadletter list show of it: errcode, rid and errmsg.
func TestEveryRow(t *testing.T) {
	for _, r := range rows() {
		for _, api := range []fake.API{fake.PathNotify, fake.UserQuery} {
			t.Run(fmt.Sprintf("%s %d %d times", api, r.code, r.meet), func(t *testing.T) {
				o := fake.Options{Script: fake.Script{Faults: []fake.Fault{{API: api, Errcode: r.code, Count: r.meet}}}}
				inTown(t, 1, uplink.Notify{}, o, func(w *town) { r.meetWith(w, api) })
			})
		}
	}
}

// meetWith scans one parcel that meets the code and one that comes later.
func (r row) meetWith(w *town, api fake.API) {
	d, e := w.depots[0], scanOf(1, time.Now())
	d.scan(e)
	if r.during != syncapi.StateOK || r.state == store.Dead || r.tries > 2 {
		r.checkKept(w, api, d.until(e.Waybill, time.Minute, func(s store.Record) bool { return s.Last.ErrCode == r.code }))
	}
	if st := d.up.Status(); st.WeChatState != r.during || (r.during != syncapi.StateOK && !strings.Contains(st.WeChatReason, fmt.Sprintf("errcode %d", r.code))) {
		w.t.Errorf("status shows %s: %s; want %s and the code", st.WeChatState, st.WeChatReason, r.during)
	} else if r.code == 40164 && !strings.Contains(st.WeChatReason, "10.9.8.7") {
		w.t.Errorf("the reason lacks the address: %s", st.WeChatReason)
	}
	end := d.until(e.Waybill, 25*time.Hour, finished)
	if end.State != r.state || end.Attempts != r.tries {
		w.t.Errorf("%v after %d attempts, want %v after %d", end.State, end.Attempts, r.state, r.tries)
	}
	if end.State == store.Dead {
		r.checkKept(w, api, end)
	}
	r.checkCalls(w, api)
	later := scanOf(2, time.Now()) // whatever came of it, others go on
	d.scan(later)
	if got := d.until(later.Waybill, 10*time.Second, finished); got.State != store.Pushed {
		w.t.Errorf("the next parcel is %v", got.State)
	}
	if st := d.up.Status(); st.WeChatState != syncapi.StateOK || st.WeChatReason != "" {
		w.t.Errorf("at the end WeChat is %s: %s", st.WeChatState, st.WeChatReason)
	}
}

// checkKept compares what the event keeps with what WeChat said.
func (r row) checkKept(w *town, api fake.API, got store.Record) {
	w.t.Helper()
	calls := w.calls(api)
	knows := slices.ContainsFunc(calls, func(c fake.Call) bool { return c.RID == got.Last.RID && c.Errcode == r.code })
	words := wechat.Meaning(r.code)
	if words == "" {
		words = "does not know"
	}
	if got.Last.ErrCode != r.code || !knows || !strings.Contains(got.Last.Reason, words) || !strings.HasPrefix(got.Last.Reason, string(api)+": ") {
		w.t.Errorf("kept is %+v; WeChat said %+v", got.Last, calls)
	}
	// errmsg stands behind the code, without the rid.
	if _, msg, ok := strings.Cut(got.Last.Reason, fmt.Sprintf("(errcode %d): ", r.code)); !ok || len(msg) < 3 || strings.Contains(msg, got.Last.RID) {
		w.t.Errorf("the reason lacks WeChat's errmsg: %s", got.Last.Reason)
	}
}

// checkCalls counts the calls and looks at the pause before the last.
func (r row) checkCalls(w *town, api fake.API) {
	w.t.Helper()
	calls := w.calls(api)
	if len(calls) != r.calls {
		w.t.Fatalf("%d calls of %s, want %d", len(calls), api, r.calls)
	}
	if r.waits == nil {
		return
	}
	from, to := r.waits(calls[0].At)
	if last := calls[len(calls)-1].At; last.Before(from) || last.After(to) {
		w.t.Errorf("met at %v, the last call at %v; want it between %v and %v", calls[0].At.In(beijing), last.In(beijing), from.In(beijing), to.In(beijing))
	}
}

// TestOneRefreshForAll: 100 calls of four depots are under way when the token is
// voided. All get 40001, WeChat is asked for a token once more, and no event is
// lost, late or pushed twice.
func TestOneRefreshForAll(t *testing.T) {
	o := fake.Options{Script: fake.Script{Faults: []fake.Fault{{API: fake.PathNotify, Delay: 50 * time.Millisecond}}}}
	inTown(t, 4, uplink.Notify{Concurrency: 25}, o, func(w *town) {
		learn := scanOf(0, time.Now()) // all are of one receiver, whose binding is known
		for i, d := range w.depots {
			e := scanOf(1000+i, time.Now())
			e.Data = learn.Data
			d.scan(e)
			d.until(e.Waybill, 10*time.Second, finished)
		}
		w.wechat.RotateToken()
		for i, d := range w.depots {
			var events []scan.Event
			for n := range 25 {
				e := scanOf(100*(i+1)+n, time.Now())
				e.Data = learn.Data
				events = append(events, e)
			}
			d.scan(events...)
		}
		time.Sleep(20 * time.Second)
		if n := w.wechat.Count(fake.PathNotify, 40001); n != 100 {
			w.t.Errorf("%d calls met 40001, want 100", n)
		}
		if n := w.wechat.Count(fake.StableToken, 0); n != 2 {
			w.t.Errorf("%d tokens were asked for, want the first and one more", n)
		}
		if n := len(w.wechat.Pushes()); n != 104 {
			w.t.Errorf("%d pushes, want 104", n)
		}
		for i, d := range w.depots {
			for _, r := range d.outcomes() {
				if r.State != store.Pushed || r.Attempts != 1 {
					w.t.Errorf("depot %d: %s is %v after %d attempts", i, r.Event.Waybill, r.State, r.Attempts)
				}
			}
			if st := d.up.Status(); st.WeChatState != syncapi.StateOK {
				w.t.Errorf("depot %d: WeChat is %s: %s", i, st.WeChatState, st.WeChatReason)
			}
		}
	})
}

// TestUnknownCodeOfTheAccount: a code that nobody knows, on every waybill, concerns
// the account: pushing stops, says so, and kills nothing; when it is over all goes on.
func TestUnknownCodeOfTheAccount(t *testing.T) {
	for _, api := range []fake.API{fake.PathNotify, fake.UserQuery} {
		o := fake.Options{Script: fake.Script{Faults: []fake.Fault{{API: api, Errcode: 50099}}}}
		inTown(t, 1, uplink.Notify{}, o, func(w *town) {
			d, events := w.depots[0], []scan.Event(nil)
			for n := range 30 {
				events = append(events, scanOf(n, time.Now()))
			}
			d.scan(events...)
			time.Sleep(2 * time.Hour)
			if st := d.up.Status(); st.WeChatState != syncapi.StateBlocked || !strings.Contains(st.WeChatReason, "50099") || !strings.Contains(st.WeChatReason, "account") {
				w.t.Errorf("%s: WeChat is %s: %s", api, st.WeChatState, st.WeChatReason)
			}
			if n := d.outbox.Counts().State[store.Dead]; n > 0 || len(w.calls(api)) > 70 {
				w.t.Errorf("%s: %d are dead after %d calls", api, n, len(w.calls(api)))
			}
			if err := w.wechat.SetScript(fake.Script{}); err != nil {
				w.t.Fatal(err)
			}
			time.Sleep(15 * time.Minute)
			if n := d.outbox.Counts().State[store.Pushed]; n != 30 {
				w.t.Errorf("%s: %d of 30 are pushed when it is over", api, n)
			}
		})
	}
}

// TestPassingFaults: of the calls some meet 500, -1, 932001 or 42001, as happens
// when WeChat has a bad minute; with the same token others succeed. Nothing stands
// still for it, neither here nor at the depot beside it.
func TestPassingFaults(t *testing.T) {
	o := fake.Options{Seed: 7, Script: fake.Script{Faults: []fake.Fault{
		{API: fake.PathNotify, Share: 0.05, Status: 500}, {API: fake.PathNotify, Share: 0.05, Errcode: -1},
		{API: fake.PathNotify, Share: 0.05, Errcode: 932001}, {API: fake.PathNotify, Share: 0.03, Errcode: 42001},
		{API: fake.UserQuery, Share: 0.03, Errcode: 40001}, {API: fake.PathNotify, Delay: 20 * time.Millisecond},
	}}}
	inTown(t, 2, uplink.Notify{}, o, func(w *town) {
		var events []scan.Event
		for n := range 600 {
			events = append(events, scanOf(n, time.Now()))
		}
		began, blocked := time.Now(), 0
		w.depots[0].scan(events...)
		for w.depots[0].outbox.Counts().State[store.Pushed] < 600 && time.Since(began) < 2*time.Minute {
			time.Sleep(100 * time.Millisecond)
			for _, d := range w.depots {
				if d.up.Status().WeChatState == syncapi.StateBlocked {
					blocked++
				}
			}
		}
		if took := time.Since(began); took > 40*time.Second || blocked > 100 {
			w.t.Errorf("600 events took %v, the state was blocked %d times of ten a second", took, blocked)
		}
	})
}

// TestTokenRefusedForGood: someone else's refreshes void every token. That is
// blocked, not a loop, and mends itself when it stops.
func TestTokenRefusedForGood(t *testing.T) {
	o := fake.Options{Script: fake.Script{Faults: []fake.Fault{{API: fake.PathNotify, Errcode: 40001}}}}
	inTown(t, 2, uplink.Notify{}, o, func(w *town) {
		for i, d := range w.depots {
			d.scan(scanOf(i, time.Now()))
		}
		time.Sleep(time.Hour)
		for _, d := range w.depots {
			if st := d.up.Status(); st.WeChatState != syncapi.StateBlocked || !strings.Contains(st.WeChatReason, "someone else") {
				w.t.Errorf("WeChat is %s: %s", st.WeChatState, st.WeChatReason)
			}
		}
		if n, tokens := len(w.calls(fake.PathNotify)), len(w.calls(fake.StableToken)); n > 80 || tokens > 40 {
			w.t.Errorf("%d calls and %d requests for tokens in an hour of being blocked", n, tokens)
		}
		if err := w.wechat.SetScript(fake.Script{}); err != nil {
			w.t.Fatal(err)
		}
		for i, d := range w.depots {
			if r := d.until(scanOf(i, time.Now()).Waybill, 11*time.Minute, finished); r.State != store.Pushed || r.Attempts != 1 {
				w.t.Errorf("depot %d: %v after %d attempts", i, r.State, r.Attempts)
			}
		}
	})
}

// TestNoTokenSaysWhy: central's address is not on the account's allow list; the
// depots' status names it, and all flows once it is.
func TestNoTokenSaysWhy(t *testing.T) {
	o := fake.Options{Script: fake.Script{Faults: []fake.Fault{{API: fake.StableToken, Errcode: 40164}}}}
	inTown(t, 1, uplink.Notify{}, o, func(w *town) {
		d, e := w.depots[0], scanOf(1, time.Now())
		d.scan(e)
		time.Sleep(time.Minute)
		if st := d.up.Status(); st.WeChatState != syncapi.StateBlocked || !strings.Contains(st.WeChatReason, "10.9.8.7") || !strings.Contains(st.WeChatReason, "allow list") {
			w.t.Errorf("WeChat is %s: %s", st.WeChatState, st.WeChatReason)
		}
		if err := w.wechat.SetScript(fake.Script{}); err != nil {
			w.t.Fatal(err)
		}
		if r := d.until(e.Waybill, 6*time.Minute, finished); r.State != store.Pushed || r.Attempts != 1 {
			w.t.Errorf("%v after %d attempts", r.State, r.Attempts)
		}
	})
}

// TestOneUserqueryForTheFleet: a parcel passes four depots; its receiver is asked
// for once, and once more when the binding's life is over.
func TestOneUserqueryForTheFleet(t *testing.T) {
	inTown(t, 4, uplink.Notify{BindingBound: 15 * time.Minute}, fake.Options{}, func(w *town) {
		pass := func() {
			for _, d := range w.depots {
				d.scan(scanOf(7, time.Now()))
				time.Sleep(time.Minute)
			}
		}
		pass()
		if q, p := len(w.calls(fake.UserQuery)), len(w.wechat.Pushes()); q != 1 || p != 4 {
			w.t.Errorf("%d userqueries for %d pushes, want 1 for 4", q, p)
		}
		time.Sleep(15 * time.Minute)
		pass()
		if q, p := len(w.calls(fake.UserQuery)), len(w.wechat.Pushes()); q > 2 || p != 8 {
			w.t.Errorf("%d userqueries for %d pushes, want at most 2 for 8", q, p)
		}
	})
}
