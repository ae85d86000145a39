package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"scanrelay/agent/control"
	"scanrelay/configs/serve"
)

// shares are those of a stop, counted from its beginning: by when each part and
// all of it must have ended. Intake and relays begin to end at once, and have what
// they take themselves (2 s for acknowledgements, 9 s for outcomes) and a little.
type shares struct{ intake, relays, others, all time.Duration }

var tenSeconds = shares{
	intake: 2500 * time.Millisecond, relays: 9100 * time.Millisecond, others: 9200 * time.Millisecond, all: 9300 * time.Millisecond,
}

// Run runs the agent until ctx ends, then stops it in order and returns nil, or
// what did not end well. It returns an error at once when a part fails.
func (a *Agent) Run(ctx context.Context) error {
	parts := a.start()
	a.once.Do(func() { close(a.ready) })
	a.log.Info("agent runs", "depot", a.cfg.Depot.ID, "version", a.opts.Version, "data_dir", a.cfg.DataDir, "mqtt", a.cfg.MQTT.Broker)
	return errors.Join(a.await(ctx, parts.Fell()), a.stop(parts))
}

// start starts the parts; intake, which is to be stopped first, comes last.
func (a *Agent) start() *serve.Group {
	parts := serve.NewGroup()
	listen := func(name string, ln net.Listener, h func(control.Options) http.Handler) {
		if ln != nil {
			parts.Start(name, func(ctx context.Context) error {
				return serve.HTTP(ctx, ln, h(a.controlOptions()), a.log, serve.Few(), 100*time.Millisecond)
			})
		}
	}
	listen("control socket", a.opts.Listeners.Control, control.Local)
	listen("http", a.opts.Listeners.HTTP, control.Public)
	if a.desk != nil {
		parts.Start("device desk", a.desk.Run)
	}
	parts.Start("lately", func(ctx context.Context) error { return a.lately.Run(ctx, a.outbox.Counts) })
	parts.Start("quiet", a.quiet.Run)
	parts.Start("clock", a.watchClock)
	parts.Start("births", a.keepBirths)
	if a.opts.Update != nil {
		parts.Start("update", a.keepUpdates().Run)
		parts.Start("download", a.fleet.follower.Run)
	}
	parts.Start("orders", a.orders.run)
	if a.fleet.remote != nil {
		parts.Start("configuration", a.fleet.remote.Run)
	}
	parts.Start("relays", a.runRelays)
	parts.Start("intake", a.intake.Run)
	return parts
}

// await waits for the stop, or for the first part that ends by itself.
func (a *Agent) await(ctx context.Context, fell <-chan *serve.Fallen) error {
	select {
	case <-ctx.Done():
		a.log.Info("agent stops")
		return nil
	case <-a.outbox.Failed():
		why := "the store failed"
		a.dead.Store(&why)
		return fmt.Errorf("store %s: %w", a.cfg.DataDir, a.outbox.Err())
	case f := <-fell:
		why := f.Part + " ended"
		a.dead.Store(&why)
		return f
	}
}

// stop ends the parts, each with its share of the time, and closes the store.
func (a *Agent) stop(parts *serve.Group) error {
	began := time.Now()
	parts.End("relays")
	err := parts.Stop(func(name string, ended <-chan struct{}) { a.waitFor(name, ended, began) })
	ctx, cancel := context.WithDeadline(context.Background(), began.Add(a.shares.all))
	defer cancel()
	go func() { // ends with ctx, at the latest when this function returns
		select {
		case <-a.opts.Abort:
			cancel()
		case <-ctx.Done():
		}
	}()
	if bad := a.outbox.Close(ctx); bad != nil && a.outbox.Err() == nil {
		return errors.Join(err, fmt.Errorf("close store: %w", bad))
	}
	a.log.Info("agent stopped", "took", time.Since(began).Round(time.Millisecond).String())
	return err
}

// waitFor waits until a part has ended, its share is over or the stop is cut
// short.
func (a *Agent) waitFor(name string, ended <-chan struct{}, began time.Time) {
	share := a.shares.others
	switch name {
	case "intake":
		share = a.shares.intake
	case "relays":
		share = a.shares.relays
	}
	t := time.NewTimer(time.Until(began.Add(share)))
	defer t.Stop()
	select {
	case <-ended:
	case <-a.opts.Abort:
		a.log.Warn("stop cut short", "part", name)
	case <-t.C:
		a.log.Warn("part did not end in its time and is left behind; what it held is safe on disk", "part", name)
	}
}
