package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// stdio is the world around one run of the program.
type stdio struct {
	in       io.Reader
	out, err io.Writer
	env      []string
	terminal bool // out is one
	width    int  // of the terminal, in cells; 0: unknown
	errTTY   bool // err is a terminal
}

// standard is the process's own.
func standard() stdio {
	s := stdio{
		in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.Environ(),
		terminal: term.IsTerminal(int(os.Stdout.Fd())), errTTY: term.IsTerminal(int(os.Stderr.Fd())),
	}
	if w, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil && s.terminal {
		s.width = w
	}
	return s
}

// app is what every subcommand is made with.
type app struct {
	stdio
	abort  <-chan struct{} // closed by a second signal: stop at once
	level  slog.LevelVar   // of the logger
	reload func()          // what SIGHUP does; nil: nothing
}

// usageError is wrong usage: exit code 2.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errShown: it failed, and what is wrong was printed already.
var errShown = errors.New("shown already")

// run runs one command line and returns the exit code. stop asks it to end in
// order, abort to end at once.
func run(stop context.Context, abort <-chan struct{}, args []string, s stdio) int {
	a := &app{stdio: s, abort: abort}
	root := a.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(stop)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errShown):
		return 1
	case errors.As(err, &usage):
		fmt.Fprintf(a.err, "scanrelay: %s\nSee '%s --help'.\n", oneLine(err), cmd.CommandPath())
		return 2
	}
	fmt.Fprintf(a.err, "scanrelay: %s\n", oneLine(err))
	return 1
}

// oneLine keeps a message to one line whatever it was joined from.
func oneLine(err error) string {
	return strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "scanrelay",
		Short:         "Bring scans of parcels from depots to WeChat, losing none",
		Long:          "scanrelay takes scan events at a depot, keeps them safe on disk, syncs them to the\ncentre and pushes them to the receivers' WeChat.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return usagef("a command is missing")
		},
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(a.agentCommand(), a.checkCommand(), a.statusCommand(), a.traceCommand(),
		a.eventsCommand(), a.deadletterCommand(), a.quarantineCommand(), a.storeCommand(), a.listenCommand(), a.versionCommand())
	root.AddCommand(a.fullCommands()...)
	return root
}

func unknownCommand(cmd *cobra.Command, name string) error {
	hint := ""
	cmd.SuggestionsMinimumDistance = 2
	if s := cmd.SuggestionsFor(name); len(s) > 0 {
		hint = "; did you mean " + strings.Join(s, " or ") + "?"
	}
	return usagef("unknown command %q%s", name, hint)
}

// noArgs, exactly and atLeast are cobra's, as wrong usage.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no arguments, got %q", cmd.Name(), args)
	}
	return nil
}

func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usagef("%s needs %s", cmd.Name(), what)
		}
		return nil
	}
}
