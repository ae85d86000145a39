package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

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

// hangups returns a channel that receives on SIGHUP, so that a closed terminal
// or a reload ends no daemon.
func hangups() (<-chan os.Signal, func()) {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGHUP)
	return ch, func() { signal.Stop(ch) }
}
