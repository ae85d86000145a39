package launch

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"scanrelay/agent/update/record"
)

func rel(version string) record.Release {
	return record.Release{Version: version, SHA256: "digest of " + version, Length: 1}
}

func at(boot string, d time.Duration) record.Moment { return record.Moment{Boot: boot, At: d} }

func TestChoose(t *testing.T) {
	a, b, c := rel("1.0.0"), rel("1.1.0"), rel("1.2.0")
	rec := record.Record{Previous: a, Committed: b, Candidate: c}
	trial := func(change func(*record.Trial)) record.State {
		tr := record.Trial{Release: c}
		change(&tr)
		return record.State{Trial: &tr}
	}
	bar := rec
	bar.Barred = []string{b.SHA256}
	barC := rec
	barC.Barred = []string{c.SHA256}
	now := at("boot", time.Hour)
	for _, k := range []struct {
		name     string
		rec      record.Record
		st       record.State
		packaged string
		not      unusable
		want     string // version and role
		verdict  string
		tries    int
	}{
		{"nothing was ever installed", record.Record{}, record.State{}, "0.9.0", nil, " committed", "", 0},
		{"the committed one", rec, record.State{}, "0.9.0", nil, "1.1.0 committed", "", 0},
		{"the package is newer", rec, record.State{}, "1.1.1", nil, " committed", "", 0},
		{"the package is of the same version", rec, record.State{}, "1.1.0", nil, "1.1.0 committed", "", 0},
		{"the package is a build without a version", rec, record.State{}, "dev", nil, "1.1.0 committed", "", 0},
		{"it is damaged", rec, record.State{}, "0.9.0", unusable{b.SHA256: {}}, "1.0.0 committed", "", 0},
		{"so is the one before", rec, record.State{}, "0.9.0", unusable{b.SHA256: {}, a.SHA256: {}}, " committed", "", 0},
		{"it is barred, and root has not yet gone back", bar, record.State{}, "0.9.0", nil, "1.0.0 committed", "", 0},
		{"it was gone back from", rec, record.State{Away: []string{b.SHA256}}, "0.9.0", nil, "1.0.0 committed", "", 0},
		{"all were gone back from", rec, record.State{Away: []string{b.SHA256, a.SHA256, "packaged 0.9.0"}}, "0.9.0", nil, "1.1.0 committed", "", 0},
		{"another package came since", rec, record.State{Away: []string{b.SHA256, a.SHA256, "packaged 0.9.0"}}, "0.9.1", nil, " committed", "", 0},
		{"the first try", rec, trial(func(t *record.Trial) {}), "0.9.0", nil, "1.2.0 trial", "", 1},
		{"the third", rec, trial(func(t *record.Trial) { t.Tries, t.First = 2, at("boot", time.Hour-30*time.Second) }), "0.9.0", nil, "1.2.0 trial", "", 3},
		{"no fourth", rec, trial(func(t *record.Trial) { t.Tries, t.First = 3, now }), "0.9.0", nil, "1.1.0 test", "testing", 0},
		{"none later", rec, trial(func(t *record.Trial) { t.Tries, t.First = 1, at("boot", time.Hour-31*time.Second) }), "0.9.0", nil, "1.1.0 test", "testing", 0},
		{"a power cut in between", rec, trial(func(t *record.Trial) { t.Tries, t.First = 1, at("other", 3*time.Hour) }), "0.9.0", nil, "1.2.0 trial", "", 2},
		{"power cuts again and again", rec, trial(func(t *record.Trial) { t.Tries, t.First = 3, at("other", 3*time.Hour) }), "0.9.0", nil, "1.1.0 test", "testing", 0},
		{"it says itself that it failed", rec, trial(func(t *record.Trial) { t.Tries, t.First, t.Failed = 1, now, "why" }), "0.9.0", nil, "1.1.0 test", "testing", 0},
		{"it cannot be executed", rec, trial(func(t *record.Trial) { t.Tries, t.First = 1, now }), "0.9.0", unusable{c.SHA256: {}}, "1.1.0 test", "testing", 0},
		{"it passed, root has not yet committed it", rec, trial(func(t *record.Trial) { t.Tries, t.Passed, t.First = 3, true, at("other", 1) }), "0.9.0", nil, "1.2.0 committed", "", 3},
		{"it passed, and is away", rec, func() record.State {
			s := trial(func(t *record.Trial) { t.Passed = true })
			s.Away = []string{c.SHA256}
			return s
		}(), "0.9.0", nil, "1.1.0 committed", "", 0},
		{"root committed it", record.Record{Previous: b, Committed: c}, trial(func(t *record.Trial) { t.Tries, t.Passed = 1, true }), "0.9.0", nil, "1.2.0 committed", "", 0},
		{"root took the candidate away", record.Record{Committed: b}, trial(func(t *record.Trial) { t.Tries = 1 }), "0.9.0", nil, "1.1.0 committed", "", 0},
		{"the candidate is barred", barC, trial(func(t *record.Trial) { t.Tries = 1 }), "0.9.0", nil, "1.1.0 committed", "", 0},
		{"a candidate nobody tries yet", rec, record.State{}, "0.9.0", nil, "1.1.0 committed", "", 0},
	} {
		st, got := Choose(k.rec, k.st, k.packaged, now, k.not)
		if text := got.Release.Version + " " + string(got.Role); text != k.want {
			t.Errorf("%s: it starts %q, want %q", k.name, text, k.want)
		}
		verdict, tries := "", 0
		if st.Verdict != nil {
			verdict = st.Verdict.Result
		}
		if st.Trial != nil {
			tries = st.Trial.Tries
		}
		if verdict != k.verdict || tries != k.tries {
			t.Errorf("%s: verdict %q after %d tries, want %q after %d", k.name, verdict, tries, k.verdict, k.tries)
		}
	}
}

