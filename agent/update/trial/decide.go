package trial

import (
	"fmt"
	"slices"
	"time"

	"scanrelay/agent/update/launch"
	"scanrelay/agent/update/record"
)

// What a trial has, unless it says: time until it is healthy, and until the centre has
// answered. Whoever began it may give less.
const (
	healthyWithin = 30 * time.Second
	syncedWithin  = 5 * time.Minute
)

const (
	contactWithin = time.Minute // of a sync a trial may begin
	quietWithin   = time.Minute // a quiet moment is waited for
	tryAgain      = time.Hour   // what was inconclusive
)

// Facts are what is seen of the running version, and of what root wrote down.
type Facts struct {
	Now     record.Moment
	Healthy error         // why scans are not taken, or a loop stands still
	Synced  bool          // since this process began
	Reached bool          // the centre answered, if only to say what is wanted
	Contact time.Duration // since it last did
	Quiet   bool          // no scan came in for a while
	Held    bool
	Waiting time.Duration // for a quiet moment
	Record  record.Record
}

// Step is what is to be done, in this order: the state is written, root is asked, the
// process ends.
type Step struct {
	State   record.State
	Ask     string // op; "": nothing
	About   record.Release
	Ready   bool   // a trial waits for nothing but a quiet moment
	Restart bool   // as planned
	Fail    string // why this version gives up
}

// Decide tells what to do next. run is how this process was started, first what was to
// run then.
func Decide(run record.Run, first record.Release, st record.State, f Facts) Step {
	age, _ := f.Now.Since(run.Began)
	switch t, v := st.Trial, st.Verdict; {
	case t != nil && t.Release == run.Release && t.Passed:
		return passed(st, f)
	case t != nil && t.Release == run.Release && run.Role == record.RoleTrial:
		return onTrial(st, f, age)
	case v != nil && v.Result == record.Testing && v.Release != run.Release:
		return test(st, f, age)
	case v != nil && v.Result == record.Bad && (v.Release == f.Record.Candidate || v.Release == f.Record.Committed):
		return Step{State: st, Ask: record.OpBar, About: v.Release}
	}
	return idle(run, first, st, f)
}

func onTrial(st record.State, f Facts, age time.Duration) Step {
	t := *st.Trial
	st.Trial = &t
	give := func(why string) Step {
		t.Failed = why
		return Step{State: st, Fail: why}
	}
	switch {
	case f.Healthy == nil && f.Synced:
		t.Passed = true
		return Step{State: st, Ask: record.OpCommit, About: t.Release}
	case f.Healthy != nil && age >= within(t.Healthy, healthyWithin):
		return give(fmt.Sprintf("after %v: %v", age.Round(time.Second), f.Healthy))
	case age >= within(t.Synced, syncedWithin):
		return give(fmt.Sprintf("no sync with the centre within %v", age.Round(time.Second)))
	}
	return Step{State: st}
}

// within is what was given, if that is less.
func within(given, most time.Duration) time.Duration {
	if given > 0 {
		return min(given, most)
	}
	return most
}

// passed asks root until it has written it down.
func passed(st record.State, f Facts) Step {
	r := st.Trial.Release
	switch r {
	case f.Record.Committed:
		st.Verdict = &record.Verdict{Release: r, Result: record.Good, When: f.Now}
		st.Trial, st.Away = nil, nil
		if st.Running != nil { // it runs on, and its ends count from now on
			run := *st.Running
			run.Role = record.RoleCommitted
			st.Running = &run
		}
		return Step{State: st}
	case f.Record.Candidate:
		return Step{State: st, Ask: record.OpCommit, About: r}
	}
	st.Trial = nil // taken away by hand
	return Step{State: st, Restart: true}
}

// test says whether the version that was gone back to does better.
func test(st record.State, f Facts, age time.Duration) Step {
	v := *st.Verdict
	switch {
	case f.Healthy == nil && f.Synced && !v.Doubt:
		v.Result = record.Bad
	case f.Healthy == nil && f.Synced, age >= syncedWithin:
		v.Result = record.Inconclusive
	default:
		return Step{State: st}
	}
	v.When = f.Now
	st.Verdict = &v
	s := Step{State: st}
	if v.Result == record.Bad {
		s.Ask, s.About = record.OpBar, v.Release
	}
	return s
}

// idle looks whether something else is to run.
func idle(run record.Run, first record.Release, st record.State, f Facts) Step {
	st.Away = slices.DeleteFunc(slices.Clone(st.Away), func(digest string) bool { return slices.Contains(f.Record.Barred, digest) })
	again := true
	if v := st.Verdict; v != nil && v.Result == record.Inconclusive {
		ago, same := f.Now.Since(v.When)
		again = !same || ago >= tryAgain
		if again && f.Healthy == nil && f.Synced && slices.Contains(st.Away, v.Release.SHA256) {
			st.Away = nil
		}
		again = again || v.Release != f.Record.Candidate
	}
	if w := launch.Wanted(f.Record, st, run.Packaged); w != first && w != run.Release {
		return Step{State: st, Restart: true}
	}
	c := f.Record.Candidate
	ready := again && !c.IsPackaged() && !f.Held && f.Healthy == nil && f.Reached && f.Contact < contactWithin &&
		!slices.Contains(f.Record.Barred, c.SHA256)
	if !ready || !f.Quiet && f.Waiting < quietWithin {
		return Step{State: st, Ready: ready}
	}
	st.Trial = &record.Trial{Release: c}
	return Step{State: st, Ready: true, Restart: true}
}
