package look

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"scanrelay/agent/cmd/chinese"
	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/control"
	"scanrelay/agent/scan"
)

func (s *shared) traceCommand() *cli.Command {
	l := s.looker()
	cmd := &cli.Command{
		Use:   "trace WAYBILL",
		Short: "Show a waybill's nodes at this depot, with states and errors",
		Args:  cli.Exactly(1, "one WAYBILL"),
		Run: func(ctx context.Context, args []string) error {
			return l.look(ctx, func(v control.View) error {
				l.note(v)
				t, err := v.Trace(ctx, args[0], l.reveal)
				switch {
				case errors.Is(err, control.ErrUnknownWaybill):
					return fmt.Errorf("%s: %w", scan.NormalizeWaybill(args[0]), err)
				case err != nil:
					return err
				case l.json:
					return l.JSON(t)
				}
				return l.nodeTable(t.Nodes).Print(l.IO)
			})
		},
	}
	l.flags(cmd, true)
	return cmd
}

func (l *looker) nodeTable(nodes []control.Node) *cli.Table {
	t := &cli.Table{Head: []string{
		"ID", l.Say("WHEN", "时间"), l.Say("WHAT", "动作"), l.Say("STATE", "状态"), l.Say("TRIES", "次数"), "ERRCODE", l.Say("TEXT", "文案"), l.Say("LAST ERROR", "原因"), "RID",
	}}
	for _, n := range nodes {
		code := "-"
		if n.ErrCode != 0 {
			code = strconv.Itoa(n.ErrCode)
		}
		t.Add(n.ID, cli.Moment(n.ActionTime), strconv.Itoa(n.ActionType)+" "+l.Say(scan.ActionType(n.ActionType).English(), scan.ActionType(n.ActionType).Chinese()),
			l.state(n.State), strconv.Itoa(n.Attempts), code, n.ActionMsg, cli.Dash(chinese.Reason(l.IO, n.LastError)), cli.Dash(n.RID))
	}
	return t
}
