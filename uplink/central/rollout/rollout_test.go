package rollout

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/scan"
	"scanrelay/agent/update/trust"
	"scanrelay/uplink/central/documents"
	table "scanrelay/uplink/central/internal/documents"
	"scanrelay/uplink/syncapi/directive"
)

var evening = time.Date(2026, 11, 30, 22, 0, 0, 0, time.UTC)

// gateway is a simulated one. It takes a release in ten minutes, and ends ill ones after
// twenty more, of which it goes back.
type gateway struct {
	Depot
	told    string // what it was told to come to
	ready   time.Time
	crashes time.Time // zero: never
}

// world is a fleet and its centre, at a time of its own.
type world struct {
	t     *testing.T
	now   time.Time
	fleet []*gateway
	sites map[string][]*gateway
	docs  documents.Table
	alone bool
	*Service
	ill  func(g *gateway) bool // whether the new release crashes there
	wake func(g *gateway, at time.Time) bool
}

func newWorld(t *testing.T, docs documents.Table, fleet ...*gateway) *world {
	w := &world{
		t: t, now: evening, fleet: fleet, docs: docs, ill: func(*gateway) bool { return false },
		wake: func(*gateway, time.Time) bool { return true }, sites: map[string][]*gateway{},
	}
	for _, g := range fleet {
		w.sites[g.key()] = append(w.sites[g.key()], g)
	}
	w.begin()
	w.now = w.now.Add(settled)
	return w
}

// begin starts the centre, as after a kill.
func (w *world) begin() {
	w.Service = New(Options{
		Table: w.docs, Alone: w.alone, Now: func() time.Time { return w.now }, Logger: slog.New(slog.DiscardHandler), Fleet: w.list,
		Releases: func(context.Context) ([]trust.Target, error) {
			return []trust.Target{{Version: "1.0.0"}, {Version: "1.1.0"}, {Version: "1.2.0"}}, nil
		},
	})
	if err := w.Load(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) list(context.Context) ([]Depot, error) {
	list := make([]Depot, len(w.fleet))
	for i, g := range w.fleet {
		list[i] = g.Depot
	}
	return list, nil
}

func gatewayOf(id int, site string) *gateway {
	return &gateway{Depot: Depot{
		ID: scan.DepotID(fmt.Sprintf("d-%05d", id)), Site: site, Version: "1.0.0", Update: &directive.UpdateState{Version: "1.0.0", State: "idle"},
	}}
}

// live is what one does until now, and its sync.
func (w *world) live(g *gateway) {
	u := *g.Update
	switch {
	case !g.crashes.IsZero() && !w.now.Before(g.crashes): // three times in a row: it goes back
		u = directive.UpdateState{Version: "1.0.0", State: "rolled_back", Target: g.Version, Verdict: "bad", Reason: "it ended three times within an hour"}
		g.Version, g.crashes, g.told = "1.0.0", time.Time{}, ""
	case u.State == "trial" && !w.now.Before(g.ready):
		u = directive.UpdateState{Version: g.told, State: "committed", Target: g.told, Verdict: "committed"}
		g.Version = g.told
		if w.ill(g) {
			g.crashes = w.now.Add(20 * time.Minute)
		}
	}
	g.Update = &u
	want := w.Hear(w.t.Context(), g.Depot)
	switch d := want.Update; {
	case d == nil:
		if u.State == "trial" && !want.Hold {
			w.t.Errorf("%s: nothing is said during its trial", g.ID)
		}
		g.told = ""
	case d.Back:
		g.Version, g.crashes, g.told = d.Version, time.Time{}, ""
		g.Update = &directive.UpdateState{Version: d.Version, State: "committed"}
	case g.Version != d.Version && u.State != "trial" && !want.Hold && u.Verdict != "bad":
		g.told, g.ready = d.Version, w.now.Add(10*time.Minute)
		g.Update = &directive.UpdateState{Version: g.Version, State: "trial", Target: d.Version}
		trials := 0
		for _, other := range w.sites[g.key()] {
			if other.Update.State == "trial" {
				trials++
			}
		}
		if trials > 1 {
			w.t.Errorf("%d gateways of %s are changed at once", trials, g.key())
		}
	}
}

// pass lets time go by, in steps.
func (w *world) pass(d, step time.Duration) {
	w.t.Helper()
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(step)
		for _, g := range w.fleet {
			awake := w.wake(g, w.now)
			if g.Away = !awake; awake {
				w.live(g)
			}
		}
		if err := w.Step(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) view() *View {
	w.t.Helper()
	v, _, err := w.Now(w.t.Context())
	if err != nil || v == nil {
		w.t.Fatal(v, err)
	}
	return v
}

func (w *world) start(p Plan) {
	w.t.Helper()
	if _, err := w.Start(w.t.Context(), Actor{Who: "ops-1"}, p); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) act(action, refused string) {
	w.t.Helper()
	_, err := w.Act(w.t.Context(), Actor{Who: "ops-1"}, action)
	if refused == "" && err != nil || refused != "" && (!errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), refused)) {
		w.t.Errorf("%s: %v", action, err)
	}
}

