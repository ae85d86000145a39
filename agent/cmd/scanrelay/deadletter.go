package main

import (
	"bufio"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"scanrelay/agent/control"
)

func (a *app) deadletterCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "deadletter",
		Short: "Work on dead letters: what no retry could deliver",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return usagef("deadletter needs list, retry or discard")
		},
	}
	cmd.AddCommand(a.deadletterList(), a.deadletterRetry(), a.deadletterDiscard())
	return cmd
}

func (a *app) deadletterList() *cobra.Command {
	l := &looker{app: a}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the dead letters with the last answer of each",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, err := l.look(cmd.Context())
			if err != nil {
				return err
			}
			defer v.Close()
			l.note(v)
			return l.listDead(cmd, v)
		},
	}
	l.flags(cmd, true)
	return cmd
}

func (l *looker) listDead(cmd *cobra.Command, v control.View) error {
	if l.json {
		out := bufio.NewWriter(l.out)
		err := v.DeadLetters(cmd.Context(), l.reveal, func(line json.RawMessage) error {
			_, err := out.Write(append(line, '\n'))
			return err
		})
		if err != nil {
			return err
		}
		return out.Flush()
	}
	var nodes []control.Node
	err := v.DeadLetters(cmd.Context(), l.reveal, func(line json.RawMessage) error {
		var n control.Node
		nodes = append(nodes, n)
		return json.Unmarshal(line, &nodes[len(nodes)-1])
	})
	if err != nil {
		return err
	}
	t := deadTable(nodes)
	if len(nodes) == 0 && l.terminal {
		_, err := fmt.Fprintln(l.out, "no dead letters")
		return err
	}
	return t.print(l.stdio)
}

// deadTable is nodeTable with the waybill in the place of the state.
func deadTable(nodes []control.Node) *table {
	t := nodeTable(nodes)
	t.head[3] = "WAYBILL"
	for i := range nodes {
		t.rows[i][3] = nodes[i].WaybillID
	}
	return t
}

func (a *app) deadletterRetry() *cobra.Command {
	l := &looker{app: a}
	var all bool
	cmd := &cobra.Command{
		Use:   "retry ID… | --all",
		Short: "Put dead letters back to be pushed",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, ids []string) error {
			if all == (len(ids) > 0) {
				return usagef("retry needs the IDs of dead letters, or --all")
			}
			return l.change(cmd, ids, "put back", func(c *control.Client) (int, error) { return c.Retry(cmd.Context(), all, ids...) })
		},
	}
	l.flags(cmd, false)
	cmd.Flags().BoolVar(&all, "all", false, "every dead letter")
	return cmd
}

func (a *app) deadletterDiscard() *cobra.Command {
	l := &looker{app: a}
	var why string
	cmd := &cobra.Command{
		Use:   "discard ID… --reason TEXT",
		Short: "End dead letters for good; the reason is recorded",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, ids []string) error {
			switch {
			case len(ids) == 0:
				return usagef("discard needs the IDs of dead letters")
			case why == "":
				return usagef("discard needs --reason TEXT: it is recorded with the event")
			}
			return l.change(cmd, ids, "discarded", func(c *control.Client) (int, error) { return c.Discard(cmd.Context(), why, ids...) })
		},
	}
	l.flags(cmd, false)
	cmd.Flags().StringVar(&why, "reason", "", "why, in a few words")
	return cmd
}

// change checks the ids, does it, and says how many it were.
func (l *looker) change(cmd *cobra.Command, ids []string, done string, do func(*control.Client) (int, error)) error {
	if err := control.CheckIDs(ids); err != nil {
		return usageError{err}
	}
	c, err := l.dial(cmd.Context())
	if err != nil {
		return err
	}
	defer c.Close()
	n, err := do(c)
	if err != nil {
		return err
	}
	if l.json {
		return json.NewEncoder(l.out).Encode(map[string]int{"count": n})
	}
	_, err = fmt.Fprintf(l.out, "%d %s\n", n, done)
	return err
}
