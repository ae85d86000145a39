package mapping

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/template/parse"
	"time"

	"scanrelay/configs/nearest"
)

// template is a station's action_msg. It has the syntax of package
// text/template, read by that package's own parser, and evaluates what a message
// needs of it: the fields below, constants, variables, comments, trimming, if,
// else, else if, with, parentheses, pipes and the functions of templateFuncs.
// What is left out (range, define, template, block, index, slice, len, call,
// html, js, urlquery, println and other methods) is an error when the
// configuration is read, never a wrong message. Executing text/template itself
// would make the linker keep every exported method of the whole program, two
// megabytes of a gateway's binary.
type template struct{ root *parse.ListNode }

// templateFuncs are the functions that a template may call.
var templateFuncs = map[string]any{
	"and": true, "or": true, "not": true, "print": true, "printf": true,
	"eq": true, "ne": true, "lt": true, "le": true, "gt": true, "ge": true,
}

// errUse says what there is where something else was used.
func errUse(n parse.Node) error {
	return fmt.Errorf("%s cannot be used in a message: there are fields, constants and variables", n)
}

// parseTemplate reads a template and tries every branch of it on a sample, so
// that what is wrong with it shows when the configuration is read.
func parseTemplate(text string) (*template, error) {
	const name = "action_msg"
	trees, err := parse.Parse(name, text, "", "", templateFuncs)
	if err != nil {
		return nil, err
	}
	t := &template{}
	if tree := trees[name]; tree != nil {
		t.root = tree.Root
	}
	sample := templateData{Event: templateEvent{ActionTime: templateTime{time.Unix(0, 0)}}}
	_, err = t.run(sample, true)
	return t, err
}

// execute fills the template in.
func (t *template) execute(data templateData) (string, error) { return t.run(data, false) }

func (t *template) run(data templateData, every bool) (string, error) {
	e := evaluation{data: data, every: every, vars: map[string]any{}}
	err := e.list(t.root)
	return e.out.String(), err
}

// evaluation is one filling-in. Values are string, bool, int64 and templateTime.
type evaluation struct {
	data  templateData
	dot   any            // within a with; nil: the whole data
	vars  map[string]any // by name, $ in front
	every bool           // both branches of each if and with
	out   strings.Builder
}

func (e *evaluation) list(l *parse.ListNode) error {
	if l == nil {
		return nil
	}
	for _, n := range l.Nodes {
		if err := e.node(n); err != nil {
			return err
		}
	}
	return nil
}

func (e *evaluation) node(n parse.Node) error {
	switch n := n.(type) {
	case *parse.TextNode:
		e.out.Write(n.Text)
		return nil
	case *parse.CommentNode:
		return nil
	case *parse.ActionNode:
		v, err := e.pipe(n.Pipe)
		if err == nil && len(n.Pipe.Decl) == 0 {
			fmt.Fprint(&e.out, v)
		}
		return err
	case *parse.IfNode:
		return e.branch(&n.BranchNode, false)
	case *parse.WithNode:
		return e.branch(&n.BranchNode, true)
	}
	return errUse(n)
}

// branch evaluates an if, or a with, in which the dot is the value.
func (e *evaluation) branch(n *parse.BranchNode, with bool) error {
	v, err := e.pipe(n.Pipe)
	if err != nil {
		return err
	}
	yes, dot := truth(v), e.dot
	if yes || e.every {
		if with {
			e.dot = v
		}
		err = e.list(n.List)
		e.dot = dot
	}
	if err == nil && (!yes || e.every) {
		err = e.list(n.ElseList)
	}
	return err
}

// pipe returns the value of the last command; each gets the one before as its
// last argument.
func (e *evaluation) pipe(p *parse.PipeNode) (v any, err error) {
	for i, cmd := range p.Cmds {
		var last []any
		if i > 0 {
			last = []any{v}
		}
		if v, err = e.command(cmd, last); err != nil {
			return nil, err
		}
	}
	for _, name := range p.Decl {
		e.vars[name.Ident[0]] = v
	}
	return v, nil
}

func (e *evaluation) command(cmd *parse.CommandNode, last []any) (any, error) {
	var args []any
	for _, n := range cmd.Args[1:] {
		v, err := e.value(n, nil)
		if err != nil {
			return nil, err
		}
		args = append(args, v)
	}
	args = append(args, last...)
	if f, ok := cmd.Args[0].(*parse.IdentifierNode); ok {
		return call(f.Ident, args)
	}
	return e.value(cmd.Args[0], args)
}

// value returns a constant's, a field's or a parenthesis' value. Only formatField and
// payloadField take an argument.
func (e *evaluation) value(n parse.Node, args []any) (any, error) {
	switch n := n.(type) {
	case *parse.FieldNode:
		if e.dot == nil {
			return e.field(n, n.Ident, args)
		}
	case *parse.VariableNode:
		if n.Ident[0] == "$" && len(n.Ident) > 1 {
			return e.field(n, n.Ident[1:], args)
		}
	}
	if len(args) > 0 {
		return nil, fmt.Errorf("%s takes no argument", n)
	}
	switch n := n.(type) {
	case *parse.StringNode:
		return n.Text, nil
	case *parse.BoolNode:
		return n.True, nil
	case *parse.NumberNode:
		if n.IsInt {
			return n.Int64, nil
		}
	case *parse.PipeNode:
		return e.pipe(n)
	case *parse.VariableNode:
		if v, ok := e.vars[n.Ident[0]]; ok && len(n.Ident) == 1 {
			return v, nil
		}
	case *parse.DotNode:
		if e.dot != nil {
			return e.dot, nil
		}
	}
	return nil, errUse(n)
}