func plan() Plan {
	return Plan{Version: "1.1.0", Rings: []float64{0.01, 0.1, 0.5, 1}, Soak: 3600, HaltAt: 0.02}
}

func (w *world) runs(version string) (n int) {
	for _, g := range w.fleet {
		if g.Version == version {
			n++
		}
	}
	return n
}

// chance is the same for the same words.
func chance(words ...any) float64 {
	h := fnv.New64a()
	fmt.Fprint(h, words...)
	return float64(h.Sum64()%100_000) / 100_000
}

// large is 10,000 gateways, a third of which share a site with another, and of which 30 %
// sleep each day.
func large(t *testing.T) *world {
	var fleet []*gateway
	for i := range 10_000 {
		site := ""
		if i%6 < 2 {
			site = fmt.Sprintf("site-%d", i/6)
		}
		fleet = append(fleet, gatewayOf(i, site))
	}
	w := newWorld(t, table.New(nil), fleet...)
	w.alone = true
	w.begin()
	w.now = w.now.Add(settled)
	w.wake = func(g *gateway, at time.Time) bool { return chance(g.ID, at.Add(-12*time.Hour).YearDay()) >= 0.3 }
	return w
}

func (w *world) curve() {
	v := w.view()
	w.t.Logf("%s  ring %d %-8s told %5d  updated %5d  failed %3d  under way %4d  away %4d  waiting %5d", w.now.Format("01-02 15:04"), v.Ring, v.State,
		v.All.told(), v.All.Updated, v.All.Failed, v.All.Busy, v.All.Offline+v.All.Silent, v.All.Waiting)
}

// TestBadRelease: of 10,000 gateways, 30 % of which sleep, a release that crashes at one in
// three after twenty minutes reaches the ring of canaries alone, is halted in its first
// soak, and goes back.
func TestBadRelease(t *testing.T) {
	w := large(t)
	w.ill = func(g *gateway) bool { return chance("ill", g.ID) < 1./3 }
	w.start(plan())
	for range 12 {
		w.pass(10*time.Minute, 5*time.Minute)
		w.curve()
	}
	v := w.view()
	if v.State != Halted || v.Ring != 1 || v.All.told() > 150 || v.All.told() < 30 || !slices.Equal(v.Needs, []string{NeedDecision}) || len(v.Trips) == 0 {
		t.Errorf("%+v", v)
	}
	for _, g := range w.fleet {
		if g.Version != "1.0.0" && v.ring(&g.Depot) != 1 {
			t.Fatalf("%s of ring %d runs %s", g.ID, v.ring(&g.Depot), g.Version)
		}
	}
	w.act("back", "")
	w.pass(20*time.Minute, 5*time.Minute)
	w.curve()
	w.wake = func(*gateway, time.Time) bool { return true }
	w.pass(20*time.Minute, 5*time.Minute)
	w.curve()
	if n := w.runs("1.0.0"); n != len(w.fleet) {
		t.Errorf("%d run what they had", n)
	}
}

