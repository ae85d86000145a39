package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// command is one node of the command tree: something to run, or a group of
// commands that only names what there is. The tree is our own because the
// gateway has no room for a command library: with cobra its armv7 binary had
// 9,990,270 bytes, with this 9,801,854, of the 10,000,000 that it may have.
type command struct {
	use    string // its name, then what it takes, as "trace WAYBILL"
	short  string // one line, for lists
	long   string // for its own help; empty: short
	hidden bool   // in no list and no hint
	raw    bool   // run gets all that follows the name, flags too
	args   func(c *command, args []string) error
	run    func(ctx context.Context, args []string) error // nil: a group

	set    *pflag.FlagSet
	parent *command
	subs   []*command
}

func (c *command) name() string {
	name, _, _ := strings.Cut(c.use, " ")
	return name
}

// path is what a person types to get here.
func (c *command) path() string {
	if c.parent == nil {
		return c.name()
	}
	return c.parent.path() + " " + c.name()
}

// flags are the command's own, with --help.
func (c *command) flags() *pflag.FlagSet {
	if c.set == nil {
		c.set = pflag.NewFlagSet(c.name(), pflag.ContinueOnError)
		c.set.BoolP("help", "h", false, "help for "+c.name())
	}
	return c.set
}

func (c *command) add(subs ...*command) {
	for _, s := range subs {
		s.parent = c
	}
	c.subs = append(c.subs, subs...)
}

func (c *command) sub(name string) *command {
	for _, s := range c.subs {
		if s.name() == name {
			return s
		}
	}
	return nil
}

// find follows the names in args down the tree and returns what is left of them.
// A flag may stand before the name that it belongs to, as in -c FILE status.
func (c *command) find(args []string) (*command, []string) {
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
func (c *command) takesValue(arg string) bool {
	var f *pflag.Flag
	if name, long := strings.CutPrefix(arg, "--"); long {
		f = c.flags().Lookup(name)
	} else if len(arg) == 2 {
		f = c.flags().ShorthandLookup(arg[1:])
	}
	if f != nil {
		return f.NoOptDefVal == ""
	}
	return slices.ContainsFunc(c.subs, func(s *command) bool { return s.takesValue(arg) })
}

// execute runs what args name. It also returns which command that was, for the
// hint that follows an error.
func (a *app) execute(ctx context.Context, root *command, args []string) (*command, error) {
	c, args := root.find(args)
	if c.raw {
		return c, c.run(ctx, args)
	}
	f := c.flags()
	if err := f.Parse(args); err != nil {
		return c, usageError{err}
	}
	if help, err := f.GetBool("help"); err != nil || help {
		return c, a.help(c)
	}
	if c.run == nil {
		return c, c.unknown(f.Args())
	}
	if c.args != nil {
		if err := c.args(c, f.Args()); err != nil {
			return c, err
		}
	}
	return c, c.run(ctx, f.Args())
}

// unknown says what is wrong when a group's name is followed by none of its
// commands.
func (c *command) unknown(args []string) error {
	switch {
	case len(args) > 0:
		return usagef("unknown command %q%s", args[0], c.hint(args[0]))
	case c.parent == nil:
		return usagef("a command is missing")
	}
	var names []string
	for _, s := range c.subs {
		names = append(names, s.name())
	}
	last := len(names) - 1
	return usagef("%s needs %s or %s", c.name(), strings.Join(names[:last], ", "), names[last])
}

// noArgs and exactly check the arguments that are no flags.
func noArgs(c *command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no arguments, got %q", c.name(), args)
	}
	return nil
}

func exactly(n int, what string) func(*command, []string) error {
	return func(c *command, args []string) error {
		if len(args) != n {
			return usagef("%s needs %s", c.name(), what)
		}
		return nil
	}
}
