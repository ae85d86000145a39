package look

import (
	"context"
	"fmt"

	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/control"
)

func (s *shared) quarantineCommand() *cli.Command {
	cmd := &cli.Command{
		Use:   "quarantine",
		Short: "Work on what could not be understood",
	}
	cmd.Add(s.quarantineList(), s.quarantineReplay())
	return cmd
}

func (s *shared) quarantineList() *cli.Command {
	l := s.looker()
	cmd := &cli.Command{
		Use:   "list",
		Short: "List what is in quarantine, as events --state rejected does",
		Args:  cli.NoArgs,
		Run:   func(ctx context.Context, _ []string) error { return l.listEvents(ctx, control.StateRejected) },
	}
	l.flags(cmd, true)
	l.pick.flags(cmd, false)
	return cmd
}

func (s *shared) quarantineReplay() *cli.Command {
	l := s.looker()
	var all bool
	cmd := &cli.Command{
		Use:   "replay [ID… | --all]",
		Short: "Put the quarantine through the mapping that the agent uses now",
		Long: "Put the quarantine through the mapping that the agent uses now: mend the\n" +
			"configuration, reload it (SIGHUP), then replay. What is understood is stored and\n" +
			"leaves the quarantine; the rest stays. Nothing is stored twice. With IDs, as\n" +
			"quarantine list shows them, only these entries; without, or with --all, every one.",
		Run: func(ctx context.Context, ids []string) error {
			if all && len(ids) > 0 {
				return cli.Usagef("replay takes the IDs of entries, or --all")
			}
			if err := control.CheckRejected(ids); err != nil {
				return cli.UsageError{Err: err}
			}
			return l.dial(ctx, func(c *control.Client) error {
				r, err := c.Replay(ctx, ids...)
				switch {
				case err != nil:
					return err
				case l.json:
					return l.JSON(r)
				}
				_, err = fmt.Fprintf(l.Out, l.Say("%d entries: %d left the quarantine, %d remain; %d events stored, %d duplicate, %d ignored\n", "%d 条:%d 条离开隔离区,%d 条仍在;存入 %d 个事件,重复 %d,忽略 %d\n"),
					r.Entries, r.Left, r.Remaining, r.Events, r.Duplicate, r.Ignored)
				return err
			})
		},
	}
	l.flags(cmd, false)
	cmd.Flags().BoolVar(&all, "all", false, "every entry, as without IDs")
	return cmd
}
