package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"scanrelay/agent/control"
	"scanrelay/agent/scan"
)

func (a *app) traceCommand() *cobra.Command {
	l := &looker{app: a}
	cmd := &cobra.Command{
		Use:   "trace WAYBILL",
		Short: "Show a waybill's nodes at this depot, with states and errors",
		Args:  exactly(1, "one WAYBILL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := l.look(cmd.Context())
			if err != nil {
				return err
			}
			defer v.Close()
			l.note(v)
			t, err := v.Trace(cmd.Context(), args[0], l.reveal)
			if errors.Is(err, control.ErrUnknownWaybill) {
				return fmt.Errorf("%s: %w", scan.NormalizeWaybill(args[0]), err)
			}
			if err != nil {
				return err
			}
			if l.json {
				e := json.NewEncoder(a.out)
				e.SetEscapeHTML(false)
				return e.Encode(t)
			}
			return nodeTable(t.Nodes).print(a.stdio)
		},
	}
	l.flags(cmd, true)
	return cmd
}

func nodeTable(nodes []control.Node) *table {
	t := &table{head: []string{"ID", "WHEN", "WHAT", "STATE", "TRIES", "ERRCODE", "TEXT", "LAST ERROR", "RID"}}
	for _, n := range nodes {
		code := "-"
		if n.ErrCode != 0 {
			code = strconv.Itoa(n.ErrCode)
		}
		t.add(n.ID, clockTime(n.ActionTime), strconv.Itoa(n.ActionType)+" "+scan.ActionType(n.ActionType).English(),
			n.State, strconv.Itoa(n.Attempts), code, n.ActionMsg, dash(n.LastError), dash(n.RID))
	}
	return t
}
