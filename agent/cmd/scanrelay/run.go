package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

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
	cmd, err := a.execute(stop, a.root(), args)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errShown):
		return 1
	case errors.As(err, &usage):
		fmt.Fprintf(a.err, "scanrelay: %s\nSee '%s --help'.\n", oneLine(err), cmd.path())
		return 2
	}
	fmt.Fprintf(a.err, "scanrelay: %s\n", oneLine(err))
	return 1
}

// oneLine keeps a message to one line whatever it was joined from.
func oneLine(err error) string {
	return strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
}

func (a *app) root() *command {
	root := &command{
		use:   "scanrelay",
		short: "Bring scans of parcels from depots to WeChat, losing none",
		long:  "scanrelay takes scan events at a depot, keeps them safe on disk, syncs them to the\ncentre and pushes them to the receivers' WeChat.",
	}
	root.add(a.agentCommand(), a.checkCommand(), a.statusCommand(), a.traceCommand(),
		a.eventsCommand(), a.deadletterCommand(), a.quarantineCommand(), a.storeCommand(), a.listenCommand(),
		a.versionCommand(), a.helpCommand(root))
	root.add(a.fullCommands()...)
	return root
}
