package look

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/control"
)

func (s *shared) deadletterCommand() *cli.Command {
	cmd := &cli.Command{
		Use:   "deadletter",
		Short: "Work on dead letters: what no retry could deliver",
	}
	cmd.Add(s.deadletterList(), s.deadletterRetry(), s.deadletterDiscard())
	return cmd
}

func (s *shared) deadletterList() *cli.Command {
	l := s.looker()
	cmd := &cli.Command{
		Use:   "list",
		Short: "List the dead letters with the last answer of each",
		Args:  cli.NoArgs,
		Run: func(ctx context.Context, _ []string) error {
			return l.look(ctx, func(v control.View) error {
				l.note(v)
				return l.listDead(ctx, v)
			})
		},
	}
	l.flags(cmd, true)
	l.pick.flags(cmd, true)
	return cmd
}

func (l *looker) listDead(ctx context.Context, v control.View) error {
	list := func(each func(json.RawMessage) error) error { return v.DeadLetters(ctx, l.reveal, each) }
	if l.json {
		out := bufio.NewWriter(l.Out)
		err := l.through(list, func(line json.RawMessage) error {
			_, err := out.Write(append(line, '\n'))
			return err
		})
		return errors.Join(err, out.Flush())
	}
	var nodes []control.Node
	err := l.through(list, func(line json.RawMessage) error {
		var n control.Node
		nodes = append(nodes, n)
		return json.Unmarshal(line, &nodes[len(nodes)-1])
	})
	if err != nil {
		return err
	}
	t := l.deadTable(nodes)
	if len(nodes) == 0 && l.Terminal {
		_, err := fmt.Fprintln(l.Out, l.Say("no dead letters", "没有死信"))
		return err
	}
	return t.Print(l.IO)
}

// deadTable is nodeTable with the waybill in the place of the state.
func (l *looker) deadTable(nodes []control.Node) *cli.Table {
	t := l.nodeTable(nodes)
	t.Head[3] = l.Say("WAYBILL", "运单")
	for i := range nodes {
		t.Rows[i][3] = nodes[i].WaybillID
	}
	return t
}

func (s *shared) deadletterRetry() *cli.Command {
	l := s.looker()
	var all bool
	cmd := &cli.Command{
		Use:   "retry ID… | --all",
		Short: "Put dead letters back to be pushed",
		Run: func(ctx context.Context, ids []string) error {
			if all == (len(ids) > 0) {
				return cli.Usagef("retry needs the IDs of dead letters, or --all")
			}
			return l.change(ctx, ids, l.Say("%d put back\n", "%d 条已放回,等待推送\n"), func(c *control.Client) (int, error) { return c.Retry(ctx, all, ids...) })
		},
	}
	l.flags(cmd, false)
	cmd.Flags().BoolVar(&all, "all", false, "every dead letter")
	return cmd
}

func (s *shared) deadletterDiscard() *cli.Command {
	l := s.looker()
	var why string
	cmd := &cli.Command{
		Use:   "discard ID… --reason TEXT",
		Short: "End dead letters for good; the reason is recorded",
		Run: func(ctx context.Context, ids []string) error {
			switch {
			case len(ids) == 0:
				return cli.Usagef("discard needs the IDs of dead letters")
			case why == "":
				return cli.Usagef("discard needs --reason TEXT: it is recorded with the event")
			}
			return l.change(ctx, ids, l.Say("%d discarded\n", "%d 条已丢弃\n"), func(c *control.Client) (int, error) { return c.Discard(ctx, why, ids...) })
		},
	}
	l.flags(cmd, false)
	cmd.Flags().StringVar(&why, "reason", "", "why, in a few words")
	return cmd
}

// change checks the ids, does it, and says how many it were.
func (l *looker) change(ctx context.Context, ids []string, done string, do func(*control.Client) (int, error)) error {
	if err := control.CheckIDs(ids); err != nil {
		return cli.UsageError{Err: err}
	}
	return l.dial(ctx, func(c *control.Client) error {
		n, err := do(c)
		switch {
		case err != nil:
			return err
		case l.json:
			return l.JSON(map[string]int{"count": n})
		}
		_, err = fmt.Fprintf(l.Out, done, n)
		return err
	})
}
