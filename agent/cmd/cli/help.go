package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"

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
		b.WriteString(s.translated(about) + "\n\n")
	}
	commands := s.Say("\nCommands:\n", "\n命令:\n")
	b.WriteString(s.Say("Usage:\n  ", "用法:\n  ") + c.path())
	if c.Run == nil {
		b.WriteString(" COMMAND\n" + commands + s.list(c))
	} else {
		b.WriteString(strings.TrimPrefix(c.Use, c.name()) + " [flags]\n")
		if len(c.subs) > 0 {
			b.WriteString(commands + s.list(c))
		}
	}
	b.WriteString(s.Say("\nFlags:\n", "\n参数:\n") + s.usages(c))
	if c.Run == nil {
		fmt.Fprintf(&b, s.Say("\nUse \"%s COMMAND --help\" for more about a command.\n", "\n某个命令的详情:%s COMMAND --help\n"), c.path())
	}
	_, err := io.WriteString(s.Out, b.String())
	return err
}

// translated is a text of help in the language of the locale, or as it is where that is
// English or has no words for it.
func (s IO) translated(text string) string {
	if s.Tell == nil {
		return text
	}
	line := strings.Join(strings.Fields(text), " ") // text may break lines anywhere
	if told := s.Tell(line); told != line {
		return told
	}
	return text
}

// usages is a line for each flag of c.
func (s IO) usages(c *Command) string {
	told := pflag.NewFlagSet(c.name(), pflag.ContinueOnError)
	c.Flags().VisitAll(func(f *pflag.Flag) {
		one := *f
		one.Usage = s.translated(f.Usage)
		told.AddFlag(&one)
	})
	return strings.ReplaceAll(told.FlagUsages(), "(default ", s.Say("(default ", "(默认 "))
}

// list is a line for each command of a group, by name.
func (s IO) list(c *Command) string {
	shown := c.shown()
	width := 0
	for _, sub := range shown {
		width = max(width, len(sub.name()))
	}
	var b strings.Builder
	for _, sub := range shown {
		fmt.Fprintf(&b, "  %-*s  %s\n", width, sub.name(), s.translated(sub.Short))
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
