package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"scanrelay/agent/control"
)

func (a *app) eventsCommand() *command {
	l := &looker{app: a}
	var state string
	cmd := &command{
		use:   "events",
		short: "List the stored events, one a line",
		long:  "List the stored events, one a line, in the order in which they came. With\n--state rejected: what could not be understood, with its reason.",
		args:  noArgs,
		run: func(ctx context.Context, _ []string) error {
			if err := control.CheckState(state); err != nil {
				return usageError{err}
			}
			return l.listEvents(ctx, state)
		},
	}
	l.flags(cmd, true)
	cmd.flags().StringVar(&state, "state", "", "only events in this `STATE`, as to_push, dead or rejected")
	return cmd
}

// listEvents prints the events in a state, "" for all.
func (l *looker) listEvents(ctx context.Context, state string) error {
	v, err := l.look(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	l.note(v)
	out := bufio.NewWriter(l.out)
	err = v.Events(ctx, state, l.reveal, func(line json.RawMessage) error { return l.eventLine(out, state, line) })
	if err != nil {
		return err
	}
	return out.Flush()
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
		c = visible(c)
		if i < len(cols)-1 {
			if l.terminal {
				c = pad(c, widths[i]) + "  "
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

func pad(s string, width int) string {
	for n := cells(s); n < width; n++ {
		s += " "
	}
	return s
}
