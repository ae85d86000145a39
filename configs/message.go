package configs

import (
	"errors"
	"reflect"
	"strings"
	"text/template/parse"
)

// messageFields are what a station's action_msg may use (interfaces.md, Intake).
func messageFields() []string {
	return []string{
		".Depot.ID", ".Depot.Name", ".Station.ID", ".Station.Name",
		".Event.WaybillID", ".Event.ActionType", ".Event.ActionTime", ".Event.DeviceID",
		".Event.ActionType.Chinese", ".Event.ActionType.English", ".Event.ActionTime.Format",
	}
}

// builtins are those of text/template's functions that a message may call.
func builtins() map[string]any {
	m := map[string]any{}
	for _, name := range []string{"and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "print", "printf"} {
		m[name] = true
	}
	return m
}

// message checks a template by its parse tree. It is not filled in: executing
// templates keeps every method of every type in the binary, which costs a
// gateway two megabytes; whoever fills it in has one sample to try.
func (c *checker) message(key, text string) {
	trees, err := parse.Parse("action_msg", text, "", "", builtins())
	if err == nil && trees["action_msg"] != nil {
		err = checkFields(trees["action_msg"].Root)
	}
	if err != nil {
		c.bad(key, "is no template: %s; it may use if, else, with, and, or, not, eq, ne, lt, le, gt, ge, print, printf and %s", strings.TrimPrefix(err.Error(), "template: "), strings.Join(messageFields(), " "))
	}
}

// checkFields looks at every field that is used where the dot is the whole
// message; within range and with it is something else.
func checkFields(n parse.Node) error {
	if n == nil || reflect.ValueOf(n).IsNil() {
		return nil
	}
	switch n := n.(type) {
	case *parse.ListNode:
		return checkAll(n.Nodes)
	case *parse.ActionNode:
		return checkFields(n.Pipe)
	case *parse.IfNode:
		return errors.Join(checkFields(n.Pipe), checkFields(n.List), checkFields(n.ElseList))
	case *parse.RangeNode:
		return checkFields(n.Pipe)
	case *parse.WithNode:
		return checkFields(n.Pipe)
	case *parse.PipeNode:
		var all []parse.Node
		for _, cmd := range n.Cmds {
			all = append(all, cmd.Args...)
		}
		return checkAll(all)
	case *parse.ChainNode:
		return checkFields(n.Node)
	case *parse.FieldNode:
		return checkField(n)
	}
	return nil
}

func checkAll(nodes []parse.Node) (err error) {
	for _, n := range nodes {
		err = errors.Join(err, checkFields(n))
	}
	return err
}

// checkField lets a known field pass.
func checkField(n *parse.FieldNode) error {
	name := n.String()
	for _, f := range messageFields() {
		if name == f {
			return nil
		}
	}
	return errors.New(unknown("field", name, messageFields()))
}
