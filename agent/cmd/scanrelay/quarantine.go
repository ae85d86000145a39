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
	cmd := &command{
		use:   "replay",
		short: "Put the quarantine through the mapping that the agent uses now",
		long:  "Put the quarantine through the mapping that the agent uses now: mend the\nconfiguration, reload it (SIGHUP), then replay. What is understood is stored and\nleaves the quarantine; the rest stays. Nothing is stored twice.",
		args:  noArgs,
		run: func(ctx context.Context, _ []string) error {
			c, err := l.dial(ctx)
			if err != nil {
				return err
			}
			defer c.Close()
			r, err := c.Replay(ctx)
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
	return cmd
}
