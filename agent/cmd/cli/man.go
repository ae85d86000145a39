package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// ManCommand is "man": it prints the manual page of root and all its commands, for
// packages. It is in no list: people have man.
func (s IO) ManCommand(root *Command, version string, date time.Time) *Command {
	return &Command{
		Use: "man", Short: "Print the manual page", Hidden: true, Args: NoArgs,
		Run: func(context.Context, []string) error {
			_, err := io.WriteString(s.Out, root.manual(version, date))
			return err
		},
	}
}

// manual is a page in the macros of man(7).
func (c *Command) manual(version string, date time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s 1 %s \"%s %s\"\n", strings.ToUpper(c.name()), date.UTC().Format(time.DateOnly), c.name(), version)
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n.SH SYNOPSIS\n.B %[1]s\n.I COMMAND\n[flags]\n.SH DESCRIPTION\n", roff(c.name()), roff(c.Short))
	b.WriteString(roffText(c.about()))
	b.WriteString(".SH COMMANDS\n")
	for s := range c.visible() {
		if s != c && s.Run != nil {
			s.section(&b)
		}
	}
	b.WriteString(".SH EXIT STATUS\n0 done; 1 it failed, one line on standard error says why; 2 wrong usage.\n")
	return b.String()
}

// section is one command of a page.
func (c *Command) section(b *strings.Builder) {
	_, path, _ := strings.Cut(c.path(), " ")
	takes := strings.TrimPrefix(c.Use, c.name())
	fmt.Fprintf(b, ".SS %s%s\n%s", roff(path), roff(takes), roffText(c.about()))
	for _, f := range c.flags() {
		if f.Name == "help" {
			continue
		}
		value, text := pflag.UnquoteUsage(f)
		fmt.Fprintf(b, ".TP\n.B %s\n", roff(strings.TrimSpace(strings.Join(spellings(f), ", ")+" "+value)))
		if !slices.Contains([]string{"", "false", "[]", "0", "0s"}, f.DefValue) {
			text += fmt.Sprintf(" (default %s)", f.DefValue)
		}
		b.WriteString(roff(text) + "\n")
	}
}

// about is what a command's help begins with.
func (c *Command) about() string {
	if c.Long != "" {
		return c.Long
	}
	return c.Short
}

// roffText is a text of several lines; those that are indented stay as they are.
func roffText(text string) string {
	var b strings.Builder
	verbatim := false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if indented := strings.HasPrefix(line, "  "); indented != verbatim {
			verbatim = indented
			b.WriteString(map[bool]string{true: ".nf\n", false: ".fi\n"}[verbatim])
		}
		if line == "" {
			b.WriteString(".PP\n")
			continue
		}
		b.WriteString(roff(line) + "\n")
	}
	if verbatim {
		b.WriteString(".fi\n")
	}
	return b.String()
}

// roff escapes a line of text: a hyphen is one that can be typed, and no text is
// taken for a macro.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}
