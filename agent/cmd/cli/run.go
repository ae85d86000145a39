package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// IO is the world around one run of a program.
type IO struct {
	In          io.Reader
	Out, Err    io.Writer
	Env         []string
	Terminal    bool // Out is one
	Width       int  // of the terminal, in cells; 0: unknown
	ErrTerminal bool // Err is a terminal
	InTerminal  bool // In is one: somebody can be asked
	// Tell is what is wrong, or a text of help, in the language of the locale; nil: as it is.
	Tell func(english string) string
}

// Standard is the process's own. Of the arguments --lang is done with; its error is a
// [UsageError].
func Standard(args []string) (IO, []string, error) {
	s := IO{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Env: os.Environ(),
		Terminal: term.IsTerminal(int(os.Stdout.Fd())), ErrTerminal: term.IsTerminal(int(os.Stderr.Fd())),
		InTerminal: term.IsTerminal(int(os.Stdin.Fd())),
	}
	if w, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil && s.Terminal {
		s.Width = w
	}
	return s.speak(args)
}

// JSON writes a value as one line to Out.
func (s IO) JSON(v any) error {
	e := json.NewEncoder(s.Out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// UsageError is wrong usage: exit code 2.
type UsageError struct{ Err error }

func (e UsageError) Error() string { return e.Err.Error() }

// Usagef makes a UsageError.
func Usagef(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }

// ErrShown: it failed, and what is wrong was printed already.
var ErrShown = errors.New("shown already")

// Run runs the command that args name and returns the exit code: 0 done, 1 it
// failed, 2 wrong usage. What is wrong is one line on Err.
func (s IO) Run(ctx context.Context, root *Command, args []string) int {
	cmd, err := s.execute(ctx, root, args)
	var usage UsageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, ErrShown):
		return 1
	case errors.As(err, &usage):
		fmt.Fprintf(s.Err, s.Say("%s: %s\nSee '%s --help'.\n", "%s: %s\n用法见 '%s --help'。\n"), root.name(), s.told(err), cmd.path())
		return 2
	}
	fmt.Fprintf(s.Err, "%s: %s\n", root.name(), s.told(err))
	return 1
}

// execute runs what args name. It also returns which command that was, for the
// hint that follows an error.
func (s IO) execute(ctx context.Context, root *Command, args []string) (*Command, error) {
	c, args := root.find(args)
	if c.Raw {
		return c, c.Run(ctx, args)
	}
	f := c.Flags()
	if err := f.Parse(args); err != nil {
		return c, UsageError{err}
	}
	if help, err := f.GetBool("help"); err != nil || help {
		return c, s.help(c)
	}
	if c.Run == nil {
		return c, c.unknown(f.Args())
	}
	if c.Args != nil {
		if err := c.Args(c, f.Args()); err != nil {
			return c, err
		}
	}
	return c, c.Run(ctx, f.Args())
}

// told is what is wrong, for people: on one line whatever it was joined from.
func (s IO) told(err error) string {
	line := strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
	if s.Tell == nil {
		return line
	}
	return s.Tell(line)
}
