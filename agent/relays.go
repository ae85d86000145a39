package agent

import (
	"context"
	"reflect"
	"sync/atomic"

	"scanrelay/configs"
	"scanrelay/configs/wait"
	"scanrelay/uplink"
)

// relays are those that run, made anew where notify changes: they give everything back
// to the store when they end, as at a stop.
type relays struct {
	config uplink.Config
	now    atomic.Pointer[uplink.Uplink]
	notify atomic.Pointer[uplink.Notify] // that is to be
	change chan struct{}
}

func (r *relays) make(c uplink.Config) {
	r.config, r.change = c, make(chan struct{}, 1)
	r.notify.Store(&c.Notify)
	r.now.Store(uplink.New(c))
}

// up are the relays that run.
func (a *Agent) up() *uplink.Uplink { return a.relays.now.Load() }

// renotify has the relays run with another notify.
func (a *Agent) renotify(n configs.Notify) {
	next := notify(n)
	if was := a.relays.notify.Swap(&next); !reflect.DeepEqual(*was, next) {
		wait.Signal(a.relays.change)
	}
}

// runRelays runs the relays until ctx ends or the outbox fails.
func (a *Agent) runRelays(ctx context.Context) error {
	r := &a.relays
	for {
		running, cancel := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- a.up().Run(running) }()
		var err error
		select {
		case err = <-ended:
			cancel()
			return err
		case <-r.change:
			cancel()
			err = <-ended
		}
		if err != nil || ctx.Err() != nil {
			return err
		}
		r.config.Notify = *r.notify.Load()
		r.now.Store(uplink.New(r.config))
		a.log.Info("the relays run with another notify")
	}
}
