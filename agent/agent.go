package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"scanrelay/agent/clock"
	"scanrelay/agent/control"
	"scanrelay/agent/control/lately"
	"scanrelay/agent/control/mapdevice"
	"scanrelay/agent/identity"
	"scanrelay/agent/intake"
	"scanrelay/agent/intake/sparkplug"
	"scanrelay/agent/quiet"
	"scanrelay/agent/scan"
	"scanrelay/configs"
	"scanrelay/store"
	"scanrelay/store/durable"
)

// Listeners are what the agent serves on; nil ones are not served. The agent
// closes them.
type Listeners struct {
	HTTP    net.Listener   // health, metrics, status page
	Control net.Listener   // the unix socket
	MQTT    []net.Listener // the embedded broker's: mqtt.listen, then mqtt.embedded.listeners
}

// Close closes those that nobody serves.
func (l Listeners) Close() {
	for _, ln := range append([]net.Listener{l.HTTP, l.Control}, l.MQTT...) {
		if ln != nil {
			_ = ln.Close() // nothing was served on it
		}
	}
}

// Hooks hear what happens to events, for the demo's page. They must not block.
type Hooks struct {
	OnStored  func(scan.Batch, scan.Stored) // on disk, acknowledged next
	OnSynced  func([]store.Record)
	OnOutcome func(store.Record)
}

// Options are what an agent is made with besides its configuration.
type Options struct {
	Version string
	Built   time.Time // the build date; no clock is believed before it
	Logger  *slog.Logger
	// LogDropped is how many lines of the log nobody took, for the metrics; nil:
	// none.
	LogDropped func() uint64
	// Log is the latest lines of the log, for a bundle; nil: there is none.
	Log func() []byte
	// LogLevel sets another level of the log for a while; nil: it stays.
	LogLevel func(level slog.Level, hold time.Duration)
	// Listeners are served by Run. Where they can only be opened once the data
	// folder is ours, Listen opens them instead.
	Listeners Listeners
	Listen    func() (Listeners, error)
	Clock     *clock.Clock // nil: the machine's
	Update    *Update      // nil: launch did not start this process
	Hooks     Hooks
	// Chinese says in Chinese what is given as a reason, for the depot page; nil: it stays
	// English.
	Chinese func(english string) string
	// Sources is where the depot page saves mappings; nil: nowhere.
	Sources mapdevice.Files
	// Configure puts in use what the centre gave, all or nothing; nil: what data_dir has of
	// it. Where it is nil nothing is taken.
	Configure func(given []byte) error
	// Abort, once closed, ends a stop at once.
	Abort <-chan struct{}
}

// Agent is one depot's agent.
type Agent struct {
	cfg     *configs.Agent
	opts    Options
	log     *slog.Logger
	clock   *clock.Clock
	outbox  *store.Outbox
	keys    *identity.Keys
	orders  *orders
	relays  relays
	fleet   *fleet
	pipe    *intake.Pipe
	intake  intakePart
	lately  *lately.Lately
	quiet   *quiet.Watch
	desk    *mapdevice.Desk // nil: nobody maps devices by the page
	births  *sparkplug.Births
	metrics *metrics.Set
	started time.Time
	ready   chan struct{} // closed once everything runs
	shares  shares        // of a stop

	pulses pulses
	dead   atomic.Pointer[string]
	once   sync.Once // closes ready
}

// intakePart is a Source or a Broker with its listener.
type intakePart interface {
	Run(ctx context.Context) error
	Status() intake.Status
}

// New opens the store and puts the parts together; nothing is taken or sent
// before Run. After New either Run or Close must be called.
func New(cfg *configs.Agent, o Options) (_ *Agent, err error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.LogDropped == nil {
		o.LogDropped = func() uint64 { return 0 }
	}
	if o.Clock == nil {
		o.Clock = clock.New(clock.Options{Built: o.Built})
	}
	a := &Agent{
		cfg: cfg, opts: o, log: o.Logger, clock: o.Clock, metrics: metrics.NewSet(),
		started: time.Now(), ready: make(chan struct{}), shares: tenSeconds,
	}
	if err := a.openStore(); err != nil {
		o.Listeners.Close()
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	a.lately = lately.New(a.outbox.Counts())
	a.quiet = quiet.New(cfg.DataDir, a.log, func() uint64 { return a.outbox.Counts().Received },
		func() (time.Time, bool) { return a.clock.Now(), a.clock.Believable() })
	if o.Listen != nil {
		if a.opts.Listeners, err = o.Listen(); err != nil {
			return nil, err
		}
	}
	if a.keys, err = identity.Open(cfg.DataDir, cfg.Depot.ID); errors.Is(err, identity.ErrOther) {
		return nil, err
	} else if err != nil {
		a.log.Error("the depot's identity cannot be used as it should; scans are taken all the same", "error", err)
	}
	a.orders = newOrders(a.outbox, a.log)
	if err = newUplink(a); err != nil {
		return nil, err
	}
	if a.intake, err = newIntake(a); err != nil {
		return nil, err
	}
	if cfg.HTTP.Password != "" && o.Sources != nil {
		a.desk = mapdevice.New(mapdevice.Options{
			Files: o.Sources, Listen: a.pipe.Listen, Mapper: a.pipe.Mapper(), Clock: a.clock, Quarantine: a.outbox.Quarantine,
		})
	}
	return a, nil
}

func (a *Agent) openStore() error {
	dir := a.cfg.DataDir
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	commits := a.metrics.NewPrometheusHistogramExt("scanrelay_store_commit_seconds",
		[]float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5})
	records := a.metrics.NewCounter("scanrelay_store_committed_total")
	o := storeOptions(a.cfg)
	o.MachineID, o.Logger, o.Now, o.Pulse = machineID(), a.log, a.clock.Now, &a.pulses.store
	o.OnCommit = func(took time.Duration, n int) {
		commits.Update(took.Seconds())
		records.Add(n)
	}
	outbox, err := store.Open(dir, o)
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w (is it somebody else's? chown -R --reference=%s %[2]s)", err, dir)
	}
	if err != nil {
		return fmt.Errorf("data_dir %s: %w", dir, err)
	}
	a.outbox = outbox
	a.clock.SetNewest(outbox.NewestTime)
	return nil
}

// Close gives back what New took, where Run is not called.
func (a *Agent) Close() error {
	a.opts.Listeners.Close()
	ctx, cancel := context.WithTimeout(context.Background(), a.shares.all)
	defer cancel()
	return a.outbox.Close(ctx)
}

// Ready is closed once every part runs; systemd is told then.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// Outbox is the agent's store, for the demo's audit.
func (a *Agent) Outbox() *store.Outbox { return a.outbox }

// controlOptions are what both servers show.
func (a *Agent) controlOptions() control.Options {
	return control.Options{
		Outbox: a.outbox, Status: a.Status, Live: a.Live, Ready: a.TakesScans,
		Metrics: a.WriteMetrics, Hosts: a.hosts(), Logger: a.log, Listen: a.listen(), Replay: a.replay, LogLevel: a.opts.LogLevel, Log: a.opts.Log,
		Password: a.cfg.HTTP.Password, Desk: a.desk,
		Chinese: a.opts.Chinese, Lately: a.lately, Wear: func() (int64, int) { return durable.Wear(a.cfg.DataDir) },
	}
}

// hosts is the name in http.listen, under which the page may be called.
func (a *Agent) hosts() []string {
	host, _, err := net.SplitHostPort(a.cfg.HTTP.Listen)
	if err != nil {
		return nil
	}
	return []string{host}
}