// TestThreeUnplannedEnds goes back from a committed version that ends again and again,
// and from nothing else.
func TestThreeUnplannedEnds(t *testing.T) {
	a, b := rel("1.0.0"), rel("1.1.0")
	rec := record.Record{Previous: a, Committed: b}
	// lives starts, ends and starts again: what was started, in order.
	lives := func(planned bool, moments ...record.Moment) (started []string, st record.State) {
		for _, now := range moments {
			st = ended(st, "0.9.0", now)
			var c Choice
			st, c = Choose(rec, st, "0.9.0", now, nil)
			st.Running = &record.Run{Release: c.Release, Role: c.Role, Packaged: "0.9.0", Began: now}
			started = append(started, c.Release.Version+" "+string(c.Role))
			if planned {
				st.Running = nil
			}
		}
		return started, st
	}
	every := func(d time.Duration, n int) (m []record.Moment) {
		for i := range n {
			m = append(m, at("boot", time.Duration(i)*d))
		}
		return m
	}
	for _, c := range []struct {
		name    string
		planned bool
		moments []record.Moment
		want    string
	}{
		{"crashes at once", false, every(time.Second, 4), "1.1.0 committed,1.1.0 committed,1.1.0 committed,1.0.0 test"},
		{"just within an hour", false, every(30*time.Minute, 4), "1.1.0 committed,1.1.0 committed,1.1.0 committed,1.0.0 test"},
		{"more rarely", false, every(31*time.Minute, 4), "1.1.0 committed,1.1.0 committed,1.1.0 committed,1.1.0 committed"},
		{"stopped by systemd", true, every(time.Second, 4), "1.1.0 committed,1.1.0 committed,1.1.0 committed,1.1.0 committed"},
		{"power cuts", false, []record.Moment{at("1", 9), at("2", 9), at("3", 9), at("4", 9)}, "1.1.0 committed,1.1.0 committed,1.1.0 committed,1.1.0 committed"},
	} {
		started, st := lives(c.planned, c.moments...)
		if got := strings.Join(started, ","); got != c.want {
			t.Errorf("%s: it starts\n%s, want\n%s", c.name, got, c.want)
		}
		if back := strings.HasSuffix(c.want, "test"); back != (st.Verdict != nil && st.Verdict.Result == record.Testing && st.Verdict.Release == b) {
			t.Errorf("%s: the verdict is %+v", c.name, st.Verdict)
		}
	}
	// What ends all versions is the fault of none: it begins anew, and says so.
	started, st := lives(false, every(time.Second, 10)...)
	if got, want := strings.Join(started[3:], ","), "1.0.0 test,1.0.0 test,1.0.0 test, committed, committed, committed,1.1.0 committed"; got != want {
		t.Errorf("after the first went it starts\n%s, want\n%s", got, want)
	}
	if st.Verdict == nil || st.Verdict.Result != record.Inconclusive || st.Verdict.Release != b || st.Away != nil {
		t.Errorf("the verdict is %+v, away %v", st.Verdict, st.Away)
	}
}

// TestCommittedSurvivesItsTrial: a trial leaves no unplanned end behind, and the clock of
// another boot is not compared with.
func TestCommittedSurvivesItsTrial(t *testing.T) {
	run := &record.Run{Release: rel("1.2.0"), Role: record.RoleTrial, Began: at("b", 1)}
	if st := ended(record.State{Running: run}, "0.9.0", at("b", 2)); len(st.Ends) != 0 || st.Running != nil {
		t.Errorf("a try counts as an unplanned end: %+v", st)
	}
	if ago, same := at("b", 1).Since(at("b", 2)); same {
		t.Errorf("a moment that is to come was %v ago", ago)
	}
	st := record.State{Ends: []record.Moment{at("a", 0), at("b", 0)}}
	if got := ended(st, "0.9.0", at("b", time.Minute)).Ends; !reflect.DeepEqual(got, []record.Moment{at("b", 0)}) {
		t.Errorf("what counts is %v", got)
	}
	if got := fmt.Sprint(st.Ends[0].Boot); got != "a" {
		t.Error("a decision changed what it was given")
	}
}
