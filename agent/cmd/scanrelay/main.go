package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"scanrelay/agent/cmd/cli"
)

// app is what every subcommand is made with.
type app struct {
	cli.IO
	abort  <-chan struct{} // closed by a second signal: stop at once
	level  slog.LevelVar   // of the logger
	reload func()          // what SIGHUP does; nil: nothing
}

// lastChance is how long the program may still take after a second signal.
const lastChance = time.Second

func main() {
	stop, abort, release := signals()
	ended := make(chan int, 1)
	go func() {
		a := &app{IO: cli.Standard(), abort: abort}
		ended <- a.Run(stop, a.root(), os.Args[1:])
	}()
	code := 1
	select {
	case code = <-ended:
	case <-abort:
		select {
		case code = <-ended:
		case <-time.After(lastChance):
		}
	}
	release()
	os.Exit(code)
}

func (a *app) root() *cli.Command {
	root := &cli.Command{
		Use:   "scanrelay",
		Short: "Bring scans of parcels from depots to WeChat, losing none",
		Long:  "scanrelay takes scan events at a depot, keeps them safe on disk, syncs them to the\ncentre and pushes them to the receivers' WeChat.",
	}
	root.Add(a.agentCommand(), a.checkCommand(), a.statusCommand(), a.traceCommand(),
		a.eventsCommand(), a.deadletterCommand(), a.quarantineCommand(), a.storeCommand(), a.listenCommand(),
		a.versionCommand(), a.HelpCommand(root))
	root.Add(a.fullCommands()...)
	return root
}

// signals returns a context that the first SIGINT or SIGTERM ends, and a
// channel that the second one closes. release gives the signals back.
func signals() (stop context.Context, abort <-chan struct{}, release func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ch := make(chan os.Signal, 2)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	second, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer cancel()
		select {
		case <-ch:
		case <-done:
			return
		}
		cancel()
		select {
		case <-ch:
			close(second)
		case <-done:
		}
	}()
	return ctx, second, func() {
		signal.Stop(ch)
		close(done)
	}
}

// hangups calls do for each SIGHUP until release is called, so that a closed
// terminal or a reload ends no daemon.
func hangups(do func()) (release func()) {
	ch, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(ch, syscall.SIGHUP)
	var side sync.WaitGroup
	side.Go(func() {
		for {
			select {
			case <-ch:
				do()
			case <-done:
				return
			}
		}
	})
	return func() {
		signal.Stop(ch)
		close(done)
		side.Wait()
	}
}