// TestGoodRelease: a good one reaches all, each in its window, those who sleep once they
// wake, and never two of a site at once.
func TestGoodRelease(t *testing.T) {
	w := large(t)
	p := plan()
	p.Window = "01:00-05:00"
	w.start(p)
	began := w.now
	last := 0
	for w.runs("1.1.0") < len(w.fleet) {
		if w.now.Sub(began) > 20*24*time.Hour {
			t.Fatalf("after twenty days only %d have it: %+v", w.runs("1.1.0"), w.view())
		}
		step, inside := time.Hour, w.now.Hour() < 6
		if inside {
			step = 10 * time.Minute
		}
		w.pass(step, step)
		if n := w.runs("1.1.0"); n != last {
			if last = n; !inside {
				t.Errorf("%s: a gateway was changed outside of the window", w.now)
			}
			w.curve()
		}
	}
	w.pass(2*time.Hour, time.Hour)
	if v := w.view(); v.State != Done || v.All.Updated != len(w.fleet) || v.All.Failed != 0 {
		t.Errorf("%+v", v.All)
	}
}

// TestSite: of two gateways of a site one is told, and the other once that has come to an
// end, also where a process of the centre is killed in between, or another one is asked.
func TestSite(t *testing.T) {
	w := newWorld(t, table.New(nil), gatewayOf(1, "s"), gatewayOf(2, "s"))
	w.start(Plan{Version: "1.1.0", Rings: []float64{1}, Soak: 60, HaltAt: 0.1})
	a, b := w.fleet[0], w.fleet[1]
	if w.Hear(t.Context(), a.Depot).Update == nil {
		t.Fatal("the first is not told")
	}
	stale := w.Service
	w.begin()
	for _, s := range []*Service{w.Service, stale} {
		if s.Hear(t.Context(), b.Depot).Update != nil {
			t.Error("the second is told as well")
		}
	}
	other := w.Service
	w.begin()
	done := a.Depot
	done.Version, done.Update = "1.1.0", &directive.UpdateState{Version: "1.1.0", State: "committed"}
	w.Hear(t.Context(), done)
	if other.Hear(t.Context(), b.Depot); w.Hear(t.Context(), b.Depot).Update == nil {
		t.Error("the second is not told once the first has it")
	}
}

// TestActions: what a person does, and what is refused; a pause lets nobody begin, what was
// halted goes on once somebody says so, and halts again by what fails then.
func TestActions(t *testing.T) {
	var fleet []*gateway
	for i := range 40 {
		fleet = append(fleet, gatewayOf(i, ""))
	}
	w := newWorld(t, table.New(nil), fleet...)
	w.act("pause", "no rollout")
	p := plan()
	p.Rings, p.Canaries = []float64{1}, []scan.DepotID{"d-00000", "d-00001"}
	bad := p
	bad.Version = "9.9.9"
	if _, err := w.Start(t.Context(), Actor{}, bad); !errors.Is(err, ErrRefused) {
		t.Errorf("a version that is not there: %v", err)
	}
	bad = p
	bad.Canaries = []scan.DepotID{"d-00000", "d-0001"}
	if _, err := w.Start(t.Context(), Actor{}, bad); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "canary d-0001 is no depot") {
		t.Errorf("a canary that is not there: %v", err)
	}
	w.start(p)
	if _, err := w.Start(t.Context(), Actor{}, p); !errors.Is(err, ErrRefused) {
		t.Errorf("two at once: %v", err)
	}
	w.act("nonsense", "none of")
	w.act("resume", "nothing to resume")
	w.pass(5*time.Minute, 5*time.Minute)
	if v := w.view(); v.Ring != 0 || v.All.told() != 2 {
		t.Errorf("canaries first: %+v", v.All)
	}
	w.act("pause", "")
	fleet[0].Update = &directive.UpdateState{Version: "1.0.0", State: "staged", Target: "1.1.0"}
	if d := w.Hear(t.Context(), fleet[0].Depot); !d.Hold || d.Update == nil {
		t.Errorf("while it is paused: %+v", d)
	}
	w.act("resume", "")
	fleet[0].Update.State = "idle"
	w.pass(30*time.Minute, 5*time.Minute)
	w.ill = func(g *gateway) bool { return g.ID == "d-00007" }
	w.pass(2*time.Hour, 5*time.Minute)
	if v := w.view(); v.State != Halted || !strings.Contains(v.Why, "of 40") && !strings.Contains(v.Why, "1 of") {
		t.Errorf("a failure: %s %q", v.State, v.Why)
	}
	w.act("resume", "")
	w.pass(2*time.Hour, 5*time.Minute)
	if v := w.view(); v.State != Done || v.All.Failed != 1 || v.All.Updated != 39 || !slices.Contains(v.Needs, NeedFailed) {
		t.Errorf("resumed: %s %+v %v", v.State, v.All, v.Needs)
	}
	w.act("back", "")
	w.pass(10*time.Minute, 5*time.Minute)
	if w.runs("1.0.0") != 40 {
		t.Errorf("%d went back", w.runs("1.0.0"))
	}
	p.Version = "1.2.0"
	w.start(p)
	if _, past, err := w.Now(t.Context()); err != nil || len(past) != 1 || past[0].State != Back {
		t.Errorf("what was before: %+v, %v", past, err)
	}
}

