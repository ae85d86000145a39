package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Command is one node of the command tree: something to run, or a group of
// commands that only names what there is.
type Command struct {
	Use    string // its name, then what it takes, as "trace WAYBILL"
	Short  string // one line, for lists
	Long   string // for its own help; empty: Short
	Hidden bool   // in no list and no hint
	Raw    bool   // Run gets all that follows the name, flags too
	Args   func(c *Command, args []string) error
	Run    func(ctx context.Context, args []string) error // nil: a group

	set    *pflag.FlagSet
	parent *Command
	subs   []*Command
}

func (c *Command) name() string {
	name, _, _ := strings.Cut(c.Use, " ")
	return name
}

// path is what a person types to get here.
func (c *Command) path() string {
	if c.parent == nil {
		return c.name()
	}
	return c.parent.path() + " " + c.name()
}

// Flags are the command's own, with --help.
func (c *Command) Flags() *pflag.FlagSet {
	if c.set == nil {
		c.set = pflag.NewFlagSet(c.name(), pflag.ContinueOnError)
		c.set.BoolP("help", "h", false, "help for "+c.name())
	}
	return c.set
}

// Add puts commands below this one.
func (c *Command) Add(subs ...*Command) {
	for _, s := range subs {
		s.parent = c
	}
	c.subs = append(c.subs, subs...)
}

func (c *Command) sub(name string) *Command {
	for _, s := range c.subs {
		if s.name() == name {
			return s
		}
	}
	return nil
}

// find follows the names in args down the tree and returns what is left of them.
// A flag may stand before the name that it belongs to, as in -c FILE status.
func (c *Command) find(args []string) (*Command, []string) {
	for i := 0; i < len(args) && args[i] != "--"; i++ {
		arg := args[i]
		if len(arg) > 1 && arg[0] == '-' {
			if c.takesValue(arg) {
				i++
			}
			continue
		}
		if s := c.sub(arg); s != nil {
			return s.find(slices.Concat(args[:i], args[i+1:]))
		}
		break
	}
	return c, args
}

// takesValue tells whether the argument after this flag is its value, at c or
// at anything below.
func (c *Command) takesValue(arg string) bool {
	var f *pflag.Flag
	if name, long := strings.CutPrefix(arg, "--"); long {
		f = c.Flags().Lookup(name)
	} else if len(arg) == 2 {
		f = c.Flags().ShorthandLookup(arg[1:])
	}
	if f != nil {
		return f.NoOptDefVal == ""
	}
	return slices.ContainsFunc(c.subs, func(s *Command) bool { return s.takesValue(arg) })
}

// unknown says what is wrong when a group's name is followed by none of its
// commands.
func (c *Command) unknown(args []string) error {
	switch {
	case len(args) > 0:
		return Usagef("unknown command %q%s", args[0], c.hint(args[0]))
	case c.parent == nil:
		return Usagef("a command is missing")
	}
	var names []string
	for _, s := range c.subs {
		names = append(names, s.name())
	}
	last := len(names) - 1
	return Usagef("%s needs %s or %s", c.name(), strings.Join(names[:last], ", "), names[last])
}

// NoArgs refuses arguments that are no flags.
func NoArgs(c *Command, args []string) error {
	if len(args) > 0 {
		return Usagef("%s takes no arguments, got %q", c.name(), args)
	}
	return nil
}

// Exactly asks for n arguments, which what names.
func Exactly(n int, what string) func(*Command, []string) error {
	return func(c *Command, args []string) error {
		if len(args) != n {
			return Usagef("%s needs %s", c.name(), what)
		}
		return nil
	}
}