// templateField is one field of the whole data.
type templateField struct {
	name  string
	value func(*templateData) any
}

var templateFields = []templateField{
	{".Depot.ID", func(d *templateData) any { return d.Depot.ID }},
	{".Depot.Name", func(d *templateData) any { return d.Depot.Name }},
	{".Station.ID", func(d *templateData) any { return d.Station.ID }},
	{".Station.Name", func(d *templateData) any { return d.Station.Name }},
	{".Event.WaybillID", func(d *templateData) any { return d.Event.WaybillID }},
	{".Event.ActionType", func(d *templateData) any { return int64(d.Event.ActionType) }},
	{".Event.ActionTime", func(d *templateData) any { return d.Event.ActionTime }},
	{".Event.DeviceID", func(d *templateData) any { return d.Event.DeviceID }},
	{".Event.ActionType.Chinese", func(d *templateData) any { return d.Event.ActionType.Chinese() }},
	{".Event.ActionType.English", func(d *templateData) any { return d.Event.ActionType.English() }},
}

// Those that take an argument: a layout, and a place as fields of a source have it.
const (
	formatField  = ".Event.ActionTime.Format"
	payloadField = ".Field"
)

// templateFieldNames are the names of all of them.
func templateFieldNames() (names []string) {
	for _, f := range templateFields {
		names = append(names, f.name)
	}
	return append(names, formatField, payloadField)
}

// field returns a field of the whole data; n is how it was written.
func (e *evaluation) field(n parse.Node, ident []string, args []any) (any, error) {
	name, arg := "."+strings.Join(ident, "."), ""
	if len(args) == 1 {
		arg, _ = args[0].(string)
	}
	switch {
	case name == formatField && arg == "":
		return nil, fmt.Errorf("%s takes one layout, as in %s \"15:04\"", n, n)
	case name == formatField:
		return e.data.Event.ActionTime.Format(arg), nil
	case name == payloadField && arg == "":
		return nil, fmt.Errorf("%s takes the place of a value, as in %s \"/next/name\"", n, n)
	case name == payloadField:
		r, err := parseRule(arg)
		if err != nil || e.data.payload == nil {
			return "", err
		}
		return e.data.payload(r), nil
	}
	i := slices.IndexFunc(templateFields, func(f templateField) bool { return f.name == name })
	switch {
	case i < 0:
		return nil, errors.New(nearest.Unknown("field", n.String(), templateFieldNames()))
	case len(args) > 0:
		return nil, fmt.Errorf("%s takes no argument", n)
	}
	return templateFields[i].value(&e.data), nil
}

// call calls one of templateFuncs as text/template does.
func call(name string, args []any) (any, error) {
	switch {
	case name == "print":
		return fmt.Sprint(args...), nil
	case len(args) == 0:
	case name == "printf":
		if format, ok := args[0].(string); ok {
			return fmt.Sprintf(format, args[1:]...), nil
		}
	case name == "not" && len(args) == 1:
		return !truth(args[0]), nil
	case name == "and", name == "or":
		for _, v := range args {
			if truth(v) == (name == "or") {
				return v, nil
			}
		}
		return args[len(args)-1], nil
	case name == "eq" && len(args) > 1, len(args) == 2 && len(name) == 2:
		return compareAll(name, args)
	}
	return nil, fmt.Errorf("wrong arguments for %s", name)
}

// compareAll compares the first argument with the others; eq is true if one of
// them is equal.
func compareAll(name string, args []any) (any, error) {
	for _, v := range args[1:] {
		var c int
		switch a := args[0].(type) {
		case int64:
			b, ok := v.(int64)
			if !ok {
				return nil, fmt.Errorf("%s compares the number %d with %q: write it without quotes", name, a, fmt.Sprint(v))
			}
			c = cmp.Compare(a, b)
		case string:
			b, ok := v.(string)
			if !ok {
				return nil, fmt.Errorf("%s compares the text %q with %v: write it in quotes", name, a, v)
			}
			c = strings.Compare(a, b)
		default:
			return nil, fmt.Errorf("%s compares numbers or texts, not %v", name, a)
		}
		if name != "eq" || c == 0 {
			return map[string]bool{"eq": c == 0, "ne": c != 0, "lt": c < 0, "le": c <= 0, "gt": c > 0, "ge": c >= 0}[name], nil
		}
	}
	return false, nil
}

// truth is text/template's: what is not empty is true.
func truth(v any) bool {
	switch v := v.(type) {
	case string:
		return v != ""
	case bool:
		return v
	case int64:
		return v != 0
	}
	return true
}
