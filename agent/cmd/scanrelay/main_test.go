package main

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"scanrelay/agent/cmd/cli"
)

// hung is what nobody reads until it is freed.
type hung chan struct{}

func (h hung) Write(p []byte) (int, error) {
	<-h
	return len(p), nil
}

// A stop has ten seconds in all, whatever hangs: the command, as on a disk that does not
// answer, the log, as in a terminal that is held, or both.
func TestAStopEnds(t *testing.T) {
	const never = time.Hour
	if stopEnd > 9900*time.Millisecond {
		t.Errorf("a stop takes %v and the end of the program, 10s are promised", stopEnd)
	}
	for name, c := range map[string]struct {
		service     bool          // its log waits for nobody
		ends, abort time.Duration // after the stop's beginning
		want        time.Duration
		code        int
	}{
		"all hangs":                 {true, never, never, stopEnd, 1},
		"all hangs, no service":     {false, never, never, stopEnd, 1},
		"the log hangs":             {true, time.Second, never, 2 * time.Second, 0},
		"it ends late":              {true, 9300 * time.Millisecond, never, stopEnd, 0},
		"a second signal":           {true, never, time.Second, 3 * time.Second, 1},
		"a second signal that ends": {true, 1500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 0},
		"a second signal, late":     {true, never, 9 * time.Second, stopEnd, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, abort, ended := make(hung), make(chan struct{}), make(chan int, 1)
				a := newApp(cli.IO{Err: log})
				a.abort = abort
				if c.service {
					a.stderr.Detach()
				}
				go func() { _, _ = fmt.Fprintln(a.Err, "the last line") }()
				stop, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Hour, cancel) // it ran for long
				time.AfterFunc(time.Hour+c.ends, func() { ended <- 0 })
				time.AfterFunc(time.Hour+c.abort, func() { close(abort) })
				began := time.Now()
				code := a.await(stop, ended)
				if took := time.Since(began) - time.Hour; took != c.want || code != c.code {
					t.Errorf("it took %v, exit code %d; want %v and %d", took, code, c.want, c.code)
				}
				close(log)
			})
		})
	}
}
