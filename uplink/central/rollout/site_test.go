package rollout

import (
	"testing"
	"time"

	"scanrelay/uplink/central/documents"
	table "scanrelay/uplink/central/internal/documents"
	"scanrelay/uplink/syncapi/directive"
)

// says has a gateway say where it stands.
func (w *world) says(g *gateway, version, state string) directive.Directives {
	w.t.Helper()
	g.Version, g.Update = version, &directive.UpdateState{Version: version, State: state}
	return w.Hear(w.t.Context(), g.Depot)
}

// pair is two gateways of a site, of which the first is told of 1.1.0.
func pair(t *testing.T, docs documents.Table) (w *world, a, b *gateway) {
	t.Helper()
	w = newWorld(t, docs, gatewayOf(1, "s"), gatewayOf(2, "s"))
	w.alone = true
	w.begin()
	w.now = w.now.Add(settled)
	w.start(everywhere("1.1.0"))
	a, b = w.fleet[0], w.fleet[1]
	if d := w.says(a, "1.0.0", "idle"); d.Update == nil {
		t.Fatal("the first is not told")
	}
	return w, a, b
}

func everywhere(version string) Plan {
	return Plan{Version: version, Rings: []float64{1}, Soak: 60, HaltAt: 0.1}
}

// TestBackBesideOneThatIsHeld: who has what was halted goes back also where the next one of
// its site has brought it and was held; that one takes the next release.
func TestBackBesideOneThatIsHeld(t *testing.T) {
	for _, state := range []string{"held", "downloading"} {
		w, a, b := pair(t, table.New(nil))
		w.says(a, "1.1.0", "committed")
		if d := w.says(b, "1.0.0", "idle"); d.Update == nil {
			t.Fatal("the second is not told")
		}
		w.act("halt", "")
		if d := w.says(b, "1.0.0", state); !d.Hold {
			t.Errorf("%s: halted: %+v", state, d)
		}
		w.act("back", "")
		w.says(b, "1.0.0", state)
		if d := w.says(a, "1.1.0", "committed"); d.Update == nil || !d.Update.Back {
			t.Errorf("%s: the first is not told to go back: %+v", state, d)
		}
		if d := w.says(b, "1.0.0", state); d.Update != nil {
			t.Errorf("%s: the second is told %+v", state, d)
		}
		w.says(a, "1.0.0", "committed")
		w.start(everywhere("1.2.0"))
		for _, left := range []string{"staged", "downloading"} { // which nothing clears but another release
			if _, _, d := w.ledger.Now.Hear(Group{Rollout: w.ledger.Now.ID}, &Depot{ID: b.ID, Version: "1.0.0", Update: &directive.UpdateState{State: left}}, w.now); d.Update == nil {
				t.Errorf("%s of the one before: it is not told of the next", left)
			}
		}
	}
}

// TestUnderWayForTheOneBefore: a gateway that is on trial, or goes back, for a rollout keeps
// the others of its site waiting also where the next rollout has begun, and after a start.
func TestUnderWayForTheOneBefore(t *testing.T) {
	w, a, b := pair(t, table.New(nil))
	w.says(a, "1.1.0", "trial")
	w.act("halt", "")
	w.start(everywhere("1.2.0"))
	for _, step := range []string{"begun", "started anew"} {
		if d := w.says(b, "1.0.0", "idle"); d.Update != nil {
			t.Errorf("%s: told beside a trial: %+v", step, d)
		}
		if d := w.says(a, "1.1.0", "trial"); d != (directive.Directives{}) {
			t.Errorf("%s: told during its trial: %+v", step, d)
		}
		if v := w.view(); v.All.Busy != 1 || v.All.Waiting != 1 {
			t.Errorf("%s: %+v", step, v.All)
		}
		w.begin()
	}
	if d := w.says(a, "1.1.0", "committed"); d.Update == nil || d.Update.Version != "1.2.0" {
		t.Errorf("once its trial is over: %+v", d)
	}
	if d := w.says(b, "1.0.0", "idle"); d.Update != nil {
		t.Errorf("told beside one that was told: %+v", d)
	}
	w.says(a, "1.2.0", "committed")
	w.act("back", "")
	if d := w.says(a, "1.2.0", "committed"); d.Update == nil || !d.Update.Back {
		t.Fatalf("it is not told to go back: %+v", d)
	}
	w.start(everywhere("1.2.0"))
	w.says(a, "1.2.0", "committed") // not yet
	if d := w.says(b, "1.0.0", "idle"); d.Update != nil {
		t.Errorf("told beside one that goes back: %+v", d)
	}
	if w.says(a, "1.1.0", "committed"); w.view().All.Busy != 1 { // it has gone back, and is told anew
		t.Errorf("%+v", w.view().All)
	}
	w.says(a, "1.2.0", "committed")
	w.act("back", "")
	w.says(a, "1.2.0", "committed")
	w.start(everywhere("1.2.0"))
	w.now = w.now.Add(backLasts + time.Second)
	w.says(a, "1.2.0", "committed")
	if d := w.says(b, "1.0.0", "idle"); d.Update == nil {
		t.Error("one that never went back keeps the others waiting for ever")
	}
}

// TestSaysNothingOfUpdates: a sync of the command that enrols, or of an agent that has just
// begun, is no word about how a release did.
func TestSaysNothingOfUpdates(t *testing.T) {
	w, a, b := pair(t, table.New(nil))
	a.Version, a.Update = "1.1.0", nil
	w.Hear(t.Context(), a.Depot)
	if d := w.says(b, "1.0.0", "idle"); d.Update != nil {
		t.Errorf("the other is told in the trial: %+v", d)
	}
	w.says(a, "1.1.0", "committed")
	a.Version, a.Update = "1.0.0", nil
	w.Hear(t.Context(), a.Depot)
	if v := w.view(); v.All.Failed != 0 || v.All.Updated != 1 {
		t.Errorf("%+v", v.All)
	}
}
