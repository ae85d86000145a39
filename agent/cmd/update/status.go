package update

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/update/follow"
	"scanrelay/agent/update/record"
)

func (m *maker) statusCommand() *cli.Command {
	var p places
	var asJSON bool
	cmd := &cli.Command{
		Use:   "status",
		Short: "Say which version runs, which was before, and what came of the last update",
		Args:  cli.NoArgs,
		Run: func(context.Context, []string) error {
			s := follow.Look(record.Root(p.root), record.Own(p.own), m.version, time.Now())
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

func (m *maker) print(s follow.Status) error {
	row := func(name, value string) error {
		if value == "" {
			return nil
		}
		_, err := fmt.Fprintf(m.Out, "%-10s %s\n", name, cli.Visible(value))
		return err
	}
	verdict, held, again := "", "", ""
	if v := s.Verdict; v != nil {
		verdict = cli.Because(v.Version+" "+v.Result, v.Reason)
		if v.At != nil {
			verdict += " (" + v.At.UTC().Format(time.RFC3339) + ")"
		}
	}
	if s.HeldUntil != nil {
		held = s.HeldUntil.UTC().Format(time.RFC3339)
	}
	if s.Again != nil {
		again = s.Again.UTC().Format(time.RFC3339)
	}
	err := errors.Join(
		row(m.Say("version", "版本"), s.Version), row(m.Say("packaged", "软件包"), s.Packaged), row(m.Say("before", "上一版本"), cmp.Or(s.Previous, m.name(record.Release{}))),
		row(m.Say("candidate", "候选版本"), s.Candidate), row(m.Say("state", "状态"), s.State), row(m.Say("held until", "暂停至"), held), row(m.Say("last", "最近结果"), verdict),
		row(m.Say("wanted", "中心要求"), s.Wanted), row(m.Say("waits for", "等待"), s.Waits), row(m.Say("failed", "失败"), s.Failed), row(m.Say("again at", "重试时间"), again),
	)
	for _, text := range s.Problems {
		err = errors.Join(err, row(m.Say("PROBLEM", "问题"), text))
	}
	return err
}
