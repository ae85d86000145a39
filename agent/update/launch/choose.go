package launch

import (
	"fmt"
	"slices"
	"time"

	"scanrelay/agent/update/record"
)

// A candidate is started three times at most, and no more once half a minute has
// passed since the first: what hangs is to be gone back from within a minute, too.
const (
	maxTries  = 3
	tryWithin = 30 * time.Second
)

// A version that ends so often within so long, not as planned, is gone back from.
const (
	maxEnds    = 3
	endsWithin = time.Hour
)

// Choice is what is to be started, and why.
type Choice struct {
	Release record.Release
	Role    record.Role
}

// unusable says of versions, by their keys, why they cannot run, and whether that may be
// the machine's fault.
type unusable map[string]failure

type failure struct {
	why   string
	doubt bool
}

// key is what a version is known by in a state.
func key(r record.Release, packaged string) string {
	if r.IsPackaged() {
		return "packaged " + packaged
	}
	return r.SHA256
}

// ended accounts for how the run before ended: as planned it took its note away.
func ended(st record.State, packaged string, now record.Moment) record.State {
	run := st.Running
	st.Running = nil
	st.Ends = slices.DeleteFunc(slices.Clone(st.Ends), func(m record.Moment) bool {
		ago, same := now.Since(m)
		return !same || ago > endsWithin
	})
	if run == nil || run.Began.Boot != now.Boot || run.Role == record.RoleTrial {
		return st
	}
	if st.Ends = append(st.Ends, now); len(st.Ends) < maxEnds {
		return st
	}
	st.Ends = nil
	why := fmt.Sprintf("it ended %d times within an hour, not as planned", maxEnds)
	st.Away = append(slices.Clone(st.Away), key(run.Release, run.Packaged))
	switch v := st.Verdict; {
	case v != nil && v.Result == record.Testing: // what was gone back to does no better
		st.Verdict = settled(*v, record.Inconclusive, why+", as did the version before", now)
	case !run.Release.IsPackaged():
		st.Verdict = &record.Verdict{Release: run.Release, Result: record.Testing, Reason: why, When: now}
	}
	return st
}

func settled(v record.Verdict, result, why string, now record.Moment) *record.Verdict {
	v.Result, v.When = result, now
	if why != "" {
		v.Reason += "; " + why
	}
	return &v
}

// Choose decides what to start, and what is to be on disk before.
func Choose(rec record.Record, st record.State, packaged string, now record.Moment, not map[string]failure) (record.State, Choice) {
	if st.Trial != nil {
		st = try(rec, st, now, not)
	}
	if t := st.Trial; t != nil {
		role := record.RoleTrial
		if t.Passed {
			role = record.RoleCommitted
		}
		return st, Choice{t.Release, role}
	}
	c := Choice{Release: wanted(rec, &st, packaged, not), Role: record.RoleCommitted}
	if v := st.Verdict; v != nil && v.Result == record.Testing {
		c.Role = record.RoleTest
	}
	return st, c
}

// try counts another try of the candidate, or ends its trial.
func try(rec record.Record, st record.State, now record.Moment, not unusable) record.State {
	t := *st.Trial
	st.Trial = nil
	if rec.Candidate != t.Release || slices.Contains(rec.Barred, t.Release.SHA256) {
		return st // committed or taken away
	}
	fail := func(why string) record.State {
		st.Verdict = &record.Verdict{Release: t.Release, Result: record.Testing, Reason: why, Doubt: t.Doubt, When: now}
		return st
	}
	if bad, ok := not[t.Release.SHA256]; ok {
		t.Doubt = t.Doubt || bad.doubt
		return fail(bad.why)
	}
	if slices.Contains(st.Away, t.Release.SHA256) { // it had passed, and has its own verdict
		return st
	}
	if t.Passed {
		st.Trial = &t
		return st
	}
	if t.Failed != "" {
		return fail(t.Failed)
	}
	since, sameBoot := now.Since(t.First)
	switch {
	case t.Tries >= maxTries:
		return fail(fmt.Sprintf("it was started %d times and did not last", t.Tries))
	case t.Tries == 0:
		t.First = now
	case !sameBoot: // a power cut, or worse
		t.First, t.Doubt = now, true
	case since > tryWithin:
		return fail(fmt.Sprintf("it ended %v after its start, before it was committed", since.Round(time.Second)))
	}
	t.Tries++
	st.Trial = &t
	return st
}

// Wanted is the version that is to run where none is on trial.
func Wanted(rec record.Record, st record.State, packaged string) record.Release {
	return wanted(rec, &st, packaged, nil)
}

// wanted is the first that can run and was not gone back from. Where all were gone
// back from it begins anew: what ends them all is not the versions' fault.
func wanted(rec record.Record, st *record.State, packaged string, not unusable) record.Release {
	order := []record.Release{rec.Committed, rec.Previous, {}}
	if !rec.Committed.IsPackaged() && record.Newer(packaged, rec.Committed.Version) {
		order = []record.Release{{}, rec.Committed, rec.Previous}
	}
	order = slices.DeleteFunc(order, func(r record.Release) bool {
		_, bad := not[key(r, packaged)]
		return bad || !r.IsPackaged() && slices.Contains(rec.Barred, r.SHA256)
	})
	order = append(order, record.Release{}) // the packaged one at the latest
	for _, r := range order {
		if !slices.Contains(st.Away, key(r, packaged)) {
			return r
		}
	}
	st.Away = nil
	return order[0]
}
