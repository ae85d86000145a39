package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"scanrelay/configs/nearest"
)

// HelpCommand is "help COMMAND", the same as "COMMAND --help".
func (s IO) HelpCommand(root *Command) *Command {
	return &Command{
		Use:   "help [COMMAND]",
		Short: "Help about any command",
		Long:  "Help about any command; help alone lists them.",
		Run: func(_ context.Context, args []string) error {
			c, rest := root.find(args)
			if len(rest) > 0 {
				return c.unknown(rest)
			}
			return s.help(c)
		},
	}
}

// help prints what c is for and how it is used.
func (s IO) help(c *Command) error {
	var b strings.Builder
	if about := c.about(); about != "" {
		b.WriteString(about + "\n\n")
	}
	b.WriteString("Usage:\n  " + c.path())
	if c.Run == nil {
		b.WriteString(" COMMAND\n\nCommands:\n" + c.list())
	} else {
		b.WriteString(strings.TrimPrefix(c.Use, c.name()) + " [flags]\n")
		if len(c.subs) > 0 {
			b.WriteString("\nCommands:\n" + c.list())
		}
	}
	b.WriteString("\nFlags:\n" + c.Flags().FlagUsages())
	if c.Run == nil {
		fmt.Fprintf(&b, "\nUse \"%s COMMAND --help\" for more about a command.\n", c.path())
	}
	_, err := io.WriteString(s.Out, b.String())
	return err
}

// list is a line for each command of a group, by name.
func (c *Command) list() string {
	shown := c.shown()
	width := 0
	for _, s := range shown {
		width = max(width, len(s.name()))
	}
	var b strings.Builder
	for _, s := range shown {
		fmt.Fprintf(&b, "  %-*s  %s\n", width, s.name(), s.Short)
	}
	return b.String()
}

// hint names the commands of a group that name may have meant: those that it
// begins, and those within two edits of it.
func (c *Command) hint(name string) string {
	var near []string
	for _, s := range c.subs {
		if !s.Hidden && (strings.HasPrefix(s.name(), name) || nearest.Edits(name, s.name()) <= 2) {
			near = append(near, s.name())
		}
	}
	if len(near) == 0 {
		return ""
	}
	return "; did you mean " + strings.Join(near, " or ") + "?"
}