// TestWhoIsNotTold: gateways that are held, too old to be told, revoked, newer, of another
// label, or outside of their window where they are.
func TestWhoIsNotTold(t *testing.T) {
	p := Plan{Version: "1.1.0", Rings: []float64{1}, Soak: 60, HaltAt: 0.1, Labels: map[string]string{"region": "east"}, Window: "01:00-05:00"}
	r := Rollout{ID: "r", Plan: p, State: Running, Ring: 1}
	night := time.Date(2026, 11, 30, 2, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		change func(d *Depot)
		want   bool
	}{
		"one as all":          {func(*Depot) {}, true},
		"after it went back":  {func(d *Depot) { d.Update.State = "rolled_back" }, true},
		"held":                {func(d *Depot) { d.Update.State = "held" }, false},
		"on trial":            {func(d *Depot) { d.Update.State = "trial" }, false},
		"without any update":  {func(d *Depot) { d.Update = nil }, false},
		"revoked":             {func(d *Depot) { d.Revoked = true }, false},
		"newer":               {func(d *Depot) { d.Version = "1.2.0" }, false},
		"the same":            {func(d *Depot) { d.Version = "1.1.0" }, false},
		"elsewhere":           {func(d *Depot) { d.Labels["region"] = "west" }, false},
		"where it is ten":     {func(d *Depot) { d.Labels[zoneLabel] = "Asia/Shanghai" }, false},
		"where it is four":    {func(d *Depot) { d.Labels[zoneLabel] = "Europe/Athens" }, true},
		"in a zone of nobody": {func(d *Depot) { d.Labels[zoneLabel] = "Mars/Olympus" }, true},
	} {
		d := gatewayOf(1, "").Depot
		d.Labels = map[string]string{"region": "east"}
		c.change(&d)
		if _, changed, want := r.Hear(Group{Rollout: "r"}, &d, night); changed != c.want || (want.Update != nil) != c.want {
			t.Errorf("%s: told is %v, %+v", name, changed, want)
		}
	}
}

