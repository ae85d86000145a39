package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/control"
)

func (a *app) eventsCommand() *cli.Command {
	l := &looker{app: a}
	var state string
	cmd := &cli.Command{
		Use:   "events",
		Short: "List the stored events, one a line",
		Long:  "List the stored events, one a line, in the order in which they came. With\n--state rejected: what could not be understood, with its reason.",
		Args:  cli.NoArgs,
		Run: func(ctx context.Context, _ []string) error {
			if err := control.CheckState(state); err != nil {
				return cli.UsageError{Err: err}
			}
			return l.listEvents(ctx, state)
		},
	}
	l.flags(cmd, true)
	cmd.Flags().StringVar(&state, "state", "", "only events in this `STATE`, as to_push, dead or rejected")
	return cmd
}

// listEvents prints the events in a state, "" for all.
func (l *looker) listEvents(ctx context.Context, state string) error {
	return l.look(ctx, func(v control.View) error {
		l.note(v)
		out := bufio.NewWriter(l.Out)
		err := v.Events(ctx, state, l.reveal, func(line json.RawMessage) error { return l.eventLine(out, state, line) })
		return errors.Join(err, out.Flush())
	})
}

// eventLine prints one event: as it came with --json, else in fixed columns, so
// that a million of them need no memory.
func (l *looker) eventLine(out *bufio.Writer, state string, line json.RawMessage) error {
	if l.json {
		_, err := out.Write(append(line, '\n'))
		return err
	}
	var r control.Rejected
	if err := json.Unmarshal(line, &r); err != nil {
		return fmt.Errorf("read an event: %w", err)
	}
	cols := []string{r.ID, r.ReceivedAt.String(), r.State}
	if state == control.StateRejected {
		cols = append(cols, r.Topic, r.LastError, strconv.Quote(string(r.Payload)))
	} else {
		cols = append(cols, r.WaybillID, strconv.Itoa(r.ActionType), clockTime(r.ActionTime), strconv.Itoa(r.Attempts), dash(r.LastError))
	}
	return l.columns(out, cols, []int{26, 24, 16, 16, 6, 20, 2, 0})
}

// columns prints cells: padded on a terminal, tab-separated in a pipe.
func (l *looker) columns(out *bufio.Writer, cols []string, widths []int) error {
	for i, c := range cols {
		c = cli.Visible(c)
		if i < len(cols)-1 {
			if l.Terminal {
				c = cli.Pad(c, widths[i]) + "  "
			} else {
				c += "\t"
			}
		}
		if _, err := out.WriteString(c); err != nil {
			return err
		}
	}
	return out.WriteByte('\n')
}
