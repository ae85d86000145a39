package update

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/update/launch"
	"scanrelay/agent/update/record"
	"scanrelay/store/durable"
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
	s.State = stateOf(rec, st, own, s.HeldUntil != nil)
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

func stateOf(rec record.Record, st record.State, own record.Own, held bool) string {
	switch v := st.Verdict; {
	case st.Trial != nil && !st.Trial.Passed:
		return "trial"
	case held:
		return "held"
	case durable.Exists(filepath.Join(string(own), record.StagedFolder, record.Target+durable.TempSuffix)):
		return "downloading"
	case (own.Asked() || !rec.Candidate.IsPackaged()) && st.Trial == nil && !slices.Contains(rec.Barred, rec.Candidate.SHA256) && (v == nil || v.Release != rec.Candidate):
		return "staged"
	case v != nil && v.Result != record.Good:
		return "rolled_back"
	case v != nil || st.Trial != nil:
		return "committed"
	}
	return "idle"
}

func (m *maker) statusCommand() *cli.Command {
	var p places
	var asJSON bool
	cmd := &cli.Command{
		Use:   "status",
		Short: "Say which version runs, which was before, and what came of the last update",
		Args:  cli.NoArgs,
		Run: func(context.Context, []string) error {
			s := Look(record.Root(p.root), record.Own(p.own), m.version, time.Now())
			if asJSON {
				return m.JSON(s)
			}
			return m.print(s)
		},
	}
	p.flags(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (m *maker) print(s Status) error {
	row := func(name, value string) error {
		if value == "" {
			return nil
		}
		_, err := fmt.Fprintf(m.Out, "%-10s %s\n", name, cli.Visible(value))
		return err
	}
	verdict, held := "", ""
	if v := s.Verdict; v != nil {
		verdict = cli.Because(v.Version+" "+v.Result, v.Reason)
		if v.At != nil {
			verdict += " (" + v.At.UTC().Format(time.RFC3339) + ")"
		}
	}
	if s.HeldUntil != nil {
		held = s.HeldUntil.UTC().Format(time.RFC3339)
	}
	err := errors.Join(
		row(m.Say("version", "版本"), s.Version), row(m.Say("packaged", "软件包"), s.Packaged), row(m.Say("before", "上一版本"), cmp.Or(s.Previous, m.name(record.Release{}))),
		row(m.Say("candidate", "候选版本"), s.Candidate), row(m.Say("state", "状态"), s.State), row(m.Say("held until", "暂停至"), held), row(m.Say("last", "最近结果"), verdict),
	)
	for _, text := range s.Problems {
		err = errors.Join(err, row(m.Say("PROBLEM", "问题"), text))
	}
	return err
}
