package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"scanrelay/agent/control"
)

// The shares of a stop, counted from its beginning: by when each part must have
// ended. Ten seconds in all.
const (
	stopIntake  = time.Second
	stopRelays  = 9200 * time.Millisecond
	stopServers = 9500 * time.Millisecond
	stopTime    = 9800 * time.Millisecond
)

// part is one of the agent's parts while it runs.
type part struct {
	name   string
	cancel context.CancelFunc
	ended  chan struct{} // closed when it has
	err    error         // valid once ended is closed
	by     time.Duration
}

// Run runs the agent until ctx ends, then stops it in order and returns nil, or
// what did not end well. It returns an error at once when a part fails.
func (a *Agent) Run(ctx context.Context) error {
	fell := make(chan *part, 8) // more than there are parts
	parts := a.start(context.WithoutCancel(ctx), fell)
	a.once.Do(func() { close(a.ready) })
	a.log.Info("agent runs", "depot", a.cfg.Depot.ID, "version", a.opts.Version, "data_dir", a.cfg.DataDir, "mqtt", a.cfg.MQTT.Broker)
	return errors.Join(a.await(ctx, fell), a.stop(parts))
}

// start starts the parts; intake, which is to be stopped first, comes last.
func (a *Agent) start(ctx context.Context, fell chan<- *part) (parts []*part) {
	add := func(name string, by time.Duration, run func(context.Context) error) {
		parts = append(parts, startPart(ctx, name, by, run, fell))
	}
	serve := func(name string, ln net.Listener, h func(control.Options) http.Handler) {
		if ln != nil {
			add(name, stopServers, func(ctx context.Context) error {
				return control.Serve(ctx, ln, h(a.controlOptions()), a.log, 200*time.Millisecond)
			})
		}
	}
	serve("control socket", a.opts.Listeners.Control, control.Local)
	serve("http", a.opts.Listeners.HTTP, control.Public)
	add("clock", stopServers, a.watchClock)
	add("births", stopServers, a.keepBirths)
	add("relays", stopRelays, a.uplink.Run)
	add("intake", stopIntake, a.intake.Run)
	return parts
}

// startPart runs a part; one that ends before it is cancelled goes to fell.
func startPart(ctx context.Context, name string, by time.Duration, run func(context.Context) error, fell chan<- *part) *part {
	ctx, cancel := context.WithCancel(ctx)
	p := &part{name: name, cancel: cancel, ended: make(chan struct{}), by: by}
	go func() {
		p.err = run(ctx)
		close(p.ended)
		if ctx.Err() == nil {
			fell <- p
		}
	}()
	return p
}

// await waits for the stop, or for the first part that ends by itself.
func (a *Agent) await(ctx context.Context, fell <-chan *part) error {
	select {
	case <-ctx.Done():
		a.log.Info("agent stops")
		return nil
	case <-a.outbox.Failed():
		why := "the store failed"
		a.dead.Store(&why)
		return fmt.Errorf("store %s: %w", a.cfg.DataDir, a.outbox.Err())
	case p := <-fell:
		why := p.name + " ended"
		a.dead.Store(&why)
		if p.err == nil {
			return fmt.Errorf("%s ended by itself", p.name)
		}
		return fmt.Errorf("%s: %w", p.name, p.err)
	}
}

// stop ends the parts, the last started first, each with its share of the time,
// and closes the store.
func (a *Agent) stop(parts []*part) error {
	began := time.Now()
	for i := len(parts) - 1; i >= 0; i-- {
		parts[i].cancel()
		if parts[i].name == "relays" || parts[i].name == "intake" {
			a.waitFor(parts[i], began)
		}
	}
	for _, p := range parts {
		a.waitFor(p, began)
	}
	ctx, cancel := context.WithDeadline(context.Background(), began.Add(stopTime))
	defer cancel()
	go func() { // ends with ctx, at the latest when this function returns
		select {
		case <-a.opts.Abort:
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := a.outbox.Close(ctx); err != nil && a.outbox.Err() == nil {
		return fmt.Errorf("close store: %w", err)
	}
	a.log.Info("agent stopped", "took", time.Since(began).Round(time.Millisecond).String())
	return nil
}

// waitFor waits until p has ended, its share is over or the stop is cut short.
func (a *Agent) waitFor(p *part, began time.Time) {
	t := time.NewTimer(time.Until(began.Add(p.by)))
	defer t.Stop()
	select {
	case <-p.ended:
	case <-a.opts.Abort:
		a.log.Warn("stop cut short", "part", p.name)
	case <-t.C:
		a.log.Warn("part did not end in its time and is left behind; what it held is safe on disk", "part", p.name)
	}
}