// TestHowOneDid: what a gateway says makes its result.
func TestHowOneDid(t *testing.T) {
	r := Rollout{ID: "r", Plan: Plan{Version: "1.1.0", Rings: []float64{1}, Soak: 3600}, State: Running, Ring: 1}
	under, has := Member{From: "1.0.0", At: evening}, Member{From: "1.0.0", At: evening, Result: Updated, Done: evening, Restarts: 1}
	for name, c := range map[string]struct {
		m       Member
		version string
		said    directive.UpdateState
		after   time.Duration
		result  string
	}{
		"downloads":                {under, "1.0.0", directive.UpdateState{State: "downloading", Target: "1.1.0"}, 0, ""},
		"on trial":                 {under, "1.1.0", directive.UpdateState{State: "trial", Target: "1.1.0"}, 0, ""},
		"committed":                {under, "1.1.0", directive.UpdateState{State: "committed", Target: "1.1.0"}, 0, Updated},
		"newer by other means":     {under, "1.3.0", directive.UpdateState{State: "idle"}, 0, Updated},
		"bad":                      {under, "1.0.0", directive.UpdateState{State: "rolled_back", Target: "1.1.0", Verdict: "bad", Reason: "no scans"}, 0, Failed},
		"bad of another":           {under, "1.0.0", directive.UpdateState{State: "rolled_back", Target: "1.0.9", Verdict: "bad"}, 0, ""},
		"inconclusive":             {under, "1.0.0", directive.UpdateState{State: "rolled_back", Target: "1.1.0", Verdict: "inconclusive"}, 0, ""},
		"gone back by hand":        {under, "1.0.0", directive.UpdateState{State: "rolled_back", Target: "1.1.0", Verdict: "by_hand"}, 0, Failed},
		"well":                     {has, "1.1.0", directive.UpdateState{State: "committed", Restarts: 1}, time.Minute, Updated},
		"restarts within the soak": {has, "1.1.0", directive.UpdateState{State: "committed", Restarts: 2}, time.Hour, Failed},
		"restarts after it":        {has, "1.1.0", directive.UpdateState{State: "committed", Restarts: 2}, 2 * time.Hour, Updated},
		"older again":              {has, "1.0.0", directive.UpdateState{State: "idle"}, 9 * time.Hour, Failed},
		"bad after all":            {has, "1.0.0", directive.UpdateState{State: "rolled_back", Target: "1.1.0", Verdict: "bad"}, 9 * time.Hour, Failed},
	} {
		d := gatewayOf(1, "").Depot
		d.Version, d.Update = c.version, &c.said
		m := c.m
		if r.look(&m, &d, evening.Add(c.after)); m.Result != c.result || (m.Why == "") != (c.result != Failed) {
			t.Errorf("%s: %q, %q", name, m.Result, m.Why)
		}
	}
}

// TestNothingIsToldThatIsNotKept: where the store takes nothing, or what it has is
// damaged, no gateway is told.
func TestNothingIsToldThatIsNotKept(t *testing.T) {
	docs := table.New(nil)
	w := newWorld(t, docs, gatewayOf(1, "s"), gatewayOf(2, "s"))
	w.start(Plan{Version: "1.1.0", Rings: []float64{1}, Soak: 60, HaltAt: 0.1})
	if w.Hear(t.Context(), w.fleet[0].Depot).Update == nil {
		t.Fatal("the first is not told")
	}
	docs.Change(groupPrefix+"site/s", func(doc []byte) []byte { doc[3]++; return doc })
	w.begin()
	for _, g := range w.fleet {
		if w.Hear(t.Context(), g.Depot).Update != nil {
			t.Error("one is told by what cannot be read")
		}
	}
	if len(docs.Damage()) == 0 {
		t.Error("nobody says that it is damaged")
	}
	w.act("halt", "")
	w.start(Plan{Version: "1.2.0", Rings: []float64{1}, Soak: 60, HaltAt: 0.1})
	if w.Hear(t.Context(), w.fleet[0].Depot).Update == nil {
		t.Error("by another rollout, too, none is told")
	}
	docs.Change(ledgerName, func(doc []byte) []byte { doc[3]++; return doc })
	if err := w.Load(t.Context()); err == nil {
		t.Error("a damaged ledger is taken")
	}
}

