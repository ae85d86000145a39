package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"

	"scanrelay/agent/control"
)

func (a *app) deadletterCommand() *command {
	cmd := &command{
		use:   "deadletter",
		short: "Work on dead letters: what no retry could deliver",
	}
	cmd.add(a.deadletterList(), a.deadletterRetry(), a.deadletterDiscard())
	return cmd
}

func (a *app) deadletterList() *command {
	l := &looker{app: a}
	cmd := &command{
		use:   "list",
		short: "List the dead letters with the last answer of each",
		args:  noArgs,
		run: func(ctx context.Context, _ []string) error {
			v, err := l.look(ctx)
			if err != nil {
				return err
			}
			defer v.Close()
			l.note(v)
			return l.listDead(ctx, v)
		},
	}
	l.flags(cmd, true)
	return cmd
}

func (l *looker) listDead(ctx context.Context, v control.View) error {
	if l.json {
		out := bufio.NewWriter(l.out)
		err := v.DeadLetters(ctx, l.reveal, func(line json.RawMessage) error {
			_, err := out.Write(append(line, '\n'))
			return err
		})
		if err != nil {
			return err
		}
		return out.Flush()
	}
	var nodes []control.Node
	err := v.DeadLetters(ctx, l.reveal, func(line json.RawMessage) error {
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

func (a *app) deadletterRetry() *command {
	l := &looker{app: a}
	var all bool
	cmd := &command{
		use:   "retry ID… | --all",
		short: "Put dead letters back to be pushed",
		run: func(ctx context.Context, ids []string) error {
			if all == (len(ids) > 0) {
				return usagef("retry needs the IDs of dead letters, or --all")
			}
			return l.change(ctx, ids, "put back", func(c *control.Client) (int, error) { return c.Retry(ctx, all, ids...) })
		},
	}
	l.flags(cmd, false)
	cmd.flags().BoolVar(&all, "all", false, "every dead letter")
	return cmd
}

func (a *app) deadletterDiscard() *command {
	l := &looker{app: a}
	var why string
	cmd := &command{
		use:   "discard ID… --reason TEXT",
		short: "End dead letters for good; the reason is recorded",
		run: func(ctx context.Context, ids []string) error {
			switch {
			case len(ids) == 0:
				return usagef("discard needs the IDs of dead letters")
			case why == "":
				return usagef("discard needs --reason TEXT: it is recorded with the event")
			}
			return l.change(ctx, ids, "discarded", func(c *control.Client) (int, error) { return c.Discard(ctx, why, ids...) })
		},
	}
	l.flags(cmd, false)
	cmd.flags().StringVar(&why, "reason", "", "why, in a few words")
	return cmd
}

// change checks the ids, does it, and says how many it were.
func (l *looker) change(ctx context.Context, ids []string, done string, do func(*control.Client) (int, error)) error {
	if err := control.CheckIDs(ids); err != nil {
		return usageError{err}
	}
	c, err := l.dial(ctx)
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
