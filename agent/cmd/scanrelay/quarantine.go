package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"scanrelay/agent/control"
)

func (a *app) quarantineCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "quarantine",
		Short: "Work on what could not be understood",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return usagef("quarantine needs list or replay")
		},
	}
	cmd.AddCommand(a.quarantineList(), a.quarantineReplay())
	return cmd
}

func (a *app) quarantineList() *cobra.Command {
	l := &looker{app: a}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List what is in quarantine, as events --state rejected does",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return l.listEvents(cmd, control.StateRejected) },
	}
	l.flags(cmd, true)
	return cmd
}

func (a *app) quarantineReplay() *cobra.Command {
	l := &looker{app: a}
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Put the quarantine through the mapping that the agent uses now",
		Long:  "Put the quarantine through the mapping that the agent uses now: mend the\nconfiguration, reload it (SIGHUP), then replay. What is understood is stored and\nleaves the quarantine; the rest stays. Nothing is stored twice.",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := l.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			r, err := c.Replay(cmd.Context())
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