// TestRingsOfARelease: shares are as they were asked for, rings of two releases are not the
// same, and nobody waits for rings in which nobody is, nor forever for those who can be
// told and are not.
func TestRingsOfARelease(t *testing.T) {
	p, q := plan(), plan()
	q.Version = "1.2.0"
	first, both := 0, 0
	for i := range 10_000 {
		d := gatewayOf(i, "").Depot
		if p.ring(&d) == 1 {
			if first++; q.ring(&d) == 1 {
				both++
			}
		}
	}
	if first < 60 || first > 140 || both > 10 {
		t.Errorf("%d are in the first ring, %d in that of another release, too", first, both)
	}
	w := newWorld(t, table.New(nil), gatewayOf(1, ""), gatewayOf(2, "s"), gatewayOf(3, "s"))
	p.Rings = []float64{1}
	w.start(p)
	w.wake = func(g *gateway, _ time.Time) bool { return g.ID != "d-00002" || g.Update.State == "idle" } // falls silent in its trial
	for range 5 {
		w.pass(24*time.Hour, time.Hour)
	}
	v := w.view()
	if v.State != Done || w.runs("1.1.0") != 1 || !slices.Contains(v.Needs, NeedSilent) || !slices.Equal(v.Silent, []string{"d-00002"}) {
		t.Errorf("%s, %d have it, needs %v, silent %v", v.State, w.runs("1.1.0"), v.Needs, v.Silent)
	}
}

func FuzzPlan(f *testing.F) {
	f.Add("1.1.0", "01:00-05:00", 0.5, int64(3600), 0.02)
	f.Add("1.1.0-rc.1", "22:30-04:00", 1., int64(60), 0.)
	f.Add("", "1:00-5:00", 0., int64(-1), 2.)
	f.Fuzz(func(t *testing.T, version, window string, share float64, soak int64, halt float64) {
		p := Plan{Version: version, Window: window, Rings: []float64{share}, Soak: soak, HaltAt: halt}
		if p.Check() != nil {
			return
		}
		inside := 0
		for minute := range 24 * 60 {
			if p.within(evening.Add(time.Duration(minute) * time.Minute)) {
				inside++
			}
		}
		w, _ := p.window()
		if want := int((w.To-w.From+24*time.Hour)/time.Minute) % (24 * 60); window != "" && inside != want && !(want == 0 && inside == 24*60) {
			t.Errorf("%s: %d minutes lie within, not %d", window, inside, want)
		}
		d := gatewayOf(1, "").Depot
		if ring := p.ring(&d); ring < nowhere || ring > 1 {
			t.Errorf("ring %d", ring)
		}
	})
}

// TestReasonInChinese: each reason why a rollout stands has its Chinese.
func TestReasonInChinese(t *testing.T) {
	r := Rollout{Plan: Plan{HaltAt: 0.1}, State: Running}
	r.judge([]Counts{{Updated: 6, Failed: 3}}, evening, true)
	for why, want := range map[string]string{r.Why: "已通知的 9 台网关中有 3 台失败", whyBy + "ops-1": "由 ops-1 停止", whyRestored: "恢复了备份:备份之后它可能已被停止", "": ""} {
		if r.Why = why; r.Reason("zh") != want || r.Reason("en") != why {
			t.Errorf("%q: %q, %q", why, r.Reason("zh"), r.Reason("en"))
		}
	}
}

// TestWordsAgree: each state and need has its words, in both languages.
func TestWordsAgree(t *testing.T) {
	keys := []string{Running, Paused, Halted, Back, Done, "canaries", "ring"}
	for _, need := range []string{NeedDecision, NeedResume, NeedReach, NeedSilent, NeedUnable, NeedFailed, NeedStuck} {
		keys = append(keys, "need_"+need)
	}
	for lang, all := range words {
		for _, key := range keys {
			if Word(lang, key) == key && lang == "zh" || all[key] == "" {
				t.Errorf("%s lacks %q", lang, key)
			}
		}
		if len(all) != len(keys) {
			t.Errorf("%s has %d words, %d are used", lang, len(all), len(keys))
		}
	}
	r := Rollout{Plan: plan()}
	if got := r.Name("en", 2) + r.Name("zh", 0); got != "ring 2 (10 %)先行网点" {
		t.Error(got)
	}
}
