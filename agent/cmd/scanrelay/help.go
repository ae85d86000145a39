package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"scanrelay/configs/nearest"
)

// helpCommand is "help COMMAND", the same as "COMMAND --help".
func (a *app) helpCommand(root *command) *command {
	return &command{
		use:   "help [COMMAND]",
		short: "Help about any command",
		long:  "Help about any command; help alone lists them.",
		run: func(_ context.Context, args []string) error {
			c, rest := root.find(args)
			if len(rest) > 0 {
				return c.unknown(rest)
			}
			return a.help(c)
		},
	}
}

// help prints what c is for and how it is used.
func (a *app) help(c *command) error {
	var b strings.Builder
	about := c.long
	if about == "" {
		about = c.short
	}
	if about != "" {
		b.WriteString(about + "\n\n")
	}
	b.WriteString("Usage:\n  " + c.path())
	if c.run == nil {
		b.WriteString(" COMMAND\n\nCommands:\n" + c.list())
	} else {
		b.WriteString(strings.TrimPrefix(c.use, c.name()) + " [flags]\n")
	}
	b.WriteString("\nFlags:\n" + c.flags().FlagUsages())
	if c.run == nil {
		fmt.Fprintf(&b, "\nUse \"%s COMMAND --help\" for more about a command.\n", c.path())
	}
	_, err := io.WriteString(a.out, b.String())
	return err
}

// list is a line for each command of a group, by name.
func (c *command) list() string {
	shown := slices.DeleteFunc(slices.Clone(c.subs), func(s *command) bool { return s.hidden })
	slices.SortFunc(shown, func(a, b *command) int { return strings.Compare(a.name(), b.name()) })
	width := 0
	for _, s := range shown {
		width = max(width, len(s.name()))
	}
	var b strings.Builder
	for _, s := range shown {
		fmt.Fprintf(&b, "  %-*s  %s\n", width, s.name(), s.short)
	}
	return b.String()
}

// hint names the commands of a group that name may have meant: those that it
// begins, and those within two edits of it.
func (c *command) hint(name string) string {
	var near []string
	for _, s := range c.subs {
		if !s.hidden && (strings.HasPrefix(s.name(), name) || nearest.Edits(name, s.name()) <= 2) {
			near = append(near, s.name())
		}
	}
	if len(near) == 0 {
		return ""
	}
	return "; did you mean " + strings.Join(near, " or ") + "?"
}
