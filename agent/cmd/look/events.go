package look

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"scanrelay/agent/cmd/chinese"
	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/control"
	"scanrelay/agent/scan"
	"scanrelay/configs/wait"
)

func (s *shared) eventsCommand() *cli.Command {
	l := s.looker()
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
	l.pick.flags(cmd, true)
	cmd.Flags().StringVar(&state, "state", "", "only events in this `STATE`, as to_push, dead or rejected")
	return cmd
}

// pick are the flags of what lists events: which of them are shown.
type pick struct {
	since, waybill string
	limit          int
}

// maxPicked bounds --limit, whose lines are kept until the last has come.
const maxPicked = 10_000

func (p *pick) flags(cmd *cli.Command, waybills bool) {
	f := cmd.Flags()
	f.StringVar(&p.since, "since", "", "only what came since then: a `TIME` as 2026-11-30T08:00:00+08:00, or how long ago, as 2h or 7d")
	f.IntVar(&p.limit, "limit", 0, "only the newest `N`; 0: all")
	if waybills {
		f.StringVar(&p.waybill, "waybill", "", "only of this `WAYBILL`")
	}
}

// from is when --since begins.
func (p *pick) from(now time.Time) (time.Time, error) {
	if p.since == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, p.since); err == nil {
		return at, nil
	}
	ago, err := wait.ParseDuration(p.since)
	if err != nil || ago <= 0 {
		return time.Time{}, cli.Usagef("--since must be how long ago, as 2h or 7d, or a time as 2026-11-30T08:00:00+08:00, not %q", p.since)
	}
	return now.Add(-ago), nil
}

// tellEvery is how often a terminal is told how far a list came of which nothing is shown.
const tellEvery = time.Second

// through calls list with what takes each line, and shows those that are picked; how far
// it came is told on a terminal while nothing is, since little may be picked of much.
func (l *looker) through(list func(each func(json.RawMessage) error) error, show func(json.RawMessage) error) error {
	from, err := l.pick.from(time.Now())
	switch {
	case err != nil:
		return err
	case l.pick.limit < 0 || l.pick.limit > maxPicked:
		return cli.Usagef("--limit must lie between 0 and %d, not be %d", maxPicked, l.pick.limit)
	}
	waybill := scan.NormalizeWaybill(l.pick.waybill)
	var newest []json.RawMessage
	read, told, standing := 0, time.Now(), false
	wipe := func() {
		if standing {
			fmt.Fprint(l.Err, "\r\x1b[K")
		}
		told, standing = time.Now(), false
	}
	err = list(func(line json.RawMessage) error {
		if read++; l.ErrTerminal && read%1000 == 0 && time.Since(told) > tellEvery {
			wipe()
			standing = true
			fmt.Fprintf(l.Err, l.Say("%d read", "已读 %d"), read)
		}
		if waybill != "" || !from.IsZero() {
			var e control.Event
			if err := json.Unmarshal(line, &e); err != nil {
				return fmt.Errorf("read an event: %w", err)
			}
			if waybill != "" && e.WaybillID != string(waybill) || e.ReceivedAt.Before(from) {
				return nil
			}
		}
		if l.pick.limit == 0 {
			wipe()
			return show(line)
		}
		if len(newest) == 2*l.pick.limit { // moved now and then, not at each line
			newest = append(newest[:0], newest[l.pick.limit:]...)
		}
		newest = append(newest, bytes.Clone(line))
		return nil
	})
	wipe()
	for _, line := range newest[max(0, len(newest)-l.pick.limit):] {
		if err == nil {
			err = show(line)
		}
	}
	return err
}

// listEvents prints the events in a state, "" for all.
func (l *looker) listEvents(ctx context.Context, state string) error {
	return l.look(ctx, func(v control.View) error {
		l.note(v)
		out := bufio.NewWriter(l.Out)
		if l.Terminal && !l.json {
			if err := l.columns(out, l.eventHead(state), eventWidths); err != nil {
				return err
			}
		}
		err := l.through(func(each func(json.RawMessage) error) error { return v.Events(ctx, state, l.reveal, each) },
			func(line json.RawMessage) error { return l.eventLine(out, state, line) })
		return errors.Join(err, out.Flush())
	})
}

var eventWidths = []int{26, 25, 16, 16, 11, 25, 5, 0}

func (l *looker) eventHead(state string) []string {
	if state == control.StateRejected {
		return []string{"ID", l.Say("RECEIVED", "收到"), l.Say("STATE", "状态"), l.Say("TOPIC", "主题"), l.Say("WHY", "原因"), l.Say("PAYLOAD", "报文")}
	}
	return []string{
		"ID", l.Say("RECEIVED", "收到"), l.Say("STATE", "状态"), l.Say("WAYBILL", "运单"), "ACTION_TYPE", "ACTION_TIME", l.Say("TRIES", "次数"), l.Say("LAST ERROR", "原因"),
	}
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
	cols := []string{r.ID, r.ReceivedAt.Local().Format(time.RFC3339), l.state(r.State)}
	if state == control.StateRejected {
		cols = append(cols, r.Topic, chinese.Reason(l.IO, r.LastError), strconv.Quote(string(r.Payload)))
	} else {
		cols = append(cols, r.WaybillID, strconv.Itoa(r.ActionType), cli.Moment(r.ActionTime), strconv.Itoa(r.Attempts), cli.Dash(chinese.Reason(l.IO, r.LastError)))
	}
	return l.columns(out, cols, eventWidths)
}

// stateWords are the states of events, in Chinese.
var stateWords = map[string]string{
	"unsynced": "待同步", "awaiting_waybill": "等运单资料", "to_push": "待推送", "pushed": "已推送", "not_bound": "未绑定", "superseded": "已被取代",
	"expired": "过期", "muted": "不推送", "dead": "死信", "discarded": "丢弃", control.StateRejected: "未识别",
}

// state is a state of an event in the language of the locale.
func (l *looker) state(name string) string { return l.Say(name, cmp.Or(stateWords[name], name)) }

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
