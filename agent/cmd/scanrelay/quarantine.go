package main

import (
	"context"
	"encoding/json"
	"fmt"

	"scanrelay/agent/control"
)

func (a *app) quarantineCommand() *command {
	cmd := &command{
		use:   "quarantine",
		short: "Work on what could not be understood",
	}
	cmd.add(a.quarantineList(), a.quarantineReplay())
	return cmd
}

func (a *app) quarantineList() *command {
	l := &looker{app: a}
	cmd := &command{
		use:   "list",
		short: "List what is in quarantine, as events --state rejected does",
		args:  noArgs,
		run:   func(ctx context.Context, _ []string) error { return l.listEvents(ctx, control.StateRejected) },
	}
	l.flags(cmd, true)
	return cmd
}

func (a *app) quarantineReplay() *command {
	l := &looker{app: a}
	var all bool
	cmd := &command{
		use:   "replay [ID… | --all]",
		short: "Put the quarantine through the mapping that the agent uses now",
		long: "Put the quarantine through the mapping that the agent uses now: mend the\n" +
			"configuration, reload it (SIGHUP), then replay. What is understood is stored and\n" +
			"leaves the quarantine; the rest stays. Nothing is stored twice. With IDs, as\n" +
			"quarantine list shows them, only these entries; without, or with --all, every one.",
		run: func(ctx context.Context, ids []string) error {
			if all && len(ids) > 0 {
				return usagef("replay takes the IDs of entries, or --all")
			}
			if err := control.CheckRejected(ids); err != nil {
				return usageError{err}
			}
			c, err := l.dial(ctx)
			if err != nil {
				return err
			}
			defer c.Close()
			r, err := c.Replay(ctx, ids...)
			if err != nil {
				return err
			}
			if l.json {
				return json.NewEncoder(a.out).Encode(r)
			}
			_, err = fmt.Fprintf(a.out, "%d entries: %d left the quarantine, %d remain; %d events stored, %d duplicate, %d ignored\n",
				r.Entries, r.Left, r.Remaining, r.Events, r.Duplicate, r.Ignored)
			return err
		},
	}
	l.flags(cmd, false)
	cmd.flags().BoolVar(&all, "all", false, "every entry, as without IDs")
	return cmd
}
