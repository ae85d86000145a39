package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"scanrelay/agent/cmd/bundle"
	"scanrelay/agent/cmd/chinese"
	"scanrelay/agent/cmd/cli"
	"scanrelay/agent/cmd/doctor"
	"scanrelay/agent/cmd/look"
	"scanrelay/agent/cmd/setup"
	"scanrelay/agent/cmd/update"
	"scanrelay/configs/serve"
)

// defaultConfig is where an agent's configuration lies unless -c says so.
const defaultConfig = "/etc/scanrelay/agent.yaml"

// app is what every subcommand is made with.
type app struct {
	cli.IO
	abort  <-chan struct{} // closed by a second signal: stop at once
	stderr *serve.Log      // beneath Err
	level  verbosity       // of the logger
	reload func()          // what SIGHUP does; nil: nothing
	// reloading is held from reading a configuration until it is in use: of two the
	// later one stays.
	reloading sync.Mutex
	given     [][]byte       // what the centre gave and is on trial; reloading guards it
	hup       chan os.Signal // the SIGHUP that came last
}

func newApp(world cli.IO) *app {
	a := &app{IO: world, stderr: serve.NewLog(world.Err), hup: make(chan os.Signal, 1)}
	a.Err = a.stderr
	a.Tell = func(english string) string { return chinese.Reason(world, english) }
	return a
}

// Ten seconds are promised for a stop, also where a disk does not answer and nobody
// reads the log: what was acknowledged is on disk already. At stopCut a command that has
// not ended is left, at stopEnd its last lines are; they get lastLines at most.
// lastChance is how long a command may still take after a second signal.
const (
	stopCut    = 9500 * time.Millisecond
	stopEnd    = 9800 * time.Millisecond
	lastLines  = time.Second
	lastChance = time.Second
)

func main() {
	world, args, err := cli.Standard(os.Args[1:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "scanrelay: %s\n", err)
		os.Exit(2)
	}
	stop, abort, release := signals()
	a := newApp(world)
	a.abort = abort
	ended := make(chan int, 1)
	go func() { ended <- a.Run(stop, a.root(), args) }()
	code := a.await(stop, ended)
	release()
	os.Exit(code)
}

// await waits for the command and its last lines, but not beyond the end of a stop, and
// returns the exit code.
func (a *app) await(stop context.Context, ended <-chan int) (code int) {
	left := lastLines
	select {
	case code = <-ended:
	case <-stop.Done():
		end := time.Now().Add(stopEnd)
		code = a.awaitStop(ended)
		left = min(left, time.Until(end))
	}
	a.stderr.Flush(left)
	return code
}

// awaitStop waits for a command that is to stop.
func (a *app) awaitStop(ended <-chan int) (code int) {
	cut := time.After(stopCut)
	select {
	case code = <-ended:
		return code
	case <-a.abort:
		select {
		case code = <-ended:
			return code
		case <-time.After(lastChance):
		case <-cut:
		}
	case <-cut:
		a.stderr.Detach() // what is said next must not wait either
		fmt.Fprintf(a.Err, "scanrelay: the stop did not end within %v, as when a disk does not answer: cut short; what was acknowledged is on disk\n", stopCut)
	}
	return 1
}

func (a *app) root() *cli.Command {
	root := &cli.Command{
		Use:   "scanrelay",
		Short: "Bring scans of parcels from depots to WeChat, losing none",
		Long: "scanrelay takes scan events at a depot, keeps them safe on disk, syncs them to the\ncentre and pushes them to the receivers' WeChat.\n\n" +
			"--lang en or --lang zh, before or behind any command, goes before the locale.",
	}
	root.Add(a.agentCommand(), a.checkCommand(), a.listenCommand(), a.enrolCommand(),
		setup.Command(a.IO), doctor.Command(a.IO, defaultConfig, thisBuild().Version), bundle.Command(a.IO, defaultConfig, thisBuild().Version), a.versionCommand(), a.HelpCommand(root))
	root.Add(look.Commands(a.IO, defaultConfig, thisBuild().Version)...)
	b := thisBuild()
	root.Add(update.Commands(a.IO, defaultConfig, b.Version, b.built())...)
	root.Add(a.fullCommands()...)
	root.Add(a.CompletionCommand(root), a.ManCommand(root, b.Version, b.built()))
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

// standAlone makes a service of the program: whoever reads its log may be gone or
// hang, and a SIGHUP ends it at no time. It is for before the configuration is read:
// a reload asked for during a start, which may mend a store for minutes, comes after it.
func (a *app) standAlone() {
	signal.Ignore(syscall.SIGPIPE)
	signal.Notify(a.hup, syscall.SIGHUP)
	a.stderr.Detach()
}

// hangups calls do for each SIGHUP until release is called, the first for one that
// came since standAlone.
func (a *app) hangups(do func()) (release func()) {
	done := make(chan struct{})
	var side sync.WaitGroup
	side.Go(func() {
		for {
			select {
			case <-a.hup:
				do()
			case <-done:
				return
			}
		}
	})
	return func() {
		close(done)
		side.Wait()
	}
}
