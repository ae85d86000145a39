package follow

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"scanrelay/agent/update/launch"
	"scanrelay/agent/update/record"
	"scanrelay/store/durable"
	"scanrelay/uplink/syncapi/directive"
)

// Status is what there is of versions; its JSON is promised to scripts.
type Status struct {
	Version   string     `json:"version"`             // that runs, or is to
	Packaged  string     `json:"packaged"`            // the package's
	Previous  string     `json:"previous"`            // the one before; "": the packaged one
	Candidate string     `json:"candidate,omitempty"` // installed, and to be tried
	State     string     `json:"state"`               // idle, downloading, staged, trial, committed, rolled_back, held
	HeldUntil *time.Time `json:"held_until,omitempty"`
	Verdict   *Verdict   `json:"verdict,omitempty"`
	Barred    int        `json:"barred,omitempty"` // versions that are never taken again
	Wanted    string     `json:"wanted,omitempty"` // by the centre
	Waits     string     `json:"waits,omitempty"`  // what its trial waits for
	Failed    string     `json:"failed,omitempty"` // why it was not brought
	Again     *time.Time `json:"again,omitempty"`  // when it is looked for again
	Problems  []string   `json:"problems,omitempty"`
}

// Verdict is the last.
type Verdict struct {
	Version string     `json:"version"`
	Result  string     `json:"result"` // testing, committed, bad, inconclusive
	Reason  string     `json:"reason,omitempty"`
	At      *time.Time `json:"at,omitempty"`
}

// Look tells what there is; packaged is the version of the package, if nothing else says.
func Look(root record.Root, own record.Own, packaged string, now time.Time) Status {
	var s Status
	rec, err := root.Read()
	s.problem("the record of the versions", err)
	st, err := own.State()
	s.problem("the state of updates", err)
	until, err := own.Held()
	s.problem("the hold", err)
	s.Packaged = packaged
	if st.Running != nil {
		s.Packaged = st.Running.Packaged
	}
	runs := launch.Wanted(rec, st, s.Packaged)
	if st.Running != nil {
		runs = st.Running.Release
	}
	s.Version, s.Previous, s.Candidate, s.Barred = cmp.Or(runs.Version, s.Packaged), rec.Previous.Version, rec.Candidate.Version, len(rec.Barred)
	if v := st.Verdict; v != nil {
		s.Verdict = &Verdict{Version: v.Release.Version, Result: v.Result, Reason: v.Reason}
		if !v.Wall.IsZero() {
			s.Verdict.At = &v.Wall
		}
	}
	if now.Before(until) {
		s.HeldUntil = &until
	}
	w, err := own.Wanted()
	s.problem("what the centre wants", err)
	s.Wanted, s.Waits, s.Failed = w.Version, w.Waits, w.Problem
	if !w.Again.IsZero() {
		s.Again = &w.Again
	}
	s.State = stateOf(rec, st, own, w, s.HeldUntil != nil || w.Held)
	if st.Problem != "" {
		s.Problems = append(s.Problems, st.Problem)
	}
	if launch.NoExec(string(root)) {
		s.Problems = append(s.Problems, fmt.Sprintf("the file system of %s is mounted noexec: no version there can run", root))
	}
	for _, r := range []record.Release{rec.Committed, rec.Previous, rec.Candidate} {
		if is, err := root.Installed(r.Version); !r.IsPackaged() && (err != nil || is != r) {
			s.problem("version "+r.Version, cmp.Or(err, durable.ErrDamaged))
		}
	}
	return s
}

func (s *Status) problem(what string, err error) {
	if err != nil {
		s.Problems = append(s.Problems, fmt.Sprintf("%s cannot be read: %v", what, err))
	}
}

func stateOf(rec record.Record, st record.State, own record.Own, w record.Wanted, held bool) string {
	switch v := st.Verdict; {
	case st.Trial != nil && !st.Trial.Passed:
		return "trial"
	case held:
		return "held"
	case w.Bringing, durable.Exists(filepath.Join(string(own), record.StagedFolder, record.Target+durable.TempSuffix)):
		return "downloading"
	case (durable.Exists(filepath.Join(string(own), record.StagedFolder, record.Target)) || !rec.Candidate.IsPackaged()) && st.Trial == nil && !slices.Contains(rec.Barred, rec.Candidate.SHA256) && (v == nil || v.Release != rec.Candidate):
		return "staged"
	case v != nil && v.Result != record.Good:
		return "rolled_back"
	case v != nil || st.Trial != nil:
		return "committed"
	}
	return "idle"
}

// Report is that for the centre. since is when the state was first seen.
func (s Status) Report(digest string, restarts int, since time.Time) *directive.UpdateState {
	u := &directive.UpdateState{Version: s.Version, Digest: digest, State: s.State, Restarts: restarts, Since: since.Unix(), Target: cmp.Or(s.Candidate, s.Wanted)}
	switch v := s.Verdict; {
	case v != nil && (v.Version == u.Target || u.Target == "" || u.Target == s.Version):
		u.Target, u.Verdict, u.Reason = v.Version, v.Result, v.Reason
	case u.Target == s.Version:
		u.Target = ""
	}
	u.Reason = cmp.Or(u.Reason, s.Failed, s.Waits)
	for _, text := range []*string{&u.Version, &u.Target, &u.Reason} {
		*text = directive.Cut(*text)
	}
	return u
}
